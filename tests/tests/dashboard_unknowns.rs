//! What the portfolio dashboard shows of what is not known: nothing, and never 0.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use greekd_tests::cluster::{Cluster, Database};
use greekd_tests::dashboard::{as_grafana_asks, asked_of_postgres, dashboard, text};
use greeks_store::tokio_postgres::Row;
use greeks_store::{DatabaseConfig, migrate};
use jiff::Timestamp;
use serde_json::Value;

/// Two contracts of the same underlying, one at each broker, held since yesterday.
const HELD: &str = "INSERT INTO series (broker, account_id, contract_key, multiplier, underlying, expiration, strike, option_type) \
    SELECT b, 'A', 'C', 100, 'U', current_date + 30, 100, 'C' FROM unnest(ARRAY['ibkr', 'tastytrade']) b; \
    INSERT INTO positions_history (observed_at, broker, account_id, contract_key, multiplier, underlying, quantity, \
    previous_quantity, seq) SELECT now() - interval '1 day', broker, account_id, contract_key, multiplier, underlying, 2, 0, 1 \
    FROM series";

/// A row a minute of each for 50 minutes, but of one of them nothing from 40 to 20 minutes ago.
const TICKS: &str = "INSERT INTO ingest_gaps (source, kind, gap_from, gap_to, reason, seq) \
    VALUES ('ibkr', 'gap', now() - interval '40 min', now() - interval '20 min', 'disconnected', 1); \
    INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity, delta, gamma, theta, vega, underlying_price) \
    SELECT now() - n * interval '1 min', series_id * 1000 - n, now() - n * interval '1 min', series_id, 2, 0.5, 0.01, -1, 2, 100 \
    FROM series, generate_series(0, 50) n WHERE broker = 'tastytrade' OR n NOT BETWEEN 20 AND 40";

/// Asks what the panel of this title and form asks, of every broker and account.
async fn ask(database: &Database, dashboard: &Value, title: &str, form: &str) -> Vec<Row> {
    let asked = asked_of_postgres(dashboard).into_iter().find(|(who, of, _)| who == title && of == form).unwrap();
    let sql = everything(dashboard, &asked.2);
    database.client.query(&sql, &[]).await.unwrap_or_else(|error| panic!("{title}: {error:?}\n{sql}"))
}

fn everything(dashboard: &Value, query: &str) -> String {
    let all = |variable: usize| text(dashboard, &format!("/templating/list/{variable}/allValue")).to_owned();
    as_grafana_asks(query, &all(0), &all(1))
}

fn delta_dollars(row: &Row) -> Option<f64> {
    row.get("delta_dollars")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unknown_is_no_number_and_what_was_not_heard_is_a_hole() {
    let cluster = Cluster::start().await;
    let database = cluster.database("unknown").await;
    migrate(&DatabaseConfig::parse(&database.url).unwrap()).await.unwrap();
    let dashboard = dashboard("portfolio");

    // Before anything is held every query has an answer.
    for (who, _, query) in asked_of_postgres(&dashboard) {
        let sql = everything(&dashboard, &query);
        database.client.query(&sql, &[]).await.unwrap_or_else(|error| panic!("{who}: {error:?}\n{sql}"));
    }

    // Held, and nothing is known of it.
    database.client.batch_execute(HELD).await.unwrap();
    let now = ask(&database, &dashboard, "Delta dollars", "table").await;
    let figures = ["delta", "delta_dollars", "gamma_1pct", "theta", "vega", "theta_per_vega", "oldest"];
    assert_eq!(figures.map(|name| now[0].get::<_, Option<f64>>(name)), [None; 7]);
    assert_eq!((now[0].get("positions"), now[0].get("covered"), now[0].get("share")), (2_i64, 0_i64, 0.0_f64));

    // Known but for a while: 2 * 100 * 0.5 * 100 at each broker, and no total while one of them is unknown.
    database.client.batch_execute(TICKS).await.unwrap();
    let now = ask(&database, &dashboard, "Delta dollars", "table").await;
    assert_eq!(delta_dollars(&now[0]), Some(20_000.0));
    let history = ask(&database, &dashboard, "Delta dollars", "time_series").await;
    let at = |minutes: u64| {
        let then = Timestamp::now() - Duration::from_secs(minutes * 60);
        let point = history.iter().rfind(|row| row.get::<_, Timestamp>("time") <= then).expect("a point");
        assert!(then.duration_since(point.get("time")).as_secs() < 60, "no point {minutes} minutes ago");
        delta_dollars(point)
    };
    assert_eq!([46, 30, 10].map(at), [Some(20_000.0), None, Some(20_000.0)]);
    assert_eq!(ask(&database, &dashboard, "Gaps", "table").await.len(), 1);
}
