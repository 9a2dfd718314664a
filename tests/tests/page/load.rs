//! 500 rows, all of which change four times a second.

use std::time::{Duration, Instant};

use greekd_tests::browser::Browser;
use greekd_tests::served::{Served, series};
use tokio::time::{MissedTickBehavior, interval};

use crate::turn;

const ROWS: usize = 500;
const UPDATE: Duration = Duration::from_millis(250);
/// Until everything has been compiled and has taken its place.
const WARM: Duration = Duration::from_secs(15);
const MEASURED: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_and_no_task_is_long() {
    let _turn = turn().await;
    let (browser, served) = (Browser::start().await, Served::start().await);
    let all: Vec<_> = (1..=ROWS)
        .map(|n| series("5WT00001", &format!("SPY   270115P{:08}", n * 1_000), &format!("SYM{}", n % 10)))
        .collect();
    served.hold("5WT00001", &all);
    let page = browser.page(1400, 900).await;
    page.open(&served.origin).await;
    page.until("groups are shown", UPDATE * 120, "document.querySelectorAll('#rows .group').length === 10").await;
    page.click("#unfold").await;
    page.until("rows are shown", UPDATE * 120, "document.querySelectorAll('#rows .leg').length === 500").await;
    let price = "document.querySelector('#rows .leg .price').textContent";
    page.eval(&format!(
        "window.seen = 0; window.was = '';
         new MutationObserver(() => {{ if ({price} !== was) {{ was = {price}; seen += 1; }} }})
             .observe(document.querySelector('#rows'), {{ subtree: true, childList: true, characterData: true }}); true"
    ))
    .await;
    let mut tick = interval(UPDATE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut moved = 0.0;
    let mut run = async |length: Duration| {
        let began = Instant::now();
        while began.elapsed() < length {
            tick.tick().await;
            moved += 0.01;
            served.tick(&all, moved);
        }
    };
    run(WARM).await;
    let before = page.heap().await;
    page.eval("longTasks.length = 0; seen = 0; true").await;
    run(MEASURED).await;
    let (seen, long) = (page.eval("seen").await.as_f64().unwrap(), page.eval("longTasks").await);
    let after = page.heap().await;
    println!("{seen} updates seen in {MEASURED:?}; heap {before:.0} -> {after:.0} bytes; tasks over 50 ms: {long}");
    assert!(seen > MEASURED.as_secs_f64() * 2.0, "the page saw {seen} updates");
    assert_eq!(long.as_array().unwrap().len(), 0, "tasks over 50 ms: {long}");
    assert!(after < before * 1.1 + 500_000.0, "the heap grew from {before} to {after} bytes");
    // A task that is long would have been seen.
    page.eval("new Promise((done) => setTimeout(() => { const end = performance.now() + 120; while (performance.now() < end); setTimeout(done, 200); }))").await;
    assert_eq!(page.eval("longTasks.length").await, 1);
}
