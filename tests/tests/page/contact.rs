//! The page keeps contact with greekd while somebody looks, and says so when there is none.
//! Both wait for a long time, and neither measures: they take no turn, and run beside the others.

use std::time::{Duration, Instant};

use greekd_tests::browser::{Browser, Page};
use greekd_tests::served::{Served, series};
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(30);
/// A minute out of sight, and what a browser adds to the timers of a page that is out of sight.
const PAUSED: Duration = Duration::from_secs(130);
/// The silence after which the page says that contact is lost.
const SILENCE: Duration = Duration::from_secs(15);

const LIVE: &str = "document.documentElement.dataset.stream === 'live'";

#[tokio::test(flavor = "multi_thread")]
async fn contact_is_kept_while_somebody_looks_and_lost_aloud() {
    let browser = Browser::start().await;
    tokio::join!(a_hidden_page_lets_go_of_its_stream(&browser), a_silent_server_is_noticed(&browser));
}

async fn a_hidden_page_lets_go_of_its_stream(browser: &Browser) {
    let served = Served::start().await;
    let held = [series("5WT00001", "SPY   270115P00600000", "SPY")];
    served.hold("5WT00001", &held);
    let page = browser.page(1000, 800).await;
    page.open(&served.origin).await;
    page.until("it is live", SOON, LIVE).await;
    assert_eq!(page.streams(), 1);
    page.eval("window.same = true").await;
    // A short look elsewhere costs nothing.
    let other = page.another().await;
    page.until("it is hidden", SOON, "document.hidden").await;
    page.call("Page.bringToFront", serde_json::json!({})).await;
    page.until("it is shown", SOON, "!document.hidden").await;
    assert_eq!((page.streams(), streams_asked_for(&page)), (1, 1));

    other.call("Page.bringToFront", serde_json::json!({})).await;
    page.until("it is hidden again", SOON, "document.hidden").await;
    let hidden = Instant::now();
    page.until("it pauses", PAUSED, "document.documentElement.dataset.stream === 'paused'").await;
    println!("a hidden page paused after {:?}", hidden.elapsed());
    assert!(hidden.elapsed() > Duration::from_secs(55), "paused after {:?}", hidden.elapsed());
    assert_eq!(page.eval("document.title.startsWith('paused · ')").await, true, "the title is seen all the same");
    assert_eq!((page.streams(), streams_asked_for(&page)), (0, 1), "its stream is closed");
    // What it misses meanwhile is told when it is looked at again.
    served.tick(&held, 0.0);
    page.call("Page.bringToFront", serde_json::json!({})).await;
    page.until("it is live again", SOON, LIVE).await;
    assert_eq!((page.streams(), streams_asked_for(&page)), (1, 2));
    let coverage = "document.querySelector('#tile-coverage .value').textContent === '1 of 1'";
    page.until("it has caught up", SOON, coverage).await;
    assert_eq!(page.eval("window.same").await, true, "nobody loaded it anew");
}

fn streams_asked_for(page: &Page) -> usize {
    page.requests().iter().filter(|url| url.contains("/v1/stream?")).count()
}

async fn a_silent_server_is_noticed(browser: &Browser) {
    let server = Holdable::start();
    let page = browser.page(1000, 800).await;
    page.open(&server.origin).await;
    page.until("it is live", SOON, LIVE).await;
    page.eval("window.same = true").await;
    let lost = "!document.querySelector('#lost').hidden && document.documentElement.dataset.stream === 'lost'";
    assert_eq!(page.eval(lost).await, false);
    // Connections stay open, nothing comes.
    let release = server.hold();
    let held = Instant::now();
    page.until("contact is lost", SILENCE * 3, lost).await;
    // The last word, a status, came up to a second before; the page looks once a second.
    let waited = held.elapsed();
    println!("a silent server was noticed after {waited:?}");
    assert!(
        waited > SILENCE - Duration::from_secs(3) && waited < SILENCE + Duration::from_secs(10),
        "noticed after {waited:?}"
    );
    let text = page.eval("document.querySelector('#lost').innerText").await;
    assert!(text.as_str().unwrap().starts_with("Disconnected from greekd. The last word came at "), "{text}");
    page.until("the title says so", SOON, "document.title.startsWith('not live')").await;
    drop(release);
    page.until("it is live again", SOON, LIVE).await;
    page.until("nothing is said to be lost", SOON, "document.querySelector('#lost').hidden").await;
    page.until("the title is as before", SOON, "!document.title.startsWith('not live')").await;
    assert_eq!(page.eval("window.same").await, true, "nobody loaded it anew");
}

/// A server on a thread of its own, which can be held up like a machine in trouble.
struct Holdable {
    origin: String,
    holds: mpsc::Sender<std::sync::mpsc::Receiver<()>>,
}

impl Holdable {
    fn start() -> Self {
        let (told, origin) = std::sync::mpsc::sync_channel(1);
        let (holds, mut asked) = mpsc::channel::<std::sync::mpsc::Receiver<()>>(1);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let served = Served::start().await;
                served.hold("5WT00001", &[series("5WT00001", "SPY   270115P00600000", "SPY")]);
                told.send(served.origin.clone()).unwrap();
                while let Some(release) = asked.recv().await {
                    // Nothing else runs until the other end is dropped.
                    release.recv().ok();
                }
            });
        });
        Self { origin: origin.recv().unwrap(), holds }
    }

    /// Holds the server up until what is returned is dropped.
    fn hold(&self) -> std::sync::mpsc::SyncSender<()> {
        let (release, released) = std::sync::mpsc::sync_channel(1);
        self.holds.try_send(released).unwrap();
        release
    }
}
