//! The judge of the fault harness sees what it is there to see.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use greekd_tests::torture::episode::{self, Outcome, Script};
use greekd_tests::torture::fault::{Ending, Moment, Plan, Trouble};
use greekd_tests::torture::judging;
use greekd_tests::torture::lane::Lane;

/// The row accepted last, and so one that is in the ledger.
const LAST: &str = "(event_time, seq) =
    (SELECT event_time, seq FROM greek_ticks WHERE delta <> 0 ORDER BY received_at DESC, seq DESC LIMIT 1)";

/// One kill, one undisturbed run, and then this is done to the database.
async fn play(lane: &mut Lane, name: &str, tamper: Option<&str>, environment: &[(&str, &str)]) -> Outcome {
    let plan = Plan { trouble: Trouble::None, ending: Ending::Kill(Moment::FirstRow(Duration::from_millis(200))) };
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let tamper = tamper.map(|sql| sql.replace("LAST", LAST));
    let script =
        Script { name: name.to_owned(), seed: 5, plans: vec![plan], environment, rate: 300.0, tamper, verbose: false };
    let outcome = episode::play(lane, &script).await.unwrap();
    if let Some(kept) = &outcome.kept {
        std::fs::remove_dir_all(kept).unwrap();
    }
    assert!(outcome.totals.accepted > 0 && outcome.totals.stored > 0, "{}", outcome.totals);
    outcome
}

/// What is done to the database, and the promises that are broken by it.
const TAMPERED: [(&str, &str, &[&str]); 8] = [
    ("deleted", "DELETE FROM greek_ticks WHERE LAST", &["lost"]),
    ("flipped", "UPDATE greek_ticks SET delta = -delta WHERE LAST", &["changed", "invented"]),
    (
        "doubled",
        "INSERT INTO greek_ticks (event_time, seq, received_at, series_id, flags, quantity, delta, gamma, theta,
             vega, rho, implied_volatility, option_price, underlying_price)
         SELECT event_time, seq + 1, received_at, series_id, flags, quantity, delta, gamma, theta,
             vega, rho, implied_volatility, option_price, underlying_price FROM greek_ticks WHERE LAST",
        &["duplicated", "numbered"],
    ),
    ("renumbered", "UPDATE greek_ticks SET seq = seq + 1 WHERE LAST", &["numbered"]),
    ("ungapped", "DELETE FROM ingest_gaps", &["unstated"]),
    (
        "refused",
        "INSERT INTO ingest_quarantine SELECT incarnation, 1, NULL, '22003', 'no', '' FROM ingest_progress LIMIT 1",
        &["quarantined"],
    ),
    (
        "outdated",
        "INSERT INTO portfolio_minutes
         SELECT minute, coalesce(broker, ''), coalesce(account_id, ''), coalesce(underlying, ''), sum(delta), NULL, NULL,
             NULL, NULL, sum(lines) + 1, 0, 0, 0, 0, 0, 0
           FROM v_portfolio_1m WHERE minute = (SELECT max(minute) FROM v_portfolio_1m)
          GROUP BY GROUPING SETS ((minute, broker, account_id, underlying), (minute))",
        &["outdated"],
    ),
    (
        "missummed",
        "INSERT INTO portfolio_minutes
         SELECT minute, coalesce(broker, ''), coalesce(account_id, ''), coalesce(underlying, ''), sum(delta),
             sum(delta_dollars), sum(gamma_1pct), sum(theta), sum(vega), sum(lines) + grouping(broker),
             sum(lines_covered), 0, 0, 0, 0, 0
           FROM v_portfolio_1m WHERE minute = (SELECT max(minute) FROM v_portfolio_1m)
          GROUP BY GROUPING SETS ((minute, broker, account_id, underlying), (minute, broker, account_id), (minute))",
        &["outdated"],
    ),
];

async fn tampered(share: &[(&str, &str, &[&str])]) {
    let mut lane = Lane::start().await.unwrap();
    for (name, sql, breaches) in share {
        let outcome = play(&mut lane, name, Some(sql), &[]).await;
        let found: Vec<&str> = outcome.totals.breaches.keys().map(String::as_str).collect();
        println!("{name}: {:?}", outcome.violations);
        assert_eq!(found, *breaches, "{name}: {:?}", outcome.violations);
    }
}

async fn untouched() {
    let mut lane = Lane::start().await.unwrap();
    let clean = play(&mut lane, "clean", None, &[]).await;
    assert_eq!(clean.violations, Vec::<String>::new());

    let forgetful = play(&mut lane, "forgetful", None, &[("GREEKD_FORGETFUL", "1")]).await;
    assert!(forgetful.totals.breaches["lost"] >= 1, "{:?}", forgetful.violations);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_judge_names_each_broken_promise_and_no_other() {
    judging::use_program(Path::new(env!("CARGO_BIN_EXE_torture")));
    // Most of a run is waiting, so some go on at a time.
    tokio::join!(untouched(), join_all(TAMPERED.chunks(2).map(tampered)));
}
