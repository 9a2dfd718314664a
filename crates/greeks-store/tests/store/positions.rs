//! What is held now, and the same contract at two brokers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Database, WallClock, at};
use greeks_model::{
    AccountId, Decimal, Flags, GreekSnapshot, PositionsRecord, Record, Series, SourceId, UnixNanos, testkit,
};
use greeks_store::{Committer, CommitterConfig, PositionRow, Queries};
use tokio_postgres::Client;

const CALL: &str = "AAPL  261218C00232500";
const PUT: &str = "SPXW  261127P05000000";
const FUTURE: &str = "/ESZ26 261127P5000";

fn series(broker: &str, account: &str, contract: &str) -> Arc<Series> {
    Arc::new(Series {
        broker: SourceId::new(broker).unwrap(),
        account_id: AccountId::new(account).unwrap(),
        underlying: contract.split(' ').next().unwrap().into(),
        contract: contract.parse().unwrap(),
        multiplier: Decimal::from(100),
    })
}

/// All that an account holds.
fn held(broker: &str, account: &str, second: u64, positions: &[(&str, f64)]) -> Record {
    Record::Positions(PositionsRecord {
        source: SourceId::new(broker).unwrap(),
        account_id: AccountId::new(account).unwrap(),
        observed_at: second_of(second),
        positions: positions.iter().map(|(contract, n)| (series(broker, account, contract), *n)).collect(),
    })
}

fn tick(series: &Arc<Series>, second: u64, delta: Option<f64>, volatility: Option<f64>) -> GreekSnapshot {
    let time = second_of(second);
    let mut tick = GreekSnapshot::new(Arc::clone(series), time, time.saturating_add(Duration::from_millis(7)), 1.0);
    (tick.delta, tick.implied_volatility) = (delta, volatility);
    tick
}

fn second_of(second: u64) -> UnixNanos {
    at("2026-11-20T15:00:00Z").saturating_add(Duration::from_secs(second))
}

async fn store(database: &Database, records: Vec<Record>) -> Queries {
    let log = Box::new(testkit::MemoryLog::new(records));
    let config = CommitterConfig::new(database.config.clone(), "test");
    Committer::new(config, log, Box::new(()), Arc::new(WallClock)).0.run().await.unwrap();
    Queries::new(&database.config, 2).unwrap()
}

fn lines(rows: &[PositionRow]) -> Vec<(&str, &str, &str, f64)> {
    rows.iter()
        .map(|row| (row.contract_key.as_str(), row.broker.as_str(), row.account_id.as_str(), row.quantity))
        .collect()
}

#[tokio::test]
async fn positions_are_those_of_the_last_answers_with_the_newest_values() {
    let database = Database::migrated().await;
    let queries = Queries::new(&database.config, 1).unwrap();
    assert_eq!(queries.positions().await.unwrap(), []);

    let line = series("ibkr", "U1", CALL);
    let mut newest = tick(&line, 9, Some(0.25), Some(0.5));
    (newest.gamma, newest.theta, newest.vega, newest.rho) = (Some(-0.0), Some(-1.5), Some(2.5), Some(5e-324));
    (newest.option_price, newest.underlying_price) = (Some(7.25), Some(232.5));
    newest.flags = Flags::COMPUTED | Flags::DELAYED;
    let late = tick(&line, 3, Some(0.75), None);
    let records = vec![
        held("ibkr", "U1", 1, &[(CALL, 2.0), (FUTURE, 3.0)]),
        held("tastytrade", "5WT1", 2, &[(PUT, -1.0)]),
        Record::Snapshot(tick(&line, 5, Some(0.1), None)),
        Record::Snapshot(newest.clone()),
        Record::Snapshot(late),
        held("ibkr", "U2", 3, &[(CALL, 4.0)]),
        // Another answer of U1: less of the one, nothing of the other. U2 keeps what it holds.
        held("ibkr", "U1", 4, &[(CALL, -1.0)]),
    ];
    let queries = store(&database, records).await;
    let rows = queries.positions().await.unwrap();
    let expected = [(CALL, "ibkr", "U1", -1.0), (CALL, "ibkr", "U2", 4.0), (PUT, "tastytrade", "5WT1", -1.0)];
    assert_eq!(lines(&rows), expected);

    let first = &rows[0];
    assert_eq!((first.underlying.as_str(), first.option_type.as_str()), ("AAPL", "C"));
    assert_eq!((first.strike.to_string(), first.expiration.to_string()), ("232.5".into(), "2026-12-18".into()));
    assert_eq!((first.multiplier, first.quantity_since), (Decimal::from(100), second_of(4)));
    let values = first.latest.unwrap();
    assert_eq!((values.event_time, values.received_at), (newest.event_time, newest.received_at));
    let found = [values.delta, values.gamma, values.theta, values.vega, values.rho, values.implied_volatility];
    let bits = |values: [Option<f64>; 6]| values.map(|value| value.map(f64::to_bits));
    assert_eq!(bits(found), bits([Some(0.25), Some(-0.0), Some(-1.5), Some(2.5), Some(5e-324), Some(0.5)]));
    assert_eq!((values.option_price, values.underlying_price), (Some(7.25), Some(232.5)));
    assert_eq!(values.flags, Flags::COMPUTED | Flags::DELAYED);
    let now = WallClock;
    let age = greeks_model::Clock::now(&now).saturating_since(newest.event_time);
    assert!(values.age <= age && age - values.age < Duration::from_secs(60), "{:?} against {age:?}", values.age);

    // Held, and nothing known of it yet; U1's values are not U2's.
    assert!(rows[1].latest.is_none() && rows[2].latest.is_none());
}

#[tokio::test]
async fn a_value_ahead_of_the_databases_clock_has_no_age() {
    let database = Database::migrated().await;
    let line = series("ibkr", "U1", CALL);
    let mut ahead = tick(&line, 0, Some(0.5), None);
    ahead.event_time = at("2099-01-01T00:00:00Z");
    let queries = store(&database, vec![held("ibkr", "U1", 1, &[(CALL, 2.0)]), Record::Snapshot(ahead)]).await;
    assert_eq!(queries.positions().await.unwrap()[0].latest.unwrap().age, Duration::ZERO);
}

/// What another run has seen later counts, unless its clock was so far ahead that nothing tells what is later.
#[tokio::test]
async fn a_run_whose_clock_was_ahead_hides_no_change() {
    for (ahead, expected) in [("-1 minute", 7.0), ("1 hour", 3.0), ("10 years", 3.0)] {
        let database = Database::migrated().await;
        let earlier = format!(
            "INSERT INTO positions_history \
             (observed_at, broker, account_id, contract_key, multiplier, underlying, quantity, previous_quantity, seq) \
             VALUES (now() + interval '{ahead}', 'one', 'A', '{CALL}', 100, 'AAPL', 7, 0, 99::bigint << 40)"
        );
        database.client().await.batch_execute(&earlier).await.unwrap();
        let queries = store(&database, vec![held("one", "A", 1, &[(CALL, 3.0)])]).await;
        let rows = "SELECT quantity FROM positions_history ORDER BY positions_history_id DESC LIMIT 1";
        let last: f64 = database.client().await.query_one(rows, &[]).await.unwrap().get(0);
        assert_eq!(last, expected, "{ahead}");
        drop(queries);
    }
}

#[tokio::test]
async fn a_contract_at_two_brokers_is_compared() {
    let database = Database::migrated().await;
    let [ours, other_account, theirs] =
        [("ibkr", "U1"), ("ibkr", "U2"), ("tastytrade", "5WT1")].map(|(broker, account)| series(broker, account, CALL));
    let mut computed = tick(&other_account, 9, Some(0.5), Some(0.25));
    computed.flags = Flags::COMPUTED;
    let queries = store(
        &database,
        vec![
            held("tastytrade", "5WT1", 1, &[(CALL, 5.0), (PUT, 1.0), (FUTURE, 1.0)]),
            held("ibkr", "U1", 1, &[(CALL, -2.0), (FUTURE, 1.0)]),
            held("ibkr", "U2", 1, &[(CALL, 1.0)]),
            Record::Snapshot(tick(&theirs, 8, Some(0.375), Some(0.5))),
            Record::Snapshot(tick(&theirs, 2, Some(0.9), Some(0.9))),
            Record::Snapshot(tick(&ours, 4, Some(0.1), Some(0.1))),
            Record::Snapshot(computed),
            Record::Snapshot(tick(&series("tastytrade", "5WT1", FUTURE), 6, Some(-0.5), None)),
        ],
    )
    .await;
    let rows = queries.cross_broker().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.contract_key.as_str()).collect::<Vec<_>>(), [FUTURE, CALL]);

    // The newest of a broker's accounts speaks for it, its quantities are added up.
    let call = &rows[1];
    assert_eq!((call.a.broker.as_str(), call.b.broker.as_str()), ("ibkr", "tastytrade"));
    assert_eq!((call.a.quantity, call.b.quantity), (-1.0, 5.0));
    assert_eq!((call.a.event_time, call.b.event_time), (Some(second_of(9)), Some(second_of(8))));
    assert_eq!((call.a.delta, call.b.delta, call.delta_difference), (Some(0.5), Some(0.375), Some(0.125)));
    assert_eq!((call.a.implied_volatility, call.b.implied_volatility), (Some(0.25), Some(0.5)));
    assert_eq!(call.implied_volatility_difference, Some(-0.25));
    assert_eq!((call.a.flags, call.b.flags), (Some(Flags::COMPUTED), Some(Flags::NONE)));

    // What is unknown on either side leaves no difference: NULL, not zero.
    let future = &rows[0];
    assert_eq!((future.a.event_time, future.a.delta, future.a.flags), (None, None, None));
    assert_eq!((future.b.delta, future.b.implied_volatility), (Some(-0.5), None));
    assert_eq!((future.delta_difference, future.implied_volatility_difference), (None, None));

    // Closed at one broker: no longer held at two.
    let queries = store(&database, vec![held("tastytrade", "5WT1", 20, &[(PUT, 1.0), (FUTURE, 1.0)])]).await;
    let keys: Vec<_> = queries.cross_broker().await.unwrap().into_iter().map(|row| row.contract_key).collect();
    assert_eq!(keys, [FUTURE]);
}

#[tokio::test]
async fn three_brokers_are_three_pairs() {
    let database = Database::migrated().await;
    let brokers = ["tastytrade", "ibkr", "other"];
    let records = brokers.map(|broker| held(broker, "A1", 1, &[(CALL, 1.0)]));
    let rows = store(&database, records.to_vec()).await.cross_broker().await.unwrap();
    let pairs: Vec<_> = rows.iter().map(|row| (row.a.broker.as_str(), row.b.broker.as_str())).collect();
    assert_eq!(pairs, [("ibkr", "other"), ("ibkr", "tastytrade"), ("other", "tastytrade")]);
}

async fn plan(client: &Client, sql: &str) -> String {
    let lines = client.query(&format!("EXPLAIN (ANALYZE, COSTS off) {sql}"), &[]).await.unwrap();
    lines.iter().map(|line| line.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
}

fn scans(plan: &str) -> bool {
    ["greek_ticks", "positions_history"].iter().any(|table| plan.contains(&format!("Seq Scan on {table}")))
}

/// Two brokers with 250 contracts each and 200,000 rows: what is read must not grow with the rows.
#[tokio::test]
async fn the_views_walk_indexes_and_never_the_rows() {
    let database = Database::migrated().await;
    let first = ["ibkr", "tastytrade"].map(|broker| held(broker, "A1", 1, &[(CALL, 1.0)]));
    store(&database, first.to_vec()).await;
    let client = database.client().await;
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS greek_ticks_2026_11 PARTITION OF greek_ticks FOR VALUES FROM ('2026-11-01') TO ('2026-12-01');
             INSERT INTO series (broker, account_id, contract_key, multiplier, underlying, expiration, strike, option_type)
             SELECT broker, 'A1', 'X' || n, 100, 'X', '2026-12-18', n, 'C'
               FROM unnest(ARRAY['ibkr', 'tastytrade']) AS broker, generate_series(1, 249) AS n;
             INSERT INTO positions_history
                    (observed_at, broker, account_id, contract_key, multiplier, underlying, quantity, previous_quantity, seq)
             SELECT '2026-11-20', broker, account_id, contract_key, multiplier, underlying, change, 0, 1
               FROM series, generate_series(1, 20) AS change;
             INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity, delta, implied_volatility)
             SELECT '2026-11-20'::timestamptz + n * interval '1 second', series_id * 1000 + n, '2026-11-20', series_id, 20, series_id, n
               FROM generate_series(1, 400) AS n, series;
             ANALYZE",
        )
        .await
        .unwrap();
    for (view, expected) in [("v_positions", 500), ("v_cross_broker", 250)] {
        assert_eq!(database.count(&format!("SELECT count(*) FROM {view}")).await, expected);
        let plan = plan(&client, &format!("SELECT * FROM {view}")).await;
        assert!(!scans(&plan), "{plan}");
        println!("{view}: {}", plan.lines().last().unwrap());
    }
    // The control: asked plainly, every row is read.
    let plainly = "SELECT DISTINCT ON (series_id) * FROM greek_ticks ORDER BY series_id, event_time DESC, seq DESC";
    assert!(scans(&plan(&client, plainly).await));
    let differ =
        "SELECT count(*) FROM v_cross_broker WHERE implied_volatility_difference = 0 AND implied_volatility_a = 400";
    assert_eq!(database.count(differ).await, 250, "the last of 400 rows of each side");
    let queries = Queries::new(&database.config, 1).unwrap();
    assert_eq!(queries.positions().await.unwrap().iter().filter(|row| row.latest.is_some()).count(), 500);
}
