//! Valgrind, under which tests count instructions.

use crate::packages::{Need, on_path};

pub(crate) const VALGRIND: Need = Need {
    name: "valgrind, which counts instructions",
    by_hand: "install valgrind",
    found,
    packages: &[
        ("apt-get", &["valgrind"]),
        ("dnf", &["valgrind"]),
        ("zypper", &["valgrind"]),
        ("apk", &["valgrind"]),
        ("pacman", &["valgrind"]),
    ],
};

/// Elsewhere the tests that need it are not built.
fn found() -> bool {
    !cfg!(all(target_os = "linux", target_arch = "x86_64")) || on_path("valgrind")
}
