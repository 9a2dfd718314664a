//! `bench reads`: how soon the questions of the API are answered over a large table.

use std::time::Instant;

use greekd_tests::cluster::{Cluster, Database};
use greeks_model::UnixNanos;
use greeks_store::{DatabaseConfig, HistoryFilter, Metric, Month, Queries, SnapshotFilter, migrate};
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
    let mut history = HistoryFilter::new(Metric::Delta, ago(now, 2), ago(now, 1), std::time::Duration::from_secs(300));
    history.underlying = Some("U1".into());
    let of_one = async || Ok(queries.history(&history).await?.points.len());
    ask(options, "history of an underlying, a day in 5 min", None, of_one).await?;
    let mut whole = history.clone();
    whole.underlying = None;
    let of_all = async || Ok(queries.history(&whole).await?.points.len());
    ask(options, "history of all, a day in 5 min", None, of_all).await?;
    let view = "SELECT * FROM v_portfolio_1m WHERE minute >= now() - interval '25 hours' AND minute < now() - interval '1 day'";
    let hour = async || Ok(database.client.query(view, &[]).await?.len());
    ask(options, "v_portfolio_1m, an hour", None, hour).await?;
    println!("\n{}", machine::line(&cluster, load_before).await?);
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
