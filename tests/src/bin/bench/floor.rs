//! What one committed row costs on this server: the least that received -> durable can be.

use std::io::Cursor;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use greekd_tests::cluster::Cluster;
use greeks_model::UnixNanos;
use greeks_store::tokio_postgres::types::ToSql;
use greeks_store::tokio_postgres::{Client, Statement};
use greeks_store::{DatabaseConfig, Month, migrate};

use crate::Result;

/// The columns that the program writes.
pub(crate) const COLUMNS: &str = "event_time, seq, received_at, series_id, flags, quantity, delta, gamma, theta, vega, \
                                  rho, implied_volatility, option_price, underlying_price, source_payload";
const MARK: &str = "UPDATE ingest_progress SET last_seq = $2, updated_at = clock_timestamp() WHERE last_seq = $1";
/// From 1970 to 2000, where PostgreSQL counts from.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// As many series as a large book has, so that the indexes are touched in different places.
const SERIES: i64 = 500;

/// A connection to a database with the schema of greekd.
#[derive(Debug)]
pub(crate) struct Floor {
    client: Client,
    mark: Statement,
    copy: Statement,
    stored: i64,
}

impl Floor {
    /// Makes the database.
    pub(crate) async fn new(cluster: &Cluster) -> Result<Self> {
        let database = cluster.database("floor").await;
        migrate(&DatabaseConfig::parse(&database.url)?).await?;
        let client = database.client;
        let month = Month::of(now());
        for month in [month, month.plus(1)] {
            let (table, next) = (month.partition(), month.plus(1));
            let bounds = format!("FROM ('{month}-01 00:00:00+00') TO ('{next}-01 00:00:00+00')");
            client.batch_execute(&format!("CREATE TABLE {table} PARTITION OF greek_ticks FOR VALUES {bounds}")).await?;
        }
        let register = "INSERT INTO ingest_progress (incarnation, last_seq, instance) \
                        VALUES (gen_random_uuid(), 0, 'bench')";
        client.batch_execute(register).await?;
        let copy = format!("COPY greek_ticks ({COLUMNS}) FROM STDIN (FORMAT binary)");
        let (mark, copy) = (client.prepare(MARK).await?, client.prepare(&copy).await?);
        Ok(Self { client, mark, copy, stored: 0 })
    }

    /// Commits row after row for so long; how many milliseconds each took.
    pub(crate) async fn measure(&mut self, lasting: Duration) -> Result<Vec<f64>> {
        let end = Instant::now() + lasting;
        let mut took = Vec::new();
        while Instant::now() < end {
            let begin = Instant::now();
            self.commit_one().await?;
            took.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        Ok(took)
    }

    /// One transaction in two round trips, as a writer in no hurry to be clever would do it: what needs no answer of the
    /// statement before goes out together with it.
    async fn commit_one(&mut self) -> Result<()> {
        let (client, next) = (&self.client, self.stored + 1);
        let row = Cursor::new(row(next, now()));
        let marks: [&(dyn ToSql + Sync); 2] = [&self.stored, &next];
        let (begun, marked, copy) = tokio::join!(
            client.batch_execute("BEGIN"),
            client.execute(&self.mark, &marks),
            client.copy_in::<_, Cursor<Vec<u8>>>(&self.copy),
        );
        begun?;
        if marked? != 1 {
            return Err("the mark of the floor is not where it was left".into());
        }
        let mut copy = pin!(copy?);
        copy.feed(row).await?;
        let (stored, committed) = tokio::join!(copy.finish(), client.batch_execute("COMMIT"));
        committed?;
        if stored? != 1 {
            return Err("a row of the floor was not stored".into());
        }
        self.stored = next;
        Ok(())
    }
}

/// A COPY stream of one row (PostgreSQL's documentation of COPY, "Binary Format").
fn row(number: i64, at: UnixNanos) -> Vec<u8> {
    let at = (at.as_micros() - EPOCH_MICROS).to_be_bytes();
    let series = i32::try_from(number % SERIES).unwrap_or(0).to_be_bytes();
    let value = 0.123_456_789_f64.to_be_bytes();
    let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let mut fields: Vec<&[u8]> = vec![&at];
    let number = number.to_be_bytes();
    fields.extend([number.as_slice(), &at, &series, &[0, 0]]);
    fields.extend([value.as_slice(); 9]);
    out.extend_from_slice(&15_i16.to_be_bytes());
    for field in fields {
        out.extend_from_slice(&i32::try_from(field.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(field);
    }
    // No payload, and the end.
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out
}

fn now() -> UnixNanos {
    UnixNanos::from_millis(jiff::Timestamp::now().as_millisecond())
}
