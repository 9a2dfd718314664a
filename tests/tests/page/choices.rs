//! What a person chooses on the page stays chosen, and what is shown can be had as a file.

use std::sync::Arc;
use std::time::Duration;

use greekd_tests::browser::{Browser, Page};
use greekd_tests::served::{Served, series};
use greeks_model::Series;
use serde_json::{Value, json};

use crate::{FIGURES, turn};

const SOON: Duration = Duration::from_secs(30);

/// Two accounts, three underlyings; the last position has no Greeks.
async fn served() -> (Served, Vec<Arc<Series>>) {
    let served = Served::start().await;
    let mut all: Vec<_> =
        (1..=4).map(|n| series("5WT00001", &format!("SPY   270115P{:08}", n * 100_000), "SPY")).collect();
    all.extend((1..=3).map(|n| series("5WT00001", &format!("AAPL  261218C{:08}", n * 50_000), "AAPL")));
    served.hold("5WT00001", &all);
    let other = vec![series("U7654321", "NVDA  270115C00140000", "NVDA")];
    served.hold("U7654321", &other);
    served.tick(&all, 0.0);
    (served, all)
}

async fn open(browser: &Browser, served: &Served) -> Page {
    let page = browser.page(1400, 900).await;
    page.open(&served.origin).await;
    rows(&page, 3).await;
    page.eval(FIGURES).await;
    page
}

/// Waits until so many rows are shown.
async fn rows(page: &Page, count: usize) {
    page.until(
        &format!("{count} rows are shown"),
        SOON,
        &format!("document.querySelectorAll('#rows tr').length === {count}"),
    )
    .await;
}

async fn names(page: &Page) -> Vec<String> {
    let names = "[...document.querySelectorAll('#rows .label')].map((label) => label.textContent)";
    serde_json::from_value(page.eval(names).await).unwrap()
}

/// How the table is looked at: the names of its rows in order, what is sorted, chosen and typed.
async fn look(page: &Page) -> Value {
    page.eval(
        "({
            rows: [...document.querySelectorAll('#rows tr')].map((row) => row.dataset.line ?? row.querySelector('.label').textContent),
            sort: [...document.querySelectorAll('#head th[aria-sort]')].map((head) => [head.dataset.column, head.ariaSort]),
            group: document.querySelector('[name=group]:checked').value,
            filter: document.querySelector('#filter').value,
            range: document.querySelector('[name=range]:checked').value,
            theme: document.documentElement.dataset.theme,
        })",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn choices_outlive_updates_and_a_reload() {
    let _turn = turn().await;
    let (browser, (served, all)) = (Browser::start().await, served().await);
    let page = open(&browser, &served).await;
    assert_eq!(names(&page).await, ["AAPL", "NVDA", "SPY"]);
    let nvda = "[...document.querySelectorAll('#rows tr')].find((row) => row.querySelector('.label').textContent === 'NVDA').innerText";
    let nvda = page.eval(nvda).await;
    assert!(
        nvda.as_str().unwrap().contains('—') && !nvda.as_str().unwrap().contains("$0"),
        "unknown is a dash: {nvda}"
    );
    assert_eq!(page.eval("document.querySelector('#tile-coverage .value').textContent").await, "7 of 8");
    let missing = page.until("what is missing is told", SOON, "[...document.querySelectorAll('#missing li')].map((item) => item.innerText).find((text) => text.includes('NVDA'))").await;
    assert!(missing.as_str().unwrap().contains("··4321") && !missing.to_string().contains("U7654321"), "{missing}");

    page.click("[name=group][value=account]").await;
    rows(&page, 2).await;
    assert_eq!(names(&page).await, ["··0001", "··4321"], "accounts are masked");
    let document = page.eval("document.documentElement.outerHTML").await.to_string();
    assert!(
        document.contains("··4321") && !document.contains("U7654321") && !document.contains("5WT00001"),
        "{document}"
    );
    page.click("#rows .twist").await;
    rows(&page, 9).await;
    page.click("#head [data-column=delta_dollars] button").await;
    page.click("[name=range][value='5']").await;
    page.click("#theme").await;
    page.eval("document.querySelector('#filter').focus()").await;
    page.type_text("spy").await;
    rows(&page, 5).await;
    let chosen = look(&page).await;
    assert_eq!(chosen["sort"], json!([["delta_dollars", "descending"]]));
    assert_eq!(
        (&chosen["group"], &chosen["filter"], &chosen["theme"]),
        (&json!("account"), &json!("spy"), &json!("dark"))
    );

    let before = page.eval("figures()").await;
    served.tick(&all, 0.25);
    page.until("the figures move", SOON, &format!("JSON.stringify(figures()) !== {}", json!(before.to_string()))).await;
    assert_eq!(look(&page).await, chosen, "an update changed what was chosen");
    page.call("Page.reload", json!({})).await;
    // The old page has these rows too; only the new one has no function of ours.
    page.until("the page is another", SOON, "typeof window.figures === 'undefined'").await;
    rows(&page, 5).await;
    assert_eq!(look(&page).await, chosen, "a reload changed what was chosen");
    // Nothing of this is kept for another visitor, so the comparison can fail.
    assert_ne!(look(&open(&browser, &served).await).await, chosen);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_no_sum_is_told_as_soon_as_it_is_so() {
    let _turn = turn().await;
    let ((served, _), browser) = (served().await, Browser::start().await);
    let page = open(&browser, &served).await;
    // Nobody knows a beta but that of the benchmark, and of the last position nothing at all is known.
    let told = "[...document.querySelectorAll('#missing li')].map((item) => item.lastChild.textContent.split(':')[0]).sort().join()";
    let is = async |count: u32, reasons: &str| {
        let expression =
            format!("document.querySelector('#missing-count').textContent === '{count}' && {told} === '{reasons}'");
        page.until(&format!("{count}: {reasons}"), SOON, &expression).await;
    };
    is(4, "no Greeks received yet,no beta known").await;
    // What is asked for every few seconds is not waited for: the stream's own news are enough.
    page.eval("for (let timer = 1; timer < 10_000; timer += 1) clearInterval(timer); true").await;
    let new =
        vec![series("U7654321", "NVDA  270115C00140000", "NVDA"), series("U7654321", "MSFT  270115C00440000", "MSFT")];
    served.hold("U7654321", &new);
    is(5, "no Greeks received yet,no Greeks received yet,no beta known").await;
    served.tick(&new[..1], 0.0);
    is(5, "no Greeks received yet,no beta known,no beta known").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_hold_what_the_table_shows() {
    let _turn = turn().await;
    let (browser, (served, _)) = (Browser::start().await, served().await);
    let page = open(&browser, &served).await;
    page.click("#unfold").await;
    rows(&page, 11).await;
    page.click("#head [data-column=theta] button").await;
    page.until("it is sorted", SOON, "document.querySelector('#head [data-column=theta]').ariaSort !== null").await;
    // What the buttons save, caught on its way to the disk.
    page.eval(
        "window.saved = [];
         URL.createObjectURL = (blob) => { saved.push(blob.text()); return '#'; };
         HTMLAnchorElement.prototype.click = function () { saved.push(this.download); };
         true",
    )
    .await;
    page.click("#csv").await;
    page.click("#json").await;
    let saved = page.eval("Promise.all(saved)").await;
    let saved: Vec<String> = serde_json::from_value(saved).unwrap();
    let [csv, name, json, _] = saved.as_slice() else { panic!("{saved:?}") };
    assert!(name.starts_with("greekd-underlying-") && name.ends_with(".csv"), "{name}");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let head: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
    let shown: Vec<Vec<String>> = serde_json::from_value(
        page.eval(
            "[...document.querySelectorAll('#rows tr')].map((row) => [...row.cells].map((cell) => cell.textContent))",
        )
        .await,
    )
    .unwrap();
    assert_eq!(rows.len(), shown.len());
    let objects: Vec<Value> = serde_json::from_str(json).unwrap();
    assert_eq!(objects.len(), rows.len());
    // The columns of money: written as the table writes them, the numbers of the file are the texts of the table.
    for column in ["Δ $ ($)", "β-Δ ($)", "Γ ($ per 1 %)", "Θ ($ per day)", "Vega ($ per pt)"] {
        let at = head.iter().position(|name| name == column).unwrap_or_else(|| panic!("no {column} in {head:?}"));
        let numbers: Vec<Option<f64>> = rows.iter().map(|row| row[at].parse().ok()).collect();
        let written = page
            .eval(&format!("import('/page/format.js').then((format) => {}.map(format.money))", json!(numbers)))
            .await;
        let in_table: Vec<&str> = shown.iter().map(|row| row[at - 1].as_str()).collect();
        assert_eq!(written, json!(in_table), "{column}");
        let in_json: Vec<Option<f64>> = objects.iter().map(|object| object[column].as_f64()).collect();
        assert_eq!(in_json, numbers, "{column}");
    }
    assert!(!csv.contains("5WT00001") && csv.contains("··0001"), "accounts are masked in files too: {csv}");
    assert!(rows.iter().filter(|row| row[0] == "NVDA").all(|row| row[5].is_empty()), "unknown is empty: {rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_reached_by_the_keyboard() {
    let _turn = turn().await;
    let (browser, (served, _)) = (Browser::start().await, served().await);
    let page = open(&browser, &served).await;
    let mut reached = Vec::new();
    for _ in 0..60 {
        page.press("Tab").await;
        let name = "(() => {
            const at = document.activeElement;
            return at.id || at.name || at.closest('th')?.dataset.column || at.closest('tr')?.querySelector('.label')?.textContent || at.className || at.tagName;
        })()";
        let name: String = serde_json::from_value(page.eval(name).await).unwrap();
        if name == "BODY" {
            break;
        }
        reached.push(name);
    }
    for wanted in ["skip", "theme", "group", "filter", "unfold", "csv", "json", "name", "delta", "AAPL", "SPY", "range"]
    {
        assert!(reached.iter().any(|name| name == wanted), "{wanted} is not reached: {reached:?}");
    }
    page.eval("document.querySelector('#rows .twist').focus()").await;
    page.press("Enter").await;
    rows(&page, 6).await;
    page.press("Enter").await;
    rows(&page, 3).await;
    page.press("/").await;
    page.type_text("NVDA").await;
    rows(&page, 1).await;
    assert_eq!(names(&page).await, ["NVDA"]);
}
