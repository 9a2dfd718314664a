//! 500 rows, all of which change four times a second.

use std::time::{Duration, Instant};

use greekd_tests::browser::Browser;
use greekd_tests::served::{Served, series};
use tokio::time::{MissedTickBehavior, interval};

use crate::turn;

const ROWS: usize = 500;
const UPDATE: Duration = Duration::from_millis(250);
/// Until everything has been compiled and has taken its place.
const WARM: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(60);
/// The milliseconds after which a person feels that a page does not answer.
const LONG: f64 = 50.0;

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_and_the_page_keeps_up() {
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
    page.eval("seen = 0; true").await;
    page.note_tasks().await;
    run(MEASURED).await;
    let (tasks, seen) = (page.tasks().await, page.eval("seen").await.as_f64().unwrap());
    let after = page.heap().await;
    let (longest, sum) = (tasks[0], tasks.iter().sum::<f64>());
    println!(
        "{seen} updates seen in {MEASURED:?}; heap {before:.0} -> {after:.0} bytes; the page's thread computed for {:.3} \
         of the time, at most {longest:.1} ms at a time",
        sum / 1_000.0 / MEASURED.as_secs_f64()
    );
    assert!(longest < LONG, "a task of the page's thread computed for {longest} ms");
    // One that is missing in the notes could not have been too long.
    assert!(sum > seen, "{seen} updates took {sum} ms");
    assert!(seen > MEASURED.as_secs_f64(), "the page saw {seen} updates");
    assert!(after < before * 1.1 + 500_000.0, "the heap grew from {before} to {after} bytes");
    // A task that holds the page up would have been seen.
    page.note_tasks().await;
    page.eval("for (const end = performance.now() + 1000; performance.now() < end;);").await;
    let tasks = page.tasks().await;
    assert!(tasks[0] > LONG, "{:?}", &tasks[..tasks.len().min(9)]);
}
