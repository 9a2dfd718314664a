//! The page with the whole product behind it: both brokers' doubles, greekd, PostgreSQL.

use std::time::{Duration, Instant};

use broker_sim::{GreekValues, ScriptedGreeks, Stamp};
use greekd_tests::both::Both;
use greekd_tests::browser::{Browser, Page};
use greekd_tests::cluster::{Cluster, Database};
use greekd_tests::daemon::Daemon;
use greekd_tests::http::{address, json};
use greekd_tests::tasty::PATIENCE;
use greekd_tests::wait::until;
use serde_json::Value;

use crate::{FIGURES, turn};

/// After a frame, the page, the book and the database need this long at most to be alike.
const SETTLED: Duration = Duration::from_secs(30);

/// Where nobody else listens, so that a daemon can come back there.
async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

async fn scene(cluster: &Cluster) -> Both {
    let mut scene = Both::start(cluster, "page", 100.0, 8, 6).await;
    scene.settings.push(("GREEKD_LISTEN", format!("127.0.0.1:{}", free_port().await)));
    scene
}

/// What each tile is made of: its name, the figure of the API, and the same from the database.
const TILES: [(&str, &str, &str); 4] = [
    ("dollars", "delta_dollars", "sum(delta * quantity * multiplier * underlying_price)"),
    ("gamma", "gamma_1pct", "sum(gamma * quantity * multiplier * underlying_price * underlying_price * 0.01)"),
    ("theta", "theta", "sum(theta * quantity * multiplier)"),
    ("vega", "vega", "sum(vega * quantity * multiplier)"),
];

/// `None` while they differ, as they do until the last frames have come; what they are once they do not.
async fn alike(page: &Page, daemon: &Daemon, at: &str, database: &Database) -> Result<Vec<f64>, String> {
    let total = json(daemon, at, "/v1/portfolio").await["total"].take();
    let mut values = Vec::new();
    for (tile, metric, sum) in TILES {
        let told = total[metric]["value"].as_f64().ok_or("unknown")?;
        let sql = format!("SELECT ({sum})::double precision, count(*) FROM v_positions");
        let row = database.client.query_one(&sql, &[]).await.map_err(|error| error.to_string())?;
        let stored: f64 = row.get(0);
        let exactly = page
            .eval(&format!("Number(document.querySelector('#tile-{tile} .value').title.replace('exactly ', ''))"))
            .await
            .as_f64()
            .ok_or("the tile is empty")?;
        if exactly.to_bits() != told.to_bits() || (told - stored).abs() > 1e-9 * told.abs().max(1.0) {
            return Err(format!("{tile}: page {exactly}, API {told}, SQL {stored}"));
        }
        let text = page.eval(&format!("document.querySelector('#tile-{tile} .value').textContent")).await;
        let wanted = page.eval(&format!("import('/page/format.js').then((format) => format.money({told}))")).await;
        assert_eq!(text, wanted, "{tile}");
        values.push(told);
    }
    let coverage = page.eval("document.querySelector('#tile-coverage .value').textContent").await;
    assert_eq!(coverage.as_str(), Some(format!("{} of {}", total["covered"], total["lines"]).as_str()));
    Ok(values)
}

async fn become_alike(page: &Page, daemon: &Daemon, at: &str, database: &Database) -> Vec<f64> {
    let began = Instant::now();
    loop {
        match alike(page, daemon, at, database).await {
            Ok(values) => return values,
            Err(difference) => assert!(began.elapsed() < SETTLED, "{difference}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the book has not changed for two seconds: then the last frames of a market at rest have come.
async fn at_rest(daemon: &Daemon, at: &str) {
    let began = Instant::now();
    let (mut version, mut since) = (Value::Null, Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        let now = json(daemon, at, "/v1/portfolio").await["version"].take();
        if now != version {
            (version, since) = (now, Instant::now());
        }
        assert!(began.elapsed() < SETTLED, "the book does not come to rest");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Watches which rows are written to, ages left aside.
const WATCH_ROWS: &str = "
    window.touched = new Set();
    new MutationObserver((changes) => changes.forEach(({ target, type }) => {
        const element = target instanceof Element ? target : target.parentElement;
        const row = element?.closest('tr');
        if (!element) return;
        if (row && !element.closest('td.age')) touched.add(rowName(row));
        else if (!row) touched.add('the table');
    })).observe(document.querySelector('#rows'), { subtree: true, childList: true, characterData: true });
    true
";

/// Leg rows of a broker, and how many of them are marked as stale.
async fn stale(page: &Page, broker: &str) -> (u64, u64) {
    let rows =
        format!("[...document.querySelectorAll('#rows .leg')].filter((row) => row.innerText.includes('{broker}'))");
    let counts = page
        .eval(&format!("{rows}.reduce(([all, stale], row) => [all + 1, stale + row.matches('.stale')], [0, 0])"))
        .await;
    (counts[0].as_u64().unwrap(), counts[1].as_u64().unwrap())
}

async fn tone(page: &Page, chip: &str) -> Value {
    page.eval(&format!("document.querySelector('[data-chip={chip}]').dataset.tone")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_tells_what_is_so() {
    let _turn = turn().await;
    let cluster = Cluster::start().await;
    let (scene, browser) = (scene(&cluster).await, Browser::start().await);
    let daemon = scene.daemon().await;
    let at = address(&daemon).await;
    let page = browser.page(1400, 900).await;
    page.open(&format!("http://{at}/")).await;
    page.until("rows are shown", PATIENCE, "document.querySelectorAll('#rows .group').length > 1").await;
    page.click("#unfold").await;
    page.eval(FIGURES).await;
    page.until("every chip is good", PATIENCE, "document.querySelectorAll('[data-tone=good]').length === 3").await;
    page.until("the title tells", PATIENCE, "/^β-Δ [+−].+ Θ [+−]\\$/.test(document.title)").await;
    page.until("history is drawn", PATIENCE, "document.querySelector('#history canvas') !== null").await;
    let every_line = async || {
        let total = json(&daemon, &at, "/v1/portfolio").await["total"].take();
        (total["lines"] == total["covered"] && total["lines"].as_u64() > Some(10)).then_some(())
    };
    until("every position has Greeks", PATIENCE, every_line).await;

    scene.tasty.control().pause().await.unwrap();
    at_rest(&daemon, &at).await;
    let before = become_alike(&page, &daemon, &at, &scene.database).await;
    a_tick_changes_its_row(&scene, &page, &daemon, &at).await;
    let after = become_alike(&page, &daemon, &at, &scene.database).await;
    assert_ne!(before, after, "the comparison is one of what moves");

    // One broker goes.
    scene.tasty.control().resume().await.unwrap();
    assert_eq!((stale(&page, "IB ").await.1, stale(&page, "TT ").await.1), (0, 0));
    scene.ibkr.control().take_down().await.unwrap();
    let began = Instant::now();
    until("its rows are stale", PATIENCE, async || {
        let (rows, stale) = stale(&page, "IB ").await;
        (rows > 0 && rows == stale && tone(&page, "ibkr").await != "good").then_some(())
    })
    .await;
    println!("its rows were stale {:?} after the end of the gateway", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!((stale(&page, "TT ").await.1, tone(&page, "tastytrade").await), (0, "good".into()));
    page.until("the totals say so", PATIENCE, "/stale/.test(document.querySelector('#tile-theta .of').textContent)")
        .await;
    page.until("an alert is shown", PATIENCE, "document.querySelector('#alerts li')").await;
    page.eval(WATCH_ROWS).await;
    page.until("the other moves", PATIENCE, "touched.size > 2").await;
    assert_eq!(stale(&page, "TT ").await.1, 0);
    scene.ibkr.control().bring_up().await.unwrap();

    let complaints = page.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    let requests = page.requests();
    assert!(requests.len() > 15, "{requests:?}");
    let own = format!("http://{at}/");
    assert!(requests.iter().all(|url| url.starts_with(&own)), "{requests:?}");

    // The daemon goes and comes back: so does the page, by itself.
    page.eval("window.same = true").await;
    assert!(daemon.stop().await.status.success());
    page.until("the page notices", PATIENCE, "document.documentElement.dataset.stream !== 'live'").await;
    let lost = "!document.querySelector('#lost').hidden && document.title.startsWith('not live')";
    page.until("the page says that it is disconnected", PATIENCE, lost).await;
    let daemon = scene.daemon().await;
    page.until("the page is live again", PATIENCE, "document.documentElement.dataset.stream === 'live'").await;
    assert_eq!(page.eval("window.same").await, true, "nobody loaded it anew");
    until("rows are fresh", PATIENCE, async || (stale(&page, "TT ").await.1 == 0).then_some(())).await;
    page.until("nothing is said to be lost", PATIENCE, "document.querySelector('#lost').hidden").await;
    assert!(daemon.stop().await.status.success());
    scene.ibkr.shutdown().await;
    scene.tasty.shutdown().await;
    scene.market.shutdown().await;
}

/// With the market at rest, new Greeks of one contract change its rows and their groups, and nothing else.
async fn a_tick_changes_its_row(scene: &Both, page: &Page, daemon: &Daemon, at: &str) {
    let held = scene.tasty.positions();
    let listing =
        held.iter().find(|row| row.quantity != 0 && row.listing().is_some()).and_then(|row| row.listing()).unwrap();
    let latest = json(daemon, at, "/v1/greeks/latest").await;
    let mut wanted: Vec<String> = Vec::new();
    let key = listing.contract.to_string();
    for line in latest["lines"].as_array().unwrap().iter().filter(|line| line["contract_key"] == key) {
        wanted.extend([format!("leg {}", line["id"]), format!("group {}", line["underlying"].as_str().unwrap())]);
    }
    wanted.sort();
    wanted.dedup();
    assert!(wanted.len() > 1, "{key} is not in the book");
    page.eval(WATCH_ROWS).await;
    let before = page.eval("figures()").await;
    let values = GreekValues {
        price: 77.25,
        volatility: 0.31,
        delta: 0.1234,
        gamma: 0.0123,
        theta: -0.5,
        rho: 0.25,
        vega: 0.75,
    };
    let stamp = Stamp { time: jiff::Timestamp::now().as_millisecond() + 1, sequence: 0 };
    let event = ScriptedGreeks { symbol: listing.streamer_symbol.clone(), stamp, values };
    scene.tasty.control().emit(&[event]).await.unwrap();
    let shown = format!(
        "[...document.querySelectorAll('#rows .leg .price')].filter((cell) => cell.textContent === '77.25').length === {}",
        wanted.iter().filter(|row| row.starts_with("leg")).count()
    );
    page.until("the tick is shown", PATIENCE, &shown).await;
    let after = page.eval("figures()").await;
    let rows = after.as_object().unwrap();
    let changed: Vec<&String> = rows.keys().filter(|row| before[row.as_str()] != after[row.as_str()]).collect();
    assert_eq!(changed, wanted.iter().collect::<Vec<_>>(), "{key}: {before} became {after}");
    let mut touched: Vec<String> = serde_json::from_value(page.eval("[...touched]").await).unwrap();
    touched.sort();
    assert_eq!(touched, wanted, "rows that did not change were written to");
}
