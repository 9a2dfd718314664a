//! The database's disk fills up: records wait in the journal, and go on when there is room again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use greeks_model::{Seq, SinkError, SnapshotSink};
use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::{Committer, CommitterConfig, CommitterState, DatabaseConfig, JournalFull, JournalLogs, migrate};
use support::{WallClock, client, open_journal, series, ticks};

const CALL: &str = "AAPL  261218C00232500";

/// A small disk; gone when dropped.
struct SmallDisk {
    mount: PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn new(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mount = dir.path().join("disk");
        std::fs::create_dir(&mount).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&mount);
        command.output().is_ok_and(|done| done.status.success()).then_some(Self { mount, _dir: dir })
    }

    /// Takes all the room there is but for `rest` bytes.
    fn fill(&self, rest: u64) -> PathBuf {
        let path = self.mount.join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&[0x5A; 4096]).is_ok() {}
        let length = file.metadata().unwrap().len().saturating_sub(rest);
        file.set_len(length).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What cannot be unmounted stays behind, and nobody minds.
        drop(Command::new("umount").arg("-l").arg(&self.mount).output());
    }
}

/// A database whose tables are on `disk`. The write-ahead log is not: a server that cannot write that ends altogether, which
/// is an outage like any other.
async fn database_on(server: &PrivateServer, cluster: &Path, disk: &SmallDisk) -> DatabaseConfig {
    let space = disk.mount.join("space");
    std::fs::create_dir(&space).unwrap();
    let owner = cluster.metadata().unwrap();
    chown(&space, Some(owner.uid()), Some(owner.gid())).unwrap();
    let admin = client(&server.config()).await;
    admin.batch_execute(&format!("CREATE TABLESPACE small LOCATION '{}'", space.display())).await.unwrap();
    let driver = server.create_database("full").await.unwrap();
    admin.batch_execute("ALTER DATABASE \"full\" SET default_tablespace = small").await.unwrap();
    DatabaseConfig::new(driver)
}

#[tokio::test]
async fn a_full_disk_of_the_database_loses_and_doubles_nothing() {
    const ROWS: u32 = 40_000;
    let Some(disk) = SmallDisk::new("24m") else {
        println!("skipped: mounting a tmpfs is not allowed here");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let server = PrivateServer::start(PrivateConfig::throwaway(dir.path().join("pg"))).await.unwrap();
    let database = database_on(&server, server.socket_dir(), &disk).await;
    migrate(&database).await.unwrap();
    let mut driver = server.config();
    driver.dbname("full");

    let JournalLogs { mut writer, log, monitor, .. } = open_journal(&dir.path().join("journal"), 1 << 20, 100);
    let config = CommitterConfig::new(database, "test");
    let (committer, mut status) = Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock));
    let run = tokio::spawn(committer.run());
    let series = series("5WT00001", CALL);
    let mut append = |rows: std::ops::Range<u32>| {
        rows.clone().step_by(50).for_each(|at| writer.append(&ticks(&series, at..at + 50)).unwrap());
    };
    append(0..2_000);
    let ready = status.wait_for(|status| status.durable == Seq(2_000));
    tokio::time::timeout(Duration::from_secs(60), ready).await.unwrap().unwrap();
    let ballast = disk.fill(256 << 10);
    append(2_000..20_000);
    let full = status.wait_for(|status| status.state == CommitterState::Full);
    let full = tokio::time::timeout(Duration::from_secs(60), full).await.unwrap().unwrap().clone();
    assert!(full.last_error.as_deref().unwrap().contains("SQLSTATE 53100"), "{full:?}");
    assert!(full.durable < Seq(20_000));
    // Nothing is refused meanwhile.
    append(20_000..ROWS);
    assert_eq!((monitor.given_up(), monitor.progress().written), (0, u64::from(ROWS)));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(status.borrow().state, CommitterState::Full, "still, after another try");
    let before = status.borrow().durable;

    std::fs::remove_file(ballast).unwrap();
    Box::new(writer).close().unwrap();
    let last = tokio::time::timeout(Duration::from_secs(120), run).await.unwrap();
    assert_eq!(last.unwrap().unwrap(), Seq(u64::from(ROWS)));
    println!("full at record {before}, {ROWS} stored in the end");
    let sql = "SELECT count(*), count(DISTINCT quantity), count(DISTINCT seq), (SELECT count(*) FROM ingest_quarantine) \
               FROM greek_ticks";
    let row = client(&driver).await.query_one(sql, &[]).await.unwrap();
    let found: Vec<i64> = (0..4).map(|column| row.get(column)).collect();
    assert_eq!(found, [i64::from(ROWS), i64::from(ROWS), i64::from(ROWS), 0]);
    server.stop().await.unwrap();
}

/// The journal's disk has no room for a single segment: what is given up cannot even be stated, and the close says so.
#[test]
fn a_journal_without_room_for_anything_ends_with_what_it_could_not_state() {
    let Some(disk) = SmallDisk::new("64k") else {
        println!("skipped: mounting a tmpfs is not allowed here");
        return;
    };
    let JournalLogs { mut writer, monitor, .. } = open_journal(&disk.mount.join("journal"), 1 << 20, 8);
    let series = series("5WT00001", CALL);
    for at in 0..30 {
        let given_up = writer.append(&ticks(&series, at * 10..at * 10 + 10));
        assert!(matches!(given_up, Err(SinkError::Full { given_up }) if given_up.len() == 10));
    }
    assert_eq!((monitor.full(), monitor.given_up()), (Some(JournalFull::Disk), 300));
    match Box::new(writer).close() {
        Err(SinkError::Io(error)) => {
            assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
            assert_eq!(error.to_string(), "no room to state that 300 records were given up");
        }
        other => panic!("{other:?}"),
    }
}
