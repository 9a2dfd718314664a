//! The browser in which tests look at the page.

use std::path::Path;

use crate::packages::{Need, on_path};

pub(crate) const BROWSER: Need = Need {
    name: "a browser for the tests of the page (Chromium)",
    by_hand: "install Chromium or Chrome, or set GREEKD_CHROMIUM to the program",
    found,
    packages: &[
        ("apt-get", &["chromium", "fonts-dejavu-core"]),
        ("dnf", &["chromium", "dejavu-sans-fonts"]),
        ("zypper", &["chromium", "dejavu-fonts"]),
        ("apk", &["chromium", "font-dejavu"]),
        ("pacman", &["chromium", "ttf-dejavu"]),
        ("brew", &["--cask", "chromium"]),
    ],
};

/// Looks where the tests look.
fn found() -> bool {
    const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    const APPLICATIONS: [&str; 2] = [
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ];
    std::env::var_os("GREEKD_CHROMIUM").is_some()
        || NAMES.iter().any(|name| on_path(name))
        || APPLICATIONS.iter().any(|path| Path::new(path).is_file())
}
