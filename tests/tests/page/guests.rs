//! Hostile symbols, hostile pages, and people who do not see the page as others do.

use std::path::Path;
use std::time::Duration;

use greekd_tests::browser::{Browser, Page};
use greekd_tests::served::{Served, series};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::turn;

const SOON: Duration = Duration::from_secs(30);
const MARKUP: &str = "<img src=x onerror=window.harm=1>";
const FORMULA: &str = "=HYPERLINK(1)";

#[tokio::test(flavor = "multi_thread")]
async fn symbols_that_look_like_markup_are_text() {
    let _turn = turn().await;
    let (browser, served) = (Browser::start().await, Served::start().await);
    let account = "<script>window.harm=2</script>";
    let all = vec![series(account, "SPY   270115P00600000", MARKUP), series(account, "SPY   270115P00610000", FORMULA)];
    served.hold(account, &all);
    let page = browser.page(1400, 900).await;
    page.open(&served.origin).await;
    // Without Greeks at first, so that the list of what is missing has it too.
    page.until("it is listed as missing", SOON, "document.querySelectorAll('#missing li').length === 2").await;
    served.tick(&all, 0.0);
    let symbols = json!(format!("{MARKUP},{FORMULA}"));
    let shown = "[...document.querySelectorAll('#rows .group .label')].map((label) => label.textContent).join()";
    page.until("the symbols are shown", SOON, &format!("{shown} === {symbols}")).await;
    page.click("#unfold").await;
    for group in ["expiry", "account", "broker", "underlying"] {
        // The rows of one grouping stay until those of the next are told.
        page.eval("document.querySelectorAll('#rows .group').forEach((row) => { row.dataset.before = ''; })").await;
        page.click(&format!("[name=group][value={group}]")).await;
        let anew = "document.querySelector('#rows .group:not([data-before])') && !document.querySelector('#rows [data-before]')";
        page.until("the rows are grouped anew", SOON, anew).await;
        page.click("#unfold").await;
    }
    page.until("the symbols are shown again", SOON, &format!("{shown} === {symbols}")).await;
    assert_eq!(page.eval("document.querySelectorAll('main img, body script').length").await, 0);
    assert_eq!(page.eval("window.harm ?? null").await, Value::Null);
    let csv = "import('/page/export.js').then((file) => file.csv([['=1', '-1', -1, 'a,\"b', null]]))";
    assert_eq!(page.eval(csv).await, "'=1,'-1,-1,\"a,\"\"b\",\r\n", "a spreadsheet computes nothing");
}

/// A page of another origin, which a browser shows: it asks for what the server has in every way there is.
#[tokio::test(flavor = "multi_thread")]
async fn another_origin_reads_nothing() {
    let _turn = turn().await;
    let (browser, served) = (Browser::start().await, Served::start().await);
    let held = vec![series("5WT00001", "SPY   270115P00600000", "SPY")];
    served.hold("5WT00001", &held);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut asked = [0; 4096];
            // Whatever is asked, the answer is the same.
            drop(socket.read(&mut asked).await);
            let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 16\r\nconnection: close\r\n\r\n<title>x</title>";
            socket.write_all(page.as_bytes()).await.ok();
        }
    });
    let ask = |origin: &str| {
        format!(
            "Promise.all([
                fetch('{origin}/v1/greeks/latest').then((answer) => answer.text(), () => ''),
                fetch('{origin}/v1/greeks/latest', {{ mode: 'no-cors' }}).then((answer) => answer.text(), () => ''),
                new Promise((done) => {{
                    const source = new EventSource('{origin}/v1/stream');
                    source.addEventListener('snapshot', (event) => {{ source.close(); done(event.data); }});
                    source.addEventListener('error', () => {{ source.close(); done(''); }});
                }}),
                import('{origin}/page/format.js').then((format) => format.DASH, () => ''),
            ])"
        )
    };
    let page = browser.page(800, 600).await;
    page.open(&other).await;
    page.until("the other page is there", SOON, "document.title === 'x'").await;
    assert_eq!(page.eval(&ask(&served.origin)).await, json!(["", "", "", ""]));
    // The same questions are answered to the server's own page.
    page.open(&served.origin).await;
    page.until("the page is there", SOON, "document.querySelectorAll('#rows tr').length === 1").await;
    let own: Vec<String> = serde_json::from_value(page.eval(&ask(&served.origin)).await).unwrap();
    assert!(own.iter().all(|text| !text.is_empty()) && own[0].contains("5WT00001"), "{own:?}");
    serving.abort();
}

fn axe() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/axe");
    let list: Value = serde_json::from_slice(&std::fs::read(directory.join("vendor.json")).unwrap()).unwrap();
    let files = list["packages"][0]["files"].as_object().unwrap();
    assert_eq!(files.len(), 3);
    for (name, sum) in files {
        let found = digest(&SHA256, &std::fs::read(directory.join(name)).unwrap());
        let found: String = found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, &json!(found), "{name} is not what was vendored");
    }
    std::fs::read_to_string(directory.join("axe.min.js")).unwrap()
}

/// What axe finds that is serious or worse.
async fn findings(page: &Page) -> Vec<String> {
    let found = page
        .eval(
            "axe.run({ resultTypes: ['violations'] }).then((results) => results.violations
                .filter((rule) => ['serious', 'critical'].includes(rule.impact))
                .flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 160)}: ${node.failureSummary}`)))",
        )
        .await;
    serde_json::from_value(found).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_serious() {
    let _turn = turn().await;
    let (browser, served) = (Browser::start().await, Served::start().await);
    let all: Vec<_> = (1..=9).map(|n| series("5WT00001", &format!("SPY   270115P{:08}", n * 100_000), "SPY")).collect();
    served.hold("5WT00001", &all);
    served.hold("U7654321", &[series("U7654321", "NVDA  270115C00140000", "NVDA")]);
    served.tick(&all, 0.5);
    let script = axe();
    for (scheme, width) in [("dark", 1400), ("light", 1400), ("dark", 390)] {
        let page = browser.page(width, 900).await;
        page.prefers(scheme).await;
        page.open(&served.origin).await;
        page.until("rows are shown", SOON, "document.querySelectorAll('#rows tr').length === 2").await;
        page.click("#unfold").await;
        page.until("legs are shown", SOON, "document.querySelectorAll('#rows .leg').length === 10").await;
        page.eval(&script).await;
        assert_eq!(findings(&page).await, Vec::<String>::new(), "{scheme} at {width}");
        // It can find something: text that nobody can read.
        page.eval("document.querySelector('#positions-title').style.color = 'var(--raised)'").await;
        assert_eq!(findings(&page).await.len(), 1, "{scheme} at {width}");
    }
}
