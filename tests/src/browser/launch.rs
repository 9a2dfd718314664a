//! The browser as a child process with a profile of its own.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::page::Page;
use super::wire::Wire;
use crate::scratch::scratch;
use crate::wait::until;

/// For the browser to start.
const START: Duration = Duration::from_secs(60);

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

const APPLICATIONS: [&str; 2] = [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

const ARGS: [&str; 12] = [
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
    "--lang=en-US",
];

/// A browser; it ends when this is dropped.
#[derive(Debug)]
pub struct Browser {
    wire: Arc<Wire>,
    _child: Child,
    // Dropped after the browser.
    _profile: TempDir,
}

impl Browser {
    /// Starts the browser of this machine.
    ///
    /// # Panics
    /// When there is none, or it does not start.
    pub async fn start() -> Self {
        let program = program().unwrap_or_else(|| {
            panic!(
                "no browser: these tests look at the page with Chromium, which `cargo xtask test` installs; \
                 install `chromium`, or set GREEKD_CHROMIUM to a Chromium or Chrome"
            )
        });
        let profile = scratch();
        let mut command = Command::new(&program);
        command.args(ARGS).arg(format!("--user-data-dir={}", profile.path().display()));
        if rustix::process::geteuid().is_root() {
            // Its sandbox needs another user than root.
            command.arg("--no-sandbox");
        }
        command.arg("about:blank").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let told = profile.path().join("DevToolsActivePort");
        let url = until("the browser has started", START, async || {
            let text = std::fs::read_to_string(&told).ok()?;
            let (port, path) = text.split_once('\n')?;
            path.starts_with('/').then(|| format!("ws://127.0.0.1:{port}{}", path.trim()))
        })
        .await;
        Self { wire: Arc::new(Wire::connect(&url).await), _child: child, _profile: profile }
    }

    /// A page of a new visitor, who has chosen nothing yet, in a window of this size.
    ///
    /// # Panics
    /// When the browser does not open it.
    pub async fn page(&self, width: u32, height: u32) -> Page {
        let context = self.wire.call(None, "Target.createBrowserContext", json!({})).await;
        let context = context["browserContextId"].as_str().expect("a profile").to_owned();
        Page::new(Arc::clone(&self.wire), context, width, height).await
    }
}

/// `GREEKD_CHROMIUM`, else the first of the usual names on the search path, else an application of macOS.
fn program() -> Option<PathBuf> {
    if let Some(told) = std::env::var_os("GREEKD_CHROMIUM") {
        return Some(told.into());
    }
    let path = std::env::var_os("PATH")?;
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let named = NAMES.iter().flat_map(|name| places.iter().map(move |place| place.join(name)));
    named.chain(APPLICATIONS.map(PathBuf::from)).find(|path| path.is_file())
}
