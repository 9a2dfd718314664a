//! `bench journal`: what the journal costs beside the way to the database, and how soon a row is accepted.

use std::sync::Arc;
use std::time::Instant;

use greekd_tests::cluster::Cluster;
use greekd_tests::scratch::scratch;
use greeks_model::{
    AccountId, Clock, Contract, Decimal, GreekSnapshot, Record, Seq, Series, SnapshotLog, SnapshotSink, SourceId,
    UnixNanos,
};
use greeks_processor::SystemClock;
use greeks_store::greeks_journal::Options;
use greeks_store::{Committer, CommitterConfig, DatabaseConfig, journal_log, memory_log, migrate};

use crate::options::JournalOptions;
use crate::product::{self, Load};
use crate::stats::{Spread, short};
use crate::{Result, machine};
use greekd_tests::process::{cpu_seconds, cpu_seconds_of_ended};

/// As many series as a large book has.
const SERIES: usize = 500;
/// What the pipeline hands over at a time when it is busy.
const APPEND: usize = 500;
/// At which received -> accepted is promised.
const RATE: f64 = 5_000.0;
/// What the committer takes at a time.
const COMMIT: usize = 2_000;

/// Runs both parts and prints what came out.
pub(crate) async fn run(options: &JournalOptions) -> Result<()> {
    greekd_tests::daemon::program();
    let cluster = Cluster::start().await;
    let load_before = machine::load();
    let records = records(options.rows);
    let (mut shares, mut shares_behind, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        // A running journal writes to pages it has written to before. This turn fetches them, and is not counted.
        journal(&records, u64::MAX).await?;
        let (journal, behind) = (journal(&records, COMMIT as u64).await?, journal(&records, u64::MAX).await?);
        let copy = copy(&cluster, round, &records).await?;
        #[expect(clippy::cast_precision_loss, reason = "millions")]
        let per_row = |seconds: f64| seconds / records.len() as f64 * 1e6;
        let share = |journal: f64| 100.0 * journal / copy;
        let load = Load::new(RATE, options.seconds);
        let sample = product::measure(&cluster.database(&format!("accepted_{round}")).await, load).await?;
        println!(
            "round {round}: us of CPU a row: journal {}, read back from the disk {}, COPY path {}; \
             received -> accepted p99 at {RATE}/s {} ms",
            short(per_row(journal)),
            short(per_row(behind)),
            short(per_row(copy)),
            short(sample.accepted_p99)
        );
        shares.push(share(journal));
        shares_behind.push(share(behind));
        accepted.push(sample.accepted_p99);
    }
    println!("\n{}", machine::line(&cluster, load_before).await?);
    let all = |figures: Vec<f64>| Spread::of(figures).map_or_else(|| "-".into(), |spread| spread.to_string());
    println!("\n| figure | median (min..max) of {} rounds | target |", options.rounds);
    println!("|---|---:|---:|");
    println!("| CPU of the journal in % of that of the COPY path, {} rows | {} | < 5 |", records.len(), all(shares));
    println!("| the same while the database is behind: read back from the disk | {} | |", all(shares_behind));
    println!("| received -> accepted p99 in ms at {RATE} events/s | {} | < 1 |", all(accepted));
    Ok(())
}

/// Processor seconds to write all records to a journal, sync them and read them back. They are read whenever `lead` of them
/// wait, on the thread that wrote them: at saturation the committer comes back for more and never waits to be woken.
async fn journal(records: &[Record], lead: u64) -> Result<f64> {
    let directory = scratch();
    let before = own_cpu()?;
    let logs = journal_log(&directory.path().join("journal"), Options::default())?;
    let (mut writer, mut log) = (logs.writer, logs.log);
    let (mut written, mut read) = (0, Seq::ZERO);
    for batch in records.chunks(APPEND) {
        writer.append(batch)?;
        written += batch.len() as u64;
        if written - read.0 >= lead {
            read = take(&mut log, read).await?;
        }
    }
    Box::new(writer).close()?;
    while read.0 < written {
        read = take(&mut log, read).await?;
    }
    Ok(own_cpu()? - before)
}

/// Reads as many records behind `read` as the committer takes at a time, and releases them; the number of the last.
async fn take(log: &mut impl SnapshotLog, read: Seq) -> Result<Seq> {
    let last = log.next(read, COMMIT).await?.last();
    log.release(last).await?;
    Ok(last)
}

/// Processor seconds to store all records, of this process and of the server's.
async fn copy(cluster: &Cluster, round: u32, records: &[Record]) -> Result<f64> {
    let database = cluster.database(&format!("copy_{round}")).await;
    let config = DatabaseConfig::parse(&database.url)?;
    migrate(&config).await?;
    let server = || cpu_seconds_of_ended(cluster.server_pid());
    let (sink, log) = memory_log(20_000);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (committer, _status) =
        Committer::new(CommitterConfig::new(config, "bench"), Box::new(log), Box::new(()), clock);
    // A server needs more than four microseconds for a row: less is not all of it.
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    let records_len = records.len() as f64;
    let records = records.to_vec();
    let (own, before) = (own_cpu()?, server());
    let stored = tokio::spawn(committer.run());
    tokio::task::spawn_blocking(move || {
        let mut sink = sink;
        for batch in records.chunks(APPEND) {
            sink.append(batch)?;
        }
        Box::new(sink).close()
    })
    .await??;
    stored.await??;
    drop(database.client);
    // The processor time of a backend is added to the server's when it has ended.
    let end = Instant::now() + std::time::Duration::from_secs(10);
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
    let watch = cluster.connect("postgres").await.client;
    while watch.query_one(sql, &[&format!("copy_{round}")]).await?.get::<_, i64>(0) > 0 && Instant::now() < end {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // It has ended when nobody sees it any more, and is counted a moment later.
    let mut after = server();
    while after <= before.map(|before| before + 4e-6 * records_len) && Instant::now() < end {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        after = server();
    }
    let server = after.zip(before).map(|(after, before)| after - before).ok_or("no processor time of the server")?;
    Ok(own_cpu()? - own + server)
}

fn own_cpu() -> Result<f64> {
    cpu_seconds(std::process::id()).ok_or_else(|| "no processor time of this process".into())
}

/// Rows of 500 series in random order, as they come in a busy market.
fn records(rows: u32) -> Vec<Record> {
    let series: Vec<Arc<Series>> = (0..SERIES).map(series).collect();
    let now = SystemClock::new().now();
    let mut state = 1_u64;
    let row = |number: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = usize::try_from(state >> 33).unwrap_or_default() % SERIES;
        let at = UnixNanos::from_nanos(now.as_nanos() + i64::from(number) * 1_000);
        let mut row = GreekSnapshot::new(Arc::clone(&series[place]), at, at, 1.0);
        let value = f64::from(number).sin();
        row.delta = Some(value);
        (row.gamma, row.theta, row.vega, row.rho) =
            (Some(value * 0.1), Some(-value), Some(value * 0.3), Some(value * 0.01));
        (row.implied_volatility, row.option_price, row.underlying_price) =
            (Some(0.2), Some(value + 10.0), Some(6_600.0));
        Record::Snapshot(row)
    };
    (0..rows).map(row).collect()
}

fn series(number: usize) -> Arc<Series> {
    let contract: Contract =
        format!("SPXW  261218C{:08}", 5_000_000 + number * 5_000).parse().unwrap_or_else(|_| unreachable!());
    Arc::new(Series {
        broker: SourceId::new("tastytrade").unwrap_or_else(|_| unreachable!()),
        account_id: AccountId::new("5WT00001").unwrap_or_else(|_| unreachable!()),
        contract,
        underlying: "SPX".into(),
        multiplier: Decimal::ONE_HUNDRED,
    })
}
