//! PostgreSQL's server programs. greekd starts its own private server from them; a server that happens to run is never
//! touched.

use std::path::{Path, PathBuf};

use crate::packages::Need;

pub(crate) const POSTGRES: Need = Need {
    name: "PostgreSQL's server programs (initdb, postgres)",
    by_hand: "install PostgreSQL 14 or newer, or set GREEKD_PG_BIN to the directory that holds them",
    found,
    packages: &[
        ("apt-get", &["postgresql"]),
        ("dnf", &["postgresql-server"]),
        ("zypper", &["postgresql-server"]),
        ("apk", &["postgresql"]),
        ("pacman", &["postgresql"]),
        ("brew", &["postgresql@17"]),
    ],
};

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
