//! Counts for alerts, and questions that take too long.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use crate::support::{Database, WallClock, at, eventually};
use greeks_model::{Clock, UnixNanos};
use greeks_store::{
    DatabaseConfig, HistoryFilter, INGEST_ROLE, Metric, Queries, QueryError, READ_ROLE, SnapshotFilter, make_roles,
};

#[tokio::test]
async fn counts_are_what_is_there_for_everybody_who_may_ask() {
    let database = Database::migrated().await;
    let queries = Queries::new(&database.config, 1).unwrap();
    let long_ago = at("2000-01-01T00:00:00Z");
    let counts = async |queries: &Queries| {
        let (strays, months) = (queries.default_rows().await.unwrap(), queries.months_ready().await.unwrap());
        (queries.quarantined(long_ago).await.unwrap(), strays, months)
    };
    assert_eq!(counts(&queries).await, (0, 0, 0));
    let client = database.client().await;
    client
        .batch_execute(
            "INSERT INTO ingest_quarantine (incarnation, seq, sqlstate, message, record, quarantined_at)
             SELECT gen_random_uuid(), n, '22P05', 'x', '', '2018-01-01 00:00:00+00'::timestamptz + n * interval '1 s'
               FROM generate_series(0, 9) n;
             INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity)
             SELECT '2018-02-28 23:59:58+00'::timestamptz + n * interval '1 s', n, now(), 1, 1 FROM generate_series(0, 4) n;
             SELECT greekd_make_partition((date_trunc('month', now() AT TIME ZONE 'UTC') + by * interval '1 month')::date)
               FROM unnest(ARRAY[-1, 0, 1, 3]) by",
        )
        .await
        .unwrap();
    // The month after next is missing, so the one behind it does not count.
    assert_eq!(counts(&queries).await, (10, 5, 2));
    assert_eq!(queries.quarantined(at("2018-01-01T00:00:04Z")).await.unwrap(), 6);
    assert_eq!(queries.quarantined(at("2018-01-01T00:00:09.000001Z")).await.unwrap(), 0);

    make_roles(&database.config).await.unwrap();
    for (group, sees_quarantine) in [(READ_ROLE, true), (INGEST_ROLE, false)] {
        let name = format!("{}_{group}", database.config.database());
        client.batch_execute(&format!("CREATE ROLE {name} LOGIN; GRANT {group} TO {name}")).await.unwrap();
        let mut config = database.driver.clone();
        config.user(&name);
        let theirs = Queries::new(&DatabaseConfig::new(config), 1).unwrap();
        assert_eq!((theirs.default_rows().await.unwrap(), theirs.months_ready().await.unwrap()), (5, 2), "{group}");
        assert_eq!(theirs.quarantined(long_ago).await.is_ok(), sees_quarantine, "{group}");
    }
}

const WORKING: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'greekd' \
                       AND datname = current_database() AND state = 'active'";

/// Until it is dropped, whoever reads rows waits.
async fn locked(database: &Database) -> tokio_postgres::Client {
    let client = database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE greek_ticks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    client
}

#[tokio::test]
async fn a_question_that_takes_too_long_ends_at_the_server_too() {
    let database = Database::migrated().await;
    let patient = Queries::with_deadline(&database.config, 1, Duration::MAX).unwrap();
    assert!(patient.check().await.unwrap().writable, "no deadline is one too");
    let queries = Queries::with_deadline(&database.config, 1, Duration::from_secs(1)).unwrap();
    let lock = locked(&database).await;
    let asked = Instant::now();
    match queries.snapshots(&SnapshotFilter::default()).await {
        Err(QueryError::Deadline(deadline)) => assert_eq!(deadline, Duration::from_secs(1)),
        other => panic!("{other:?}"),
    }
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    eventually("the server works on nothing", || async { database.count(WORKING).await == 0 }).await;
    drop(lock);
    // The one connection there is answers again.
    assert_eq!(queries.snapshots(&SnapshotFilter::default()).await.unwrap().rows, []);
}

#[tokio::test]
async fn a_question_nobody_waits_for_ends_and_holds_nobody_up() {
    let database = Database::migrated().await;
    let queries = Queries::new(&database.config, 1).unwrap();
    let lock = locked(&database).await;
    let now = WallClock.now();
    let hour_ago = UnixNanos::from_nanos(now.as_nanos() - 3_600_000_000_000);
    let filter = HistoryFilter::new(Metric::Delta, hour_ago, now, Duration::from_secs(60));
    {
        let mut asked = Box::pin(queries.history(&filter));
        let waits = async { eventually("it is asked", || async { database.count(WORKING).await == 1 }).await };
        tokio::select! {
            answer = &mut asked => panic!("{answer:?}"),
            () = waits => {}
        }
    }
    // Other questions do not wait behind it, though there is but one connection at a time.
    let others = tokio::time::timeout(Duration::from_secs(30), queries.months_ready());
    assert_eq!(others.await.unwrap().unwrap(), 0);
    eventually("the server has noticed", || async { database.count(WORKING).await == 0 }).await;
    drop(lock);
}
