//! The schema: from nothing, again, at once from several sides, and newer than the program.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::support::Database;
use greeks_store::{MigrateError, known_version, migrate};

#[tokio::test]
async fn an_empty_database_is_enough_and_a_second_run_changes_nothing() {
    let database = Database::empty().await;
    let first = migrate(&database.config).await.unwrap();
    assert_eq!(first.applied, (1..=known_version()).collect::<Vec<_>>());
    let second = migrate(&database.config).await.unwrap();
    assert_eq!((second.applied, second.version), (vec![], known_version()));
}

#[tokio::test]
async fn several_programs_at_once_apply_each_migration_once() {
    let database = Database::empty().await;
    let runs = futures_util::future::join_all((0..4).map(|_| migrate(&database.config))).await;
    let applied: usize = runs.into_iter().map(|run| run.unwrap().applied.len()).sum();
    assert_eq!(applied, known_version().unsigned_abs() as usize);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = Database::migrated().await;
    let client = database.client().await;
    let sql = "INSERT INTO refinery_schema_history SELECT version + 1, 'later', applied_on, checksum \
               FROM refinery_schema_history ORDER BY version DESC LIMIT 1";
    client.execute(sql, &[]).await.unwrap();
    match migrate(&database.config).await {
        Err(MigrateError::Newer { found, known }) => assert_eq!((found, known), (known_version() + 1, known_version())),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_view_has_the_published_columns_in_their_order() {
    const PUBLISHED: &str = "event_time, received_at, persisted_at, broker, account_id, underlying, contract_key, \
        expiration, strike, option_type, quantity, multiplier, delta, gamma, theta, vega, rho, implied_volatility, \
        option_price, underlying_price, flags, source_payload";
    let database = Database::migrated().await;
    for view in ["greek_snapshots", "v_latest_greeks"] {
        let sql = "SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns \
                   WHERE table_name = $1";
        let columns: String = database.client().await.query_one(sql, &[&view]).await.unwrap().get(0);
        assert_eq!(columns, PUBLISHED, "{view}");
    }
    let undocumented = database
        .count(
            "SELECT count(*) FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') \
             AND NOT relispartition AND relname <> 'refinery_schema_history' AND obj_description(c.oid) IS NULL",
        )
        .await;
    assert_eq!(undocumented, 0, "every table has its comment");
}

/// As migrations/README.md promises: `\d+` shows what each column means.
#[tokio::test]
async fn every_column_of_every_relation_has_its_comment() {
    let database = Database::migrated().await;
    let sql = "SELECT c.relname || '.' || a.attname, col_description(c.oid, a.attnum) FROM pg_class c \
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') \
               AND NOT c.relispartition AND c.relname <> 'refinery_schema_history' ORDER BY c.relname, a.attnum";
    let columns = database.client().await.query(sql, &[]).await.unwrap();
    let columns: Vec<(String, Option<String>)> = columns.iter().map(|row| (row.get(0), row.get(1))).collect();
    let without: Vec<&str> =
        columns.iter().filter(|(_, comment)| comment.is_none()).map(|(name, _)| name.as_str()).collect();
    assert!(without.is_empty(), "{} of {} without a comment: {without:?}", without.len(), columns.len());
    assert!(columns.len() > 150, "{}", columns.len());
}
