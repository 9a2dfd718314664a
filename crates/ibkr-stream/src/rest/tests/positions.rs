//! Pages of positions.

use super::*;

fn rows(numbers: std::ops::Range<usize>) -> String {
    let rows: Vec<String> =
        numbers.map(|number| format!(r#"{{"conid":{},"position":1,"assetClass":"OPT"}}"#, number + 1)).collect();
    format!("[{}]", rows.join(","))
}

fn page_of(line: &str) -> usize {
    line.strip_prefix("GET /portfolio/U1234567/positions/").unwrap().parse().unwrap()
}

#[tokio::test]
async fn pages_are_read_to_the_empty_one() {
    // Three pages; the second one is short and not the last.
    let gateway = Gateway::start(|line| match page_of(line) {
        0 => rows(0..100),
        1 => rows(100..130),
        2 => rows(125..230),
        _ => "[]".into(),
    })
    .await;
    let positions = gateway.rest().positions(&account()).await.unwrap();
    assert_eq!((positions.rows.len(), positions.skipped.len()), (230, 0));
    assert_eq!(gateway.lines().len(), 4);
}

#[tokio::test]
async fn a_page_that_fails_fails_the_whole_read() {
    for bad in [(500, "oops"), (200, "{}"), (200, "null"), (200, r#"{"error":"oops"}"#), (0, "")] {
        let gateway = Gateway::start(move |line| match page_of(line) {
            0 => Reply::from(rows(0..100)),
            _ => bad.into(),
        })
        .await;
        let outcome = gateway.rest().positions(&account()).await;
        assert!(outcome.is_err(), "{bad:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn pages_without_end_are_left() {
    let gateway = Gateway::start(|_| rows(0..3)).await;
    assert_eq!(gateway.rest().positions(&account()).await.unwrap().rows.len(), 3);
    assert_eq!(gateway.lines().len(), 2, "the same page again");
    let gateway = Gateway::start(|line| rows(page_of(line)..page_of(line) + 1)).await;
    let error = gateway.rest().positions(&account()).await.unwrap_err();
    assert!(matches!(&error, Error::EndlessPages { pages: 200, account } if account == "··4567"), "{error}");
}
