//! 500 rows, all of which change four times a second.

use std::time::{Duration, Instant};

use greekd_tests::browser::{Browser, Page};
use greekd_tests::served::{Served, series};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::turn;

const ROWS: usize = 500;
const UPDATE: Duration = Duration::from_millis(250);
/// Until everything has been compiled and has taken its place.
const WARM: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_and_the_page_keeps_up() {
    let _turn = turn().await;
    let (browser, served) = (Browser::start().await, Served::start().await);
    let all: Vec<_> = (1..=ROWS)
        .map(|n| series("5WT00001", &format!("SPY   270115P{:08}", n * 1_000), &format!("SYM{}", n % 10)))
        .collect();
    served.hold("5WT00001", &all);
    let page = browser.page(1400, 900).await;
    page.call("Performance.enable", json!({"timeDomain": "threadTicks"})).await;
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
    let (before, busy_before) = (page.heap().await, busy(&page).await);
    page.eval("longTasks.length = 0; seen = 0; true").await;
    run(MEASURED).await;
    let (seen, long) = (page.eval("seen").await.as_f64().unwrap(), page.eval("longTasks.length").await);
    let (after, busy_after) = (page.heap().await, busy(&page).await);
    let share = (busy_after - busy_before) / MEASURED.as_secs_f64();
    println!(
        "{seen} updates seen in {MEASURED:?}; heap {before:.0} -> {after:.0} bytes; the page's thread computed for {share:.2} \
         of the time; {long} tasks took over 50 ms by the clock"
    );
    // By the clock a task is as long as the machine is busy; what the thread computes is the page's own.
    assert!(share < 0.5, "the page's thread computed for {share:.2} of the time");
    assert!(seen > MEASURED.as_secs_f64(), "the page saw {seen} updates");
    assert!(after < before * 1.1 + 500_000.0, "the heap grew from {before} to {after} bytes");
    // A thread that computes would have been seen.
    page.eval("for (const end = performance.now() + 1000; performance.now() < end;);").await;
    assert!(busy(&page).await - busy_after > 0.2);
}

/// The seconds that the page's thread has computed.
async fn busy(page: &Page) -> f64 {
    let metrics = page.call("Performance.getMetrics", json!({})).await["metrics"].take();
    let duration = metrics.as_array().unwrap().iter().find(|metric| metric["name"] == "TaskDuration");
    duration.and_then(|metric| metric["value"].as_f64()).unwrap()
}
