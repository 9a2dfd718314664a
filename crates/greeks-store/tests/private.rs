//! The private PostgreSQL against real server binaries: starts, stops, and what a killed parent leaves behind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use greeks_store::private::{PrivateConfig, PrivateError, PrivateServer};
use tokio_postgres::NoTls;

const CHILD_DIR: &str = "GREEKS_STORE_TEST_DIR";

async fn start(dir: &Path) -> PrivateServer {
    PrivateServer::start(PrivateConfig::throwaway(dir)).await.unwrap()
}

async fn query(server: &PrivateServer, sql: &str) -> String {
    let (client, connection) = server.config().connect(NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let row = client.query_one(sql, &[]).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
    row.get(0)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Whether a process runs; a zombie does not.
fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A command under the account that owns the cluster.
fn as_owner(program: impl AsRef<std::ffi::OsStr>, cluster: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if is_root() {
        let owner = fs::metadata(cluster).unwrap();
        command.uid(owner.uid()).gid(owner.gid());
    }
    command
}

/// The program a server was started from.
fn executable(server: &PrivateServer) -> PathBuf {
    fs::read_link(format!("/proc/{}/exe", server.pid())).unwrap()
}

/// Lock files as a killed server would leave them, naming `pid`.
fn leave_locks(dir: &Path, pid: u32) {
    let (cluster, sockets) = (dir.join("pg/data"), dir.join("pg/run"));
    let text = format!(
        "{pid}\n{}\n1700000000\n5432\n{}\n\n       0         0\nready   \n",
        cluster.display(),
        sockets.display()
    );
    for file in [cluster.join("postmaster.pid"), sockets.join(".s.PGSQL.5432.lock")] {
        fs::write(&file, &text).unwrap();
        let owner = fs::metadata(&cluster).unwrap();
        std::os::unix::fs::lchown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[tokio::test]
async fn starts_cold_and_warm_with_everything_durability_needs() {
    let dir = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let mut config = PrivateConfig::new(dir.path());
    // A setting of the caller must not win over durability.
    config.settings = vec![("fsync".into(), "off".into()), ("work_mem".into(), "7MB".into())];
    fs::create_dir(dir.path().join("pg")).unwrap();
    fs::create_dir(dir.path().join("pg/data.new-1")).unwrap();
    let server = PrivateServer::start(config.clone()).await.unwrap();
    let cold = begin.elapsed();
    assert_eq!(query(&server, "SHOW fsync").await, "on");
    assert_eq!(query(&server, "SHOW data_checksums").await, "on");
    assert_eq!(query(&server, "SHOW listen_addresses").await, "");
    assert_eq!(query(&server, "SHOW work_mem").await, "7MB");
    assert_eq!(query(&server, "SELECT current_user || '@' || current_database()").await, "greekd@greekd");
    assert!(!dir.path().join("pg/data.new-1").exists(), "half-made clusters are removed");
    for private in ["pg", "pg/data", "pg/run"] {
        let mode = fs::metadata(dir.path().join(private)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{private}");
    }
    query(&server, "SELECT 'x' FROM (SELECT pg_switch_wal()) w").await;
    let pid = server.pid();
    server.stop().await.unwrap();
    assert!(!alive(pid));

    let begin = Instant::now();
    let server = PrivateServer::start(config).await.unwrap();
    let warm = begin.elapsed();
    println!("private server ready: cold {cold:?}, warm {warm:?}");
    assert!(warm < Duration::from_secs(2), "{warm:?}");
    assert!(!fs::read_to_string(dir.path().join("pg.log")).unwrap().contains("not properly shut down"));
    assert!(server.dsn_for_psql().ends_with("/pg/run -U greekd greekd"));
    drop(server);
}

/// A shell must take the directory for one word.
#[tokio::test]
async fn what_a_person_types_can_be_pasted() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("it's my data");
    fs::create_dir(&dir).unwrap();
    let server = start(&dir).await;
    let typed = server.dsn_for_psql();
    let script = format!("{typed} -Atc 'SELECT 41 + 1'");
    let answer = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "42\n", "{typed}: {answer:?}");
}

#[tokio::test]
async fn one_data_directory_serves_one_instance_and_outlives_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = start(dir.path()).await;
    match PrivateServer::start(PrivateConfig::throwaway(dir.path())).await {
        Err(PrivateError::InUse { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    server.create_database("a\"b").await.unwrap();
    let mut exited = server.exited();
    assert!(exited.borrow().is_none());
    // The postmaster is killed as the kernel would when memory is short.
    assert!(Command::new("kill").args(["-9", &server.pid().to_string()]).status().unwrap().success());
    tokio::time::timeout(Duration::from_secs(10), exited.wait_for(Option::is_some)).await.unwrap().unwrap();
    server.restart().await.unwrap();
    assert_eq!(query(&server, "SELECT count(*)::text FROM pg_database WHERE datname = 'a\"b'").await, "1");
    server.stop().await.unwrap();

    fs::write(dir.path().join("pg/data/PG_VERSION"), "12\n").unwrap();
    match PrivateServer::start(PrivateConfig::throwaway(dir.path())).await {
        Err(error @ PrivateError::VersionMismatch { .. }) => {
            assert!(error.to_string().contains("PostgreSQL 12"), "{error}")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn locks_left_by_a_killed_server_do_not_stop_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let postgres = executable(&server);
    server.stop().await.unwrap();
    let cluster = dir.path().join("pg/data");

    // The number belongs to nobody.
    let mut gone = as_owner("/bin/true", &cluster).spawn().unwrap();
    gone.wait().unwrap();
    leave_locks(dir.path(), gone.id());
    start(dir.path()).await.stop().await.unwrap();

    // To a stranger of the same account: PostgreSQL itself refuses then.
    let mut stranger = as_owner("/bin/sleep", &cluster).arg("600").spawn().unwrap();
    leave_locks(dir.path(), stranger.id());
    let alone =
        as_owner(&postgres, &cluster).arg("-D").arg(&cluster).args(["-c", "listen_addresses="]).status().unwrap();
    assert!(!alone.success(), "the case is real");
    start(dir.path()).await.stop().await.unwrap();
    assert!(alive(stranger.id()), "a stranger is left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();

    // To a zombie: it has ended and nobody has asked.
    let mut zombie = as_owner("/bin/true", &cluster).spawn().unwrap();
    let stat = format!("/proc/{}/stat", zombie.id());
    wait_until("zombie", || fs::read_to_string(&stat).unwrap().contains(") Z ")).await;
    leave_locks(dir.path(), zombie.id());
    start(dir.path()).await.stop().await.unwrap();
    zombie.wait().unwrap();
}

#[tokio::test]
async fn an_orphaned_server_is_stopped_before_a_new_one_starts() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let postgres = executable(&server);
    query(&server, "SELECT 'x' FROM pg_create_physical_replication_slot('kept')").await;
    server.stop().await.unwrap();
    let (cluster, sockets) = (dir.path().join("pg/data"), dir.path().join("pg/run"));
    let mut orphan = as_owner(postgres, &cluster)
        .arg("-D")
        .arg(&cluster)
        .arg("-k")
        .arg(&sockets)
        .args(["-c", "listen_addresses="])
        .spawn()
        .unwrap();
    wait_until("the orphan's socket", || sockets.join(".s.PGSQL.5432").exists()).await;
    let server = start(dir.path()).await;
    assert!(!alive(orphan.id()));
    assert_ne!(server.pid(), orphan.id());
    assert_eq!(query(&server, "SELECT slot_name::text FROM pg_replication_slots").await, "kept");
    orphan.wait().unwrap();
    server.stop().await.unwrap();
}

/// Holds a server until it is killed; run by the tests below as their child.
#[tokio::test]
#[ignore = "child process of other tests"]
async fn owner_of_a_server() {
    let dir = std::env::var_os(CHILD_DIR).unwrap();
    let server = PrivateServer::start(PrivateConfig::throwaway(dir)).await;
    match server {
        Ok(server) => {
            println!("\nready {}", server.pid());
            std::future::pending::<()>().await;
        }
        Err(error) => println!("\nfailed {error}"),
    }
}

/// This test program again, running only [`owner_of_a_server`]; returns once it says how it went.
fn spawn_owner(dir: &Path, user: Option<(u32, u32)>) -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "owner_of_a_server", "--nocapture", "--test-threads=1"]);
    command.env(CHILD_DIR, dir).current_dir("/").stdout(Stdio::piped());
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said =
        lines.map_while(Result::ok).find(|line| line.starts_with("ready ") || line.starts_with("failed ")).unwrap();
    (child, said)
}

#[tokio::test]
async fn kill_9_of_the_owner_ends_the_server_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let (mut owner, said) = spawn_owner(dir.path(), None);
    let pid: u32 = said.strip_prefix("ready ").unwrap().parse().unwrap();
    match PrivateServer::start(PrivateConfig::throwaway(dir.path())).await {
        Err(PrivateError::InUse { holder, .. }) => assert_eq!(holder, Some(owner.id())),
        other => panic!("{other:?}"),
    }
    assert!(alive(pid));
    owner.kill().unwrap();
    owner.wait().unwrap();
    let killed = Instant::now();
    wait_until("the server goes with its owner", || !alive(pid)).await;
    println!("server gone {:?} after kill -9 of its owner", killed.elapsed());
    start(dir.path()).await.stop().await.unwrap();
    assert!(!fs::read_to_string(dir.path().join("pg.log")).unwrap().contains("not properly shut down"));
}

#[tokio::test]
async fn works_for_an_ordinary_user() {
    if !is_root() {
        return; // Every other test has just shown it.
    }
    let dir = tempfile::tempdir().unwrap();
    let nobody = (65534, 65534);
    std::os::unix::fs::chown(dir.path(), Some(nobody.0), Some(nobody.1)).unwrap();
    let (mut owner, said) = spawn_owner(dir.path(), Some(nobody));
    let pid: u32 = said.strip_prefix("ready ").unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), nobody.0);
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until("the server goes with its owner", || !alive(pid)).await;
    // Root takes the cluster over under the account that owns it.
    let server = start(dir.path()).await;
    assert_eq!(fs::metadata(format!("/proc/{}", server.pid())).unwrap().uid(), nobody.0);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_long_path_is_served_from_a_short_socket_directory() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let server = start(&dir.path().join("x".repeat(100))).await;
    let sockets = server.socket_dir().to_owned();
    assert!(!sockets.starts_with(dir.path()), "{sockets:?}");
    assert_eq!(query(&server, "SELECT current_user::text").await, "greekd");
    server.stop().await.unwrap();
    assert!(!sockets.exists());
}

#[tokio::test]
async fn root_is_told_which_directory_bars_the_way() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Not the data directory itself, so it is not ours to open.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    match PrivateServer::start(PrivateConfig::throwaway(dir.path().join("data"))).await {
        Err(PrivateError::OutOfReach { dir: barrier, .. }) => assert_eq!(barrier, dir.path()),
        other => panic!("{other:?}"),
    }
}
