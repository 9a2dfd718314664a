//! Each query of `migrations/README.md` runs, as a member of the read role, and finds something.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::support::Database;
use greeks_store::{READ_ROLE, make_roles};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

const DOCUMENT: &str = include_str!("../../../../migrations/README.md");

/// A book of today: one contract at two brokers, one closed, gaps, trades.
const FILL: &str = "
    SELECT greekd_make_partition((date_trunc('month', now() AT TIME ZONE 'UTC') + by * interval '1 month')::date)
      FROM generate_series(-1, 1) by;
    INSERT INTO series (broker, account_id, contract_key, multiplier, underlying, expiration, strike, option_type)
    SELECT broker, broker || '1', contract, 100, 'AAPL', current_date + days, 232.5, 'C'
      FROM unnest(ARRAY['ibkr', 'tastytrade']) broker,
           unnest(ARRAY['AAPL  261218C00232500', 'AAPL  270115C00232500'], ARRAY[20, 50]) c (contract, days);
    INSERT INTO positions_history
           (observed_at, broker, account_id, contract_key, multiplier, underlying, quantity, previous_quantity, seq)
    SELECT now() - interval '2 hours', broker, account_id, contract_key, multiplier, underlying, 2, 0, 1 FROM series;
    INSERT INTO positions_history
           (observed_at, broker, account_id, contract_key, multiplier, underlying, quantity, previous_quantity, seq)
    SELECT now() - interval '10 minutes', broker, account_id, contract_key, multiplier, underlying, 0, 2, 2
      FROM series WHERE contract_key LIKE 'AAPL  27%';
    INSERT INTO greek_ticks (event_time, seq, received_at, persisted_at, series_id, quantity, delta, gamma, theta, vega,
                             implied_volatility, option_price, underlying_price)
    SELECT now() - n * interval '1 minute', series_id * 1000 - n, now() - n * interval '1 minute',
           now() - n * interval '1 minute' + interval '2 milliseconds', series_id, 2,
           CASE broker WHEN 'ibkr' THEN 0.5 ELSE 0.625 END, 0.25, -1, 4, 0.25 + n * 0.001, 7, 200
      FROM series, generate_series(0, 90) n;
    INSERT INTO ingest_gaps (source, kind, gap_from, gap_to, reason, seq)
    VALUES ('ibkr', 'gap', now() - interval '3 hours', now() - interval '170 minutes', 'silence', 1),
           ('tastytrade', 'gap', now() - interval '3 days', now() - interval '2 days', 'silence', 2);
    INSERT INTO trades (broker, account_id, symbol, action, quantity, price, strategy_tag)
    VALUES ('ibkr', 'ibkr1', 'AAPL', 'sell', -2, 7, 'wheel'), ('ibkr', 'ibkr1', 'AAPL', 'buy', 1, 6, 'wheel')";

/// The fenced blocks of SQL, each after the heading it stands under.
fn queries(document: &str) -> Vec<(&str, &str)> {
    let mut heading = "";
    let mut found = Vec::new();
    for (number, part) in document.split("```").enumerate() {
        match part.strip_prefix("sql\n") {
            Some(sql) if number % 2 == 1 => found.push((heading, sql.trim())),
            _ => heading = part.lines().filter_map(|line| line.strip_prefix("## ")).next_back().unwrap_or(heading),
        }
    }
    found
}

async fn filled() -> (Database, Client) {
    let database = Database::migrated().await;
    database.client().await.batch_execute(FILL).await.unwrap();
    make_roles(&database.config).await.unwrap();
    let name = format!("{}_analyst", database.config.database());
    let sql = format!("CREATE ROLE {name} LOGIN; GRANT {READ_ROLE} TO {name}");
    database.client().await.batch_execute(&sql).await.unwrap();
    let mut config = database.driver.clone();
    config.user(&name);
    let client = crate::support::client(&config).await;
    (database, client)
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<SimpleQueryRow>, tokio_postgres::Error> {
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    };
    Ok(client.simple_query(sql).await?.into_iter().filter_map(row).collect())
}

fn number(row: &SimpleQueryRow, column: &str) -> f64 {
    row.get(column).unwrap_or_else(|| panic!("{column}")).parse().unwrap()
}

#[tokio::test]
async fn every_query_finds_something() {
    let (_database, client) = filled().await;
    let queries = queries(DOCUMENT);
    assert_eq!(queries.len(), DOCUMENT.matches("```sql").count());
    assert!(queries.len() >= 10, "{queries:?}");
    for (heading, sql) in &queries {
        match rows(&client, sql).await {
            Ok(rows) => assert!(!rows.is_empty(), "{heading}: nothing found by {sql}"),
            Err(error) => panic!("{heading}: {error:?}\n{sql}"),
        }
    }
    for relation in ["v_latest_greeks", "v_positions", "v_portfolio_1m", "v_cross_broker", "greek_snapshots"] {
        assert!(queries.iter().any(|(_, sql)| sql.contains(relation)), "{relation} has its example");
    }
    // The control: a name that is not there is noticed.
    let wrong = queries[0].1.replace("delta", "delte");
    assert!(rows(&client, &wrong).await.is_err());
}

#[tokio::test]
async fn what_they_find_is_right() {
    let (_database, client) = filled().await;
    let queries = queries(DOCUMENT);
    let find = |text: &str| queries.iter().find(|(_, sql)| sql.contains(text)).unwrap_or_else(|| panic!("{text}")).1;

    let latest = rows(&client, find("FROM v_latest_greeks")).await.unwrap();
    assert_eq!(latest.len(), 4, "what is closed has a last row too");
    let buckets = rows(&client, find("width_bucket")).await.unwrap();
    assert_eq!(buckets.len(), 1, "what is closed is not held");
    let figures = ["bucket", "theta", "vega", "positions", "with_theta"].map(|column| number(&buckets[0], column));
    assert_eq!(figures, [2.0, -400.0, 1600.0, 2.0, 2.0]);

    let minutes = rows(&client, find("AND broker = 'ibkr'\n ORDER BY minute")).await.unwrap();
    assert!((60..=61).contains(&minutes.len()), "{}", minutes.len());
    let [first, last] = [&minutes[0], &minutes[minutes.len() - 1]];
    let columns = ["delta", "delta_dollars", "gamma_1pct", "theta", "vega", "lines", "lines_covered"];
    assert_eq!(columns.map(|column| number(first, column)), [200.0, 40_000.0, 40_000.0, -400.0, 1600.0, 2.0, 2.0]);
    assert_eq!(columns.map(|column| number(last, column)), [100.0, 20_000.0, 20_000.0, -200.0, 800.0, 1.0, 1.0]);

    let book = rows(&client, find("AS whole")).await.unwrap();
    assert_eq!((number(&book[0], "theta"), number(&book[0], "theta_per_vega")), (-800.0, -0.25));
    assert_eq!(number(&book[0], "delta_dollars"), 90_000.0);
    assert!(book.iter().all(|row| row.get("whole") == Some("t")));

    let differences = rows(&client, find("FROM v_cross_broker")).await.unwrap();
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].get("broker_a"), Some("ibkr"));
    assert_eq!(number(&differences[0], "delta_difference"), -0.125);

    let gaps = rows(&client, find("FROM ingest_gaps")).await.unwrap();
    assert_eq!((gaps.len(), gaps[0].get("lasted"), gaps[0].get("goes_on")), (1, Some("00:10:00"), Some("f")));
    let cash = rows(&client, find("cash_per_unit")).await.unwrap();
    assert_eq!((number(&cash[0], "trades"), number(&cash[0], "cash_per_unit")), (2.0, 8.0));
    let latency = rows(&client, find("percentile_cont")).await.unwrap();
    let figures = latency.iter().map(|row| (number(row, "p50"), number(row, "p95"), number(row, "late")));
    assert!(figures.clone().all(|found| found == (2.0, 2.0, 0.0)), "{:?}", figures.collect::<Vec<_>>());
}
