//! `bench reads`: how soon the questions of the API are answered over a large table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use greekd_tests::cluster::{Cluster, Database};
use greeks_model::UnixNanos;
use greeks_processor::SystemClock;
use greeks_store::{
    Committer, CommitterConfig, DatabaseConfig, HistoryFilter, Metric, Month, Queries, SnapshotFilter, memory_log,
    migrate,
};
use jiff::Timestamp;

use crate::options::ReadsOptions;
use crate::stats::{percentile, short};
use crate::{Result, machine};

/// Over so many days up to now the rows are spread.
const DAYS: u32 = 20;
/// So many series share an underlying.
const OF_ONE_UNDERLYING: u32 = 25;
/// Answers that come first warm the caches and are not counted.
const WARM_UP: u32 = 6;
/// What is promised of the newest rows and of a contract's day.
const TARGET_MS: f64 = 20.0;
/// Rows stored by one statement.
const AT_A_TIME: u32 = 500_000;

/// Fills a database and asks.
pub(crate) async fn run(options: &ReadsOptions) -> Result<()> {
    let cluster = Cluster::start().await;
    let database = cluster.database("reads").await;
    let config = DatabaseConfig::parse(&database.url)?;
    migrate(&config).await?;
    let load_before = machine::load();
    let now = Timestamp::now();
    fill(&database, options.rows, options.series, now).await?;
    let queries = Queries::new(&config, 1)?;

    println!("\n| question | rows | p50 ms | p95 ms | most ms | target |");
    println!("|---|---:|---:|---:|---:|---:|");
    let all = SnapshotFilter::default();
    ask(options, "newest 100 of all", Some(TARGET_MS), async || rows(&queries, &all).await).await?;
    let of_broker = snapshots(|filter| filter.broker = Some("ibkr".into()));
    ask(options, "newest 100 of a broker", Some(TARGET_MS), async || rows(&queries, &of_broker).await).await?;
    let of_underlying = snapshots(|filter| filter.underlying = Some("U1".into()));
    ask(options, "newest 100 of an underlying", Some(TARGET_MS), async || rows(&queries, &of_underlying).await).await?;
    let day = snapshots(|filter| {
        filter.contract_key = Some("U0    301218C00008000".into());
        (filter.from, filter.to) = (Some(ago(now, 6)), Some(ago(now, 5)));
        filter.limit = SnapshotFilter::MAX_LIMIT;
    });
    ask(options, "a contract's day", Some(TARGET_MS), async || rows(&queries, &day).await).await?;
    let latest = async || Ok(queries.latest(&all).await?.len());
    ask(options, "latest of every series", None, latest).await?;
    ask(options, "positions", None, async || Ok(queries.positions().await?.len())).await?;
    let (sink, log) = memory_log(1);
    let mut config = CommitterConfig::new(config, "reads");
    // Nothing else is to be stored.
    config.minutes_share = 1;
    let committer = Committer::new(config, Box::new(log), Box::new(()), Arc::new(SystemClock::new())).0;
    let committing = tokio::spawn(committer.run());
    store_minutes(&database, now).await?;
    histories(options, &database, &queries).await?;
    drop(sink);
    committing.await??;
    println!("\n{}", machine::line(&cluster, load_before).await?);
    Ok(())
}

/// What is asked of the time before, of which most minutes are stored; and of what is not.
async fn histories(options: &ReadsOptions, database: &Database, queries: &Queries) -> Result<()> {
    let now = Timestamp::now();
    let whole = HistoryFilter::new(Metric::Delta, ago(now, 1), ago(now, 0), Duration::from_secs(300));
    let with = |set: fn(&mut HistoryFilter)| {
        let mut filter = whole.clone();
        set(&mut filter);
        filter
    };
    let part = with(|filter| filter.underlying = Some("U1".into()));
    let account = with(|filter| filter.account_id = Some("A1".into()));
    let by_minute = with(|filter| {
        (filter.account_id, filter.step) = (Some("A1".into()), Duration::from_secs(60));
    });
    let rows_only = with(|filter| {
        (filter.account_id, filter.lookback) = (Some("A1".into()), Duration::from_secs(800));
    });
    for (name, filter, target) in [
        ("history of an account, the last 24 h in 5 min", account, Some(TARGET_MS)),
        ("history of an account, the last 24 h by the minute", by_minute, None),
        ("history of an underlying, the last 24 h in 5 min", part, None),
        ("history of all, the last 24 h in 5 min", whole.clone(), None),
        ("history of an account, another lookback: from the rows", rows_only, None),
    ] {
        ask(options, name, target, async || Ok(queries.history(&filter).await?.points.len())).await?;
    }
    for (name, until) in [("v_portfolio_1m, the last hour", 0), ("v_portfolio_1m, an hour from the rows", 48)] {
        let view = format!(
            "SELECT * FROM v_portfolio_1m WHERE minute >= now() - interval '{} hours' AND minute < now() - interval '{until} hours'",
            until + 1
        );
        ask(options, name, None, async || Ok(database.client.query(&view, &[]).await?.len())).await?;
    }
    Ok(())
}

/// Waits until the minutes of a day are stored, as the committer stores them.
async fn store_minutes(database: &Database, now: Timestamp) -> Result<()> {
    let (begin, day) = (Instant::now(), [ago(now, 1), ago(now, 0)].map(UnixNanos::to_timestamp));
    let sql = "SELECT count(*) FROM portfolio_minutes WHERE broker = '' AND minute >= $1 AND minute < $2";
    while database.client.query_one(sql, &[&day[0], &day[1]]).await?.get::<_, i64>(0) < 1_440 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eprintln!("the minutes of a day are stored after {:.0} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Rows of all series in turn, evenly over the days, positions as long as that.
pub(crate) async fn fill(database: &Database, rows: u32, series: u32, now: Timestamp) -> Result<()> {
    let client = &database.client;
    let this = Month::of(UnixNanos::from_timestamp(now));
    for month in [this.plus(-1), this, this.plus(1)] {
        client.execute(&format!("SELECT greekd_make_partition('{month}-01')"), &[]).await?;
    }
    let (series, share) = (i64::from(series), i64::from(OF_ONE_UNDERLYING));
    client
        .execute(
            "INSERT INTO series (broker, account_id, contract_key, multiplier, underlying, expiration, strike, option_type) \
             SELECT CASE n % 2 WHEN 0 THEN 'ibkr' ELSE 'tastytrade' END, 'A' || n % 3, \
             rpad('U' || n / $2::bigint, 6) || '301218C' || lpad(((n + 1) * 1000)::text, 8, '0'), 100, \
             'U' || n / $2::bigint, '2030-12-18', n + 1, 'C' FROM generate_series(0, $1::bigint - 1) n",
            &[&series, &share],
        )
        .await?;
    client
        .execute(
            "INSERT INTO positions_history \
             (observed_at, broker, account_id, contract_key, multiplier, underlying, quantity, previous_quantity, seq) \
             SELECT $1, broker, account_id, contract_key, multiplier, underlying, 2, 0, 1 FROM series",
            &[&ago(now, DAYS + 1).to_timestamp()],
        )
        .await?;
    let begin = Instant::now();
    // 7919 is prime, so each round of the series is in another order than they were made in.
    let sql = "INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity, delta, gamma, theta, vega, rho, \
               implied_volatility, option_price, underlying_price) \
               SELECT $1::timestamptz + n * $2::float8 * interval '1 s', n, $1::timestamptz + n * $2::float8 * interval '1 s', \
               1 + (n * 7919 % $3::bigint)::int, 2, 0.5, 0.01, -1, 2, 0.1, 0.3, 5, 100 \
               FROM generate_series($4::bigint, $5::bigint - 1) n";
    let (first, every) = (ago(now, DAYS).to_timestamp(), f64::from(DAYS) * 86_400.0 / f64::from(rows));
    for from in (0..rows).step_by(AT_A_TIME as usize) {
        let (from, to) = (i64::from(from), i64::from(from.saturating_add(AT_A_TIME).min(rows)));
        client.execute(sql, &[&first, &every, &series, &from, &to]).await?;
        eprintln!("{to} of {rows} rows, {:.0} s", begin.elapsed().as_secs_f64());
    }
    client.batch_execute("VACUUM ANALYZE").await?;
    Ok(())
}

/// Asks again and again and prints how long the answers took.
async fn ask(
    options: &ReadsOptions,
    name: &str,
    target: Option<f64>,
    question: impl AsyncFn() -> Result<usize>,
) -> Result<()> {
    let (mut rows, mut took) = (0, Vec::new());
    for round in 0..WARM_UP + options.rounds {
        let begin = Instant::now();
        rows = question().await?;
        if round >= WARM_UP {
            took.push(begin.elapsed().as_secs_f64() * 1e3);
        }
    }
    let figure = |quantile| percentile(&took, quantile).map_or_else(|| "-".into(), short);
    let target = target.map_or_else(|| "-".into(), |most| format!("< {most}"));
    println!("| {name} | {rows} | {} | {} | {} | {target} |", figure(0.5), figure(0.95), figure(1.0));
    Ok(())
}

async fn rows(queries: &Queries, filter: &SnapshotFilter) -> Result<usize> {
    Ok(queries.snapshots(filter).await?.rows.len())
}

fn snapshots(set: impl FnOnce(&mut SnapshotFilter)) -> SnapshotFilter {
    let mut filter = SnapshotFilter::default();
    set(&mut filter);
    filter
}

fn ago(now: Timestamp, days: u32) -> UnixNanos {
    UnixNanos::from_millis(now.as_millisecond() - i64::from(days) * 86_400_000)
}
