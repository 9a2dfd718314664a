//! Makes sure that PostgreSQL's server programs are on the machine. greekd starts its own private server from them; a
//! server that happens to run is never touched.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One package manager: the program that shows its presence, and the commands that install PostgreSQL.
struct Manager {
    program: &'static str,
    needs_root: bool,
    commands: &'static [&'static [&'static str]],
}

const MANAGERS: [Manager; 6] = [
    Manager {
        program: "apt-get",
        needs_root: true,
        commands: &[
            &["apt-get", "update", "-qq"],
            &["apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql"],
        ],
    },
    Manager { program: "dnf", needs_root: true, commands: &[&["dnf", "install", "-y", "postgresql-server"]] },
    Manager { program: "zypper", needs_root: true, commands: &[&["zypper", "-n", "install", "postgresql-server"]] },
    Manager { program: "apk", needs_root: true, commands: &[&["apk", "add", "postgresql"]] },
    Manager { program: "pacman", needs_root: true, commands: &[&["pacman", "-Sy", "--noconfirm", "postgresql"]] },
    Manager { program: "brew", needs_root: false, commands: &[&["brew", "install", "postgresql@17"]] },
];

/// Finds the server programs, or installs them when this account may.
///
/// # Errors
/// One line that says what to type.
pub(crate) fn ensure() -> Result<(), String> {
    if found() {
        return Ok(());
    }
    let Some(manager) = MANAGERS.iter().find(|manager| on_path(manager.program)) else {
        return Err("PostgreSQL's server programs (initdb, postgres) are missing: install PostgreSQL 14 or newer, \
                    or set GREEKD_PG_BIN to the directory that holds them"
            .into());
    };
    let line = |prefix: &str| {
        let typed: Vec<String> = manager.commands.iter().map(|words| format!("{prefix}{}", words.join(" "))).collect();
        typed.join(" && ")
    };
    if manager.needs_root && !is_root() {
        return Err(format!("PostgreSQL's server programs are missing; type: {}", line("sudo ")));
    }
    println!("installing PostgreSQL: {}", line(""));
    for words in manager.commands {
        let Some((program, args)) = words.split_first() else { continue };
        let status = Command::new(program).args(args).env("DEBIAN_FRONTEND", "noninteractive").status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(format!("`{}` failed: install PostgreSQL 14 or newer by hand", words.join(" ")));
        }
    }
    if found() { Ok(()) } else { Err("PostgreSQL was installed, but initdb is not where it is looked for".into()) }
}

/// Looks where greekd looks: its own setting, the search path, and the directories of packages.
fn found() -> bool {
    let mut places: Vec<PathBuf> = Vec::new();
    places.extend(std::env::var_os("GREEKD_PG_BIN").map(PathBuf::from));
    places.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    for parent in ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt", "/usr/local/opt"] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            places.push(entry.path().join("bin"));
        }
    }
    places.iter().any(|place| has_server(place))
}

fn has_server(directory: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| directory.join(program).is_file())
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|d| d.join(program).is_file()))
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
