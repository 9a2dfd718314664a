//! Pictures of the page with the demo behind it, for the README and for people who change the page.

use std::path::{Path, PathBuf};
use std::time::Duration;

use greekd_tests::browser::{Browser, Page};
use greekd_tests::daemon::Daemon;
use greekd_tests::http::address;
use greekd_tests::tasty::PATIENCE;

use crate::turn;

/// Until charts have something to show.
const HISTORY: Duration = Duration::from_secs(180);

async fn ready(page: &Page, origin: &str) {
    page.open(origin).await;
    page.until("rows are shown", PATIENCE, "document.querySelectorAll('#rows tr').length > 3").await;
    page.until("sums are shown", PATIENCE, "document.querySelector('#tile-beta .value').textContent !== '—'").await;
    page.until("the buckets are shown", PATIENCE, "document.querySelectorAll('#buckets tr').length === 6").await;
    page.eval("document.querySelectorAll('.group .twist')[1].click()").await;
    page.until("the chart is drawn", HISTORY, "document.querySelector('#history canvas') !== null").await;
}

/// Writes `dark.png`, `light.png` and `phone.png` to `GREEKD_SHOTS`, else into the target directory.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes pictures, which a person looks at"]
async fn pictures() {
    let _turn = turn().await;
    let program = greekd_tests::daemon::program();
    let place = std::env::var_os("GREEKD_SHOTS").map_or_else(|| program.parent().unwrap().join("shots"), PathBuf::from);
    std::fs::create_dir_all(&place).unwrap();
    // Where it serves is in the log, which a demo keeps short.
    let quiet_no_more = [("RUST_LOG", "info")];
    let daemon = Daemon::start(&["demo", "--duration", "3600", "--rate", "200", "--positions", "24"], &quiet_no_more);
    let origin = format!("http://{}/", address(&daemon).await);
    let browser = Browser::start().await;
    let first = browser.page(1440, 900).await;
    first.prefers("dark").await;
    first.open(&origin).await;
    first.until("the page is there", PATIENCE, "document.querySelector('#rows') !== null").await;
    first.screenshot(&place.join("first.png")).await;
    // The longer, the more there is in the charts.
    let after = std::env::var_os("GREEKD_SHOTS_AFTER").and_then(|seconds| seconds.to_str()?.parse().ok());
    tokio::time::sleep(Duration::from_secs(after.unwrap_or(5))).await;
    for (name, scheme, width, height) in [
        ("dark", "dark", 1440, 1000),
        ("light", "light", 1440, 1000),
        ("phone", "dark", 390, 844),
        ("narrow", "light", 1100, 900),
    ] {
        let page = browser.page(width, height).await;
        page.prefers(scheme).await;
        ready(&page, &origin).await;
        // The title of a chart, the ages: whatever comes with the next second.
        page.eval("new Promise((done) => setTimeout(done, 1500))").await;
        page.screenshot(&place.join(format!("{name}.png"))).await;
        let overflow = page.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(overflow, 0, "{name} is wider than its window");
        let complaints = page.complaints().await;
        assert!(complaints.is_empty(), "{complaints:?}");
    }
    println!("pictures are in {}", Path::new(&place).display());
    assert!(daemon.stop().await.status.success());
}
