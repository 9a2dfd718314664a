//! Making a cluster and starting the server on it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::time::timeout;

use super::account::Account;
use super::binaries::Binaries;
use super::layout::{Layout, PORT, one_line};
use super::{PrivateConfig, PrivateError};

/// The superuser and the database of a private server.
pub(super) const NAME: &str = "greekd";

const INITDB_DEADLINE: Duration = Duration::from_secs(120);

/// Names of half-made clusters begin with this.
const UNFINISHED: &str = "data.new-";

/// Settings of a small server beside its only client. Statistics of months stay small, WAL files are recycled instead
/// of made anew (a new one costs milliseconds in the middle of a commit).
const SETTINGS: [(&str, &str); 14] = [
    ("max_connections", "40"),
    ("min_wal_size", "192MB"),
    ("max_wal_size", "1GB"),
    ("checkpoint_timeout", "15min"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_checkpoints", "off"),
    ("log_line_prefix", "%m [%p] "),
    ("cluster_name", "greekd"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    // Ends the statements of a client that was killed.
    ("client_connection_check_interval", "5s"),
    ("listen_addresses", ""),
];

/// What durability rests on; nothing may override these.
const DURABILITY: [(&str, &str); 3] = [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")];

/// Makes a cluster under a temporary name and renames it.
pub(super) async fn create(
    layout: &Layout,
    binaries: &Binaries,
    account: Option<&Account>,
    sync: bool,
) -> Result<(), PrivateError> {
    remove_unfinished(&layout.pg)?;
    let unfinished = layout.pg.join(format!("{UNFINISHED}{}", std::process::id()));
    let mut command = std::process::Command::new(binaries.dir.join("initdb"));
    command
        .arg("-D")
        .arg(&unfinished)
        .args(["-U", NAME, "--auth-local=trust", "--auth-host=reject", "-E", "UTF8", "--locale=C"])
        .args(["--data-checksums", "--no-instructions"]);
    if !sync {
        command.arg("--no-sync");
    }
    isolate(&mut command, account);
    command.stdin(Stdio::null());
    let program = command.get_program().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let output = timeout(INITDB_DEADLINE, command.output())
        .await
        .map_err(|_| PrivateError::Deadline { action: "make a new cluster", after: INITDB_DEADLINE })?
        .map_err(PrivateError::io("run", Path::new(&program)))?;
    if !output.status.success() {
        return Err(PrivateError::Program { program, output: one_line(&output.stderr) });
    }
    fs::rename(&unfinished, &layout.cluster).map_err(PrivateError::io("rename", &unfinished))?;
    if sync {
        File::open(&layout.pg).and_then(|dir| dir.sync_all()).map_err(PrivateError::io("sync", &layout.pg))?;
    }
    Ok(())
}

/// The command line of the server.
pub(super) fn server_command(
    layout: &Layout,
    binaries: &Binaries,
    account: Option<&Account>,
    config: &PrivateConfig,
    setpriv: Option<&Path>,
) -> Result<std::process::Command, PrivateError> {
    let postgres = binaries.dir.join("postgres");
    let mut command = match setpriv {
        Some(setpriv) => {
            let mut command = std::process::Command::new(setpriv);
            command.args(["--pdeathsig", "INT", "--"]).arg(postgres);
            command
        }
        None => std::process::Command::new(postgres),
    };
    command.arg("-D").arg(&layout.cluster);
    let given = config.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in SETTINGS.into_iter().chain(given).chain(DURABILITY) {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    // The last one counts: we have to find the socket again.
    command.arg("-k").arg(&layout.sockets).arg("-p").arg(PORT.to_string());
    isolate(&mut command, account);
    let log = layout.open_log()?;
    let copy = log.try_clone().map_err(PrivateError::io("open", &layout.log))?;
    command.stdin(Stdio::null()).stdout(copy).stderr(log);
    Ok(command)
}

/// The `setpriv` of util-linux, which can set a parent-death signal (that of busybox cannot).
pub(super) async fn find_setpriv() -> Option<PathBuf> {
    for dir in ["/usr/bin", "/bin", "/usr/local/bin"] {
        let program = Path::new(dir).join("setpriv");
        if !program.is_file() {
            continue;
        }
        let mut probe = tokio::process::Command::new(&program);
        probe.args(["--pdeathsig", "INT", "--"]).arg(&program).arg("--version").env_clear().kill_on_drop(true);
        probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if matches!(timeout(Duration::from_secs(5), probe.status()).await, Ok(Ok(status)) if status.success()) {
            return Some(program);
        }
    }
    None
}

/// Another account, none of our secrets in the environment, no Ctrl-C meant for us (the server stops after us), and a
/// working directory that the account may enter.
fn isolate(command: &mut std::process::Command, account: Option<&Account>) {
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/").process_group(0);
    if let Some(account) = account {
        // std drops the supplementary groups along with root.
        command.uid(account.uid).gid(account.gid);
    }
}

fn remove_unfinished(pg: &Path) -> Result<(), PrivateError> {
    for entry in fs::read_dir(pg).map_err(PrivateError::io("list", pg))? {
        let entry = entry.map_err(PrivateError::io("list", pg))?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path()).map_err(PrivateError::io("remove", &entry.path()))?;
        }
    }
    Ok(())
}
