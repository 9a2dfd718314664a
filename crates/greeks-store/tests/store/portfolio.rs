//! History and `v_portfolio_1m` against a recount of a book to which everything happens.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::book::{second, store};
use crate::recount::{Book, RULES, Rules, alike, compare, compare_view, questions, recount_by_minute};
use crate::support::Database;

#[tokio::test]
async fn history_is_what_a_recount_finds() {
    // Each rule must have been put to the test by one of the books.
    let without = [
        Rules { closes: false, ..RULES },
        Rules { silence: false, ..RULES },
        Rules { lookback: false, ..RULES },
        Rules { order: false, ..RULES },
    ];
    let mut told_apart = [false; 4];
    for seed in 1..=5 {
        let database = Database::migrated().await;
        let book = Book::random(seed);
        let queries = store(&database, &book.records).await;
        for filter in questions() {
            let found = compare(&book, &queries, &filter, &format!("seed {seed}")).await;
            for (rules, apart) in without.iter().zip(&mut told_apart) {
                *apart |= !alike(&found, &book.points(&filter, *rules));
            }
        }
    }
    assert_eq!(told_apart, [true; 4], "a recount that neglects a rule finds the same");
}

#[tokio::test]
async fn the_view_by_minute_is_what_a_recount_finds() {
    let database = Database::migrated().await;
    let book = Book::random(7);
    store(&database, &book.records).await;
    compare_view(&database, &book, second(0), "from the rows").await;
    let rows = recount_by_minute(&book, second(0));
    let unknown = rows.values().filter(|(_, lines, covered)| lines != covered).count();
    assert!(unknown > 0 && unknown < rows.len(), "{unknown} of {}", rows.len());
}

/// A minute of the view must not cost what a month costs.
#[tokio::test]
async fn bounds_of_the_view_reach_the_index() {
    let database = Database::migrated().await;
    let book = Book::random(9);
    store(&database, &book.records).await;
    let client = database.client().await;
    let sql = "EXPLAIN (ANALYZE, COSTS off, TIMING off) SELECT * FROM v_portfolio_1m WHERE broker = 'ibkr'";
    let mut calls = Vec::new();
    for bound in ["AND minute = '2018-02-28 23:50:00+00'", ""] {
        let plan = client.query(&format!("{sql} {bound}"), &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let limits = plan.iter().filter(|line| line.contains("Limit ") && line.contains("loops="));
        let loops = limits.filter_map(|line| line.split("loops=").nth(1)?.trim_end_matches(')').parse::<u32>().ok());
        calls.push(loops.max().unwrap_or_else(|| panic!("{}", plan.join("\n"))));
    }
    assert!(calls[0] <= 6 && calls[1] > 20 * calls[0], "lines looked up: {calls:?}");
}
