//! One connection that stores records, and the transaction it does that with.
//!
//! The mark moves first: the row lock makes this transaction wait for one of a connection that was given up and may
//! still commit. Only then is anything else written, so a batch is stored once however often it is sent.
//!
//! In the steady state a commit is two round trips: BEGIN, the mark and the start of COPY go out together, then the rows
//! and COMMIT. A COMMIT that follows a failed COPY is a ROLLBACK, so sending it early is safe.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join3};
use futures_util::sink::SinkExt;
use greeks_model::jiff::Timestamp;
use greeks_model::{GapRecord, Record, Seq, UnixNanos, Uuid};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{CopyInSink, Row, Statement};

use super::committer::CommitterConfig;
use super::extras;
use super::minutes::Minutes;
use super::rows::{self, Encoded, Parts, UnknownSeries};
use super::series::SeriesIds;
use super::session;
use crate::connection::{ConnectError, Connection};
use crate::failpoint;
use crate::failure::Failure;
use crate::migrate;
use crate::month::Month;
use crate::partitions::Partitions;

const ROLL_BACK_DEADLINE: Duration = Duration::from_secs(10);

const REGISTER: &str = "INSERT INTO ingest_progress (incarnation, last_seq, instance) VALUES ($1, 0, $2) \
                        ON CONFLICT (incarnation) DO NOTHING";

const MARK: &str = "UPDATE ingest_progress SET last_seq = $3, updated_at = clock_timestamp() \
                    WHERE incarnation = $1 AND last_seq = $2";

/// A connection made ready.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    incarnation: Uuid,
    stream: i32,
    mark: Statement,
    copy: Statement,
    series: SeriesIds,
    partitions: Partitions,
    minutes: Minutes,
    /// Everything up to here is stored, says the database.
    stored: Seq,
    /// When it had last come further, when this connection was made.
    stored_at: UnixNanos,
}

/// How a transaction ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The records are stored, so many of them as ticks, and so many of those without their payload.
    Stored { ticks: u64, payloads_refused: u64 },
    /// Nothing was written: the mark is elsewhere than believed, see [`Writer::stored`].
    Moved,
}

const NO_TICKS: Written = Written::Stored { ticks: 0, payloads_refused: 0 };

/// A record the database refused before, and in what words.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) sqlstate: String,
    pub(super) message: String,
}

/// A transaction or the way to it failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the database refused a statement")]
    Sql(#[from] tokio_postgres::Error),
    #[error("another program writes to this database: {holder}")]
    Held { holder: String },
    #[error("the database has schema version {found}, this program needs {known}: {}", migrate::advice(*found, *known))]
    Schema { found: i32, known: i32 },
    #[error("column {column} of greek_ticks is {found} in the database, and {expected} is needed")]
    Column { column: &'static str, found: String, expected: String },
    #[error("the database took longer than {0} s")]
    Deadline(u64),
    #[error("{sent} rows were sent and {stored} stored")]
    Miscount { sent: u64, stored: u64 },
    #[error("the database has no row in ingest_progress for this incarnation")]
    NoMark,
    #[error(transparent)]
    Series(#[from] UnknownSeries),
}

impl WriteError {
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Connect(error) => Failure::of(error.code()),
            Self::Sql(error) => Failure::of_error(error),
            Self::Held { .. } | Self::Deadline(_) | Self::NoMark => Failure::Transient,
            Self::Schema { .. } | Self::Column { .. } | Self::Miscount { .. } | Self::Series(_) => Failure::Operator,
        }
    }

    /// It took longer than it may: with fewer records it may not.
    pub(super) fn is_too_slow(&self) -> bool {
        match self {
            Self::Sql(error) => error.code() == Some(&SqlState::QUERY_CANCELED),
            Self::Deadline(_) => true,
            _ => false,
        }
    }

    pub(super) fn refusal(&self) -> Refusal {
        let code = match self {
            Self::Sql(error) => error.code().map(|code| code.code().to_owned()),
            _ => None,
        };
        Refusal { sqlstate: code.unwrap_or_default(), message: crate::failure::chain(self) }
    }
}

impl Writer {
    /// Connects, becomes the only writer, registers the incarnation and reads its mark. A database that does not know the
    /// incarnation has nothing of it, whatever another one had.
    pub(super) async fn open(config: &CommitterConfig, incarnation: Uuid) -> Result<Self, WriteError> {
        let connection = session::open(config, incarnation).await?;
        let (found, known) = (migrate::version(&connection).await?.unwrap_or(0), migrate::known_version());
        if found != known {
            return Err(WriteError::Schema { found, known });
        }
        session::check_columns(&connection).await?;
        let (stream, stored, stored_at) = match read_mark(&connection, incarnation).await? {
            Some(registered) => registered,
            None => {
                connection.execute(REGISTER, &[&incarnation, &config.instance]).await?;
                read_mark(&connection, incarnation).await?.ok_or(WriteError::NoMark)?
            }
        };
        let mark = connection.prepare(MARK).await?;
        let copy = connection.prepare(&rows::copy()).await?;
        let partitions = Partitions::load(&connection).await?;
        let minutes = Minutes::load(&connection, config.exclusive).await?;
        let series = SeriesIds::default();
        Ok(Self { connection, incarnation, stream, mark, copy, series, partitions, minutes, stored, stored_at })
    }

    /// The mark as this connection knows it.
    pub(super) fn stored(&self) -> Seq {
        self.stored
    }

    /// When the mark had last moved, as found with the connection; `None` when nothing is stored.
    pub(super) fn stored_at(&self) -> Option<UnixNanos> {
        (self.stored > Seq::ZERO).then_some(self.stored_at)
    }

    /// Resolves when the connection has ended.
    pub(super) async fn closed(&mut self) {
        self.connection.closed().await;
    }

    /// Makes the partitions of these days.
    pub(super) async fn keep_partitions(&mut self, now: UnixNanos) -> Result<bool, WriteError> {
        Ok(self.partitions.keep(&self.connection, now).await?)
    }

    /// Stores a few of the minutes that have ended; how long to wait before the next.
    pub(super) async fn store_minutes(&mut self, share: u32) -> Result<Duration, WriteError> {
        Ok(self.minutes.store(&self.connection, share).await?)
    }

    /// Notes that nothing more follows in this incarnation, and lets the next writer in.
    pub(super) async fn finish(&self) -> Result<(), WriteError> {
        let sql = "UPDATE ingest_progress SET closed_at = clock_timestamp() WHERE incarnation = $1";
        self.connection.execute(sql, &[&self.incarnation]).await?;
        // Without the lock the server only warns.
        Ok(session::release(&self.connection).await?)
    }

    /// Stores `records`, numbered from `first`, and moves the mark past them. With a refusal the one record is stored without
    /// its payload, if that will do, and goes to quarantine otherwise. After an error that is not about the data the writer must be dropped: whether the transaction
    /// was committed is for the next one to find out.
    pub(super) async fn write(
        &mut self,
        first: Seq,
        records: &[Record],
        refusal: Option<&Refusal>,
    ) -> Result<Written, WriteError> {
        match (refusal, records) {
            (Some(refusal), [record]) => match without_payload(record) {
                Some(bare) => self.write_bare(first, record, &bare, refusal).await,
                None => self.write_refused(first, record, refusal).await,
            },
            _ => self.store(first, records).await,
        }
    }

    async fn store(&mut self, first: Seq, records: &[Record]) -> Result<Written, WriteError> {
        let last = first.plus((records.len() as u64).saturating_sub(1));
        let (parts, encoded) = self.prepare(first, records).await?;
        let (ticks, Encoded { chunks, payloads_refused }) = (parts.ticks.len() as u64, encoded);
        let moved = if parts.is_plain() && !self.minutes.touches(&parts) {
            self.write_ticks(last, ticks, chunks).await?
        } else {
            self.write_mixed(last, &parts, ticks, chunks).await?
        };
        self.outcome(moved, last, Written::Stored { ticks, payloads_refused }).await
    }

    /// Moves the mark to `last`, though what is between is not there to be stored; `gap` says so.
    pub(super) async fn pass_over(&mut self, last: Seq, gap: Option<&GapRecord>) -> Result<Written, WriteError> {
        let parts = Parts { gaps: gap.map(|gap| (last.0, gap)).into_iter().collect(), ..Parts::default() };
        let moved = self.write_mixed(last, &parts, 0, Vec::new()).await?;
        self.outcome(moved, last, NO_TICKS).await
    }

    /// Whether the database would take the records: they are sent and rolled back. An error as of [`write`](Self::write).
    pub(super) async fn probe(&mut self, first: Seq, records: &[Record]) -> Result<(), WriteError> {
        let (parts, encoded) = self.prepare(first, records).await?;
        self.connection.batch_execute("BEGIN").await?;
        self.fill(&parts, parts.ticks.len() as u64, encoded.chunks).await?;
        self.connection.batch_execute("SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK").await?;
        Ok(())
    }

    /// What stands outside of the transaction: ids of series and partitions; and the rows, encoded.
    async fn prepare<'a>(&mut self, first: Seq, records: &'a [Record]) -> Result<(Parts<'a>, Encoded), WriteError> {
        let parts = Parts::of(first.0, records);
        self.series.resolve(&self.connection, parts.series()).await?;
        let months: BTreeSet<Month> = parts.ticks.iter().map(|(_, tick)| Month::of(tick.event_time)).collect();
        self.partitions.ensure(&self.connection, months).await?;
        let encoded = rows::encode(self.stream, &parts.ticks, |series: &Arc<_>| self.series.get(series))?;
        Ok((parts, encoded))
    }

    /// Ends the transaction in which data was refused: the server has said so, hence nothing of it is stored. `false` when
    /// the connection is of no use any more.
    pub(super) async fn roll_back(&self) -> bool {
        matches!(timeout(ROLL_BACK_DEADLINE, self.connection.batch_execute("ROLLBACK")).await, Ok(Ok(())))
    }

    async fn outcome(&mut self, moved: bool, last: Seq, written: Written) -> Result<Written, WriteError> {
        if moved {
            self.stored = last;
            return Ok(written);
        }
        self.connection.batch_execute("ROLLBACK").await?;
        (_, self.stored, self.stored_at) =
            read_mark(&self.connection, self.incarnation).await?.ok_or(WriteError::NoMark)?;
        Ok(Written::Moved)
    }

    /// The steady state. `false` when the mark was not where it was believed; the transaction is open then.
    async fn write_ticks(&self, last: Seq, rows: u64, chunks: Vec<Vec<u8>>) -> Result<bool, WriteError> {
        fail_point!("db.before_begin");
        let client = &self.connection;
        let (from, to) = (to_i64(self.stored), to_i64(last));
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&self.incarnation, &from, &to];
        let (begun, marked, copy) = join3(
            client.batch_execute("BEGIN"),
            client.execute(&self.mark, &params),
            client.copy_in::<_, Cursor<Vec<u8>>>(&self.copy),
        )
        .await;
        begun?;
        if marked? == 0 {
            // Dropping the sink ends the COPY.
            return Ok(false);
        }
        fail_point!("db.after_mark");
        let stored = send_and(copy?, chunks, client.batch_execute("COMMIT")).await?;
        if stored != rows {
            return Err(WriteError::Miscount { sent: rows, stored });
        }
        Ok(true)
    }

    /// A batch with anything beside ticks of the present, statement by statement.
    async fn write_mixed(
        &mut self,
        last: Seq,
        parts: &Parts<'_>,
        ticks: u64,
        chunks: Vec<Vec<u8>>,
    ) -> Result<bool, WriteError> {
        self.minutes.forget_many(&self.connection, parts).await?;
        let client = &self.connection;
        client.batch_execute("BEGIN").await?;
        fail_point!("db.mixed.after_begin");
        if !self.move_mark(last).await? {
            return Ok(false);
        }
        let touched = self.minutes.forget(client, parts).await?;
        self.fill(parts, ticks, chunks).await?;
        fail_point!("db.mixed.before_commit");
        client.batch_execute("COMMIT").await?;
        self.minutes.forgotten(touched);
        Ok(true)
    }

    /// Everything of a batch but the mark, in the transaction under way.
    async fn fill(&self, parts: &Parts<'_>, ticks: u64, chunks: Vec<Vec<u8>>) -> Result<(), WriteError> {
        let client = &self.connection;
        extras::positions(client, self.stream, &parts.positions).await?;
        extras::gaps(client, self.stream, &parts.gaps).await?;
        extras::sheds(client, self.stream, &parts.shed).await?;
        for (number, record) in &parts.unknown {
            tracing::error!(number, "a kind of record this program does not know goes to quarantine");
            extras::quarantine(client, self.incarnation, Seq(*number), record, "0A000", "unknown kind of record")
                .await?;
        }
        fail_point!("db.mixed.after_extras");
        if ticks > 0 {
            let copy = client.copy_in::<_, Cursor<Vec<u8>>>(&self.copy).await?;
            let stored = send_and(copy, chunks, std::future::ready(Ok(()))).await?;
            if stored != ticks {
                return Err(WriteError::Miscount { sent: ticks, stored });
            }
        }
        Ok(())
    }

    /// The Greeks are what a row is for: it is stored without its payload, unless the database refuses that too.
    async fn write_bare(
        &mut self,
        number: Seq,
        record: &Record,
        bare: &Record,
        refusal: &Refusal,
    ) -> Result<Written, WriteError> {
        match self.store(number, std::slice::from_ref(bare)).await {
            Ok(Written::Stored { ticks, .. }) => Ok(Written::Stored { ticks, payloads_refused: 1 }),
            Err(error) if matches!(error.failure(), Failure::Data | Failure::Internal) => {
                if !self.roll_back().await {
                    return Err(WriteError::Deadline(ROLL_BACK_DEADLINE.as_secs()));
                }
                self.write_refused(number, record, refusal).await
            }
            other => other,
        }
    }

    async fn write_refused(&mut self, number: Seq, record: &Record, refusal: &Refusal) -> Result<Written, WriteError> {
        self.connection.batch_execute("BEGIN").await?;
        let moved = self.move_mark(number).await?;
        if moved {
            let Refusal { sqlstate, message } = refusal;
            extras::quarantine(&self.connection, self.incarnation, number, record, sqlstate, message).await?;
            fail_point!("quarantine.before_commit");
            self.connection.batch_execute("COMMIT").await?;
        }
        self.outcome(moved, number, NO_TICKS).await
    }

    async fn move_mark(&self, last: Seq) -> Result<bool, WriteError> {
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&self.incarnation, &to_i64(self.stored), &to_i64(last)];
        Ok(self.connection.execute(&self.mark, &params).await? == 1)
    }
}

/// The record as it would be without a payload, if it has one.
fn without_payload(record: &Record) -> Option<Record> {
    match record {
        Record::Snapshot(row) if row.source_payload.is_some() => {
            let mut bare = row.clone();
            bare.source_payload = None;
            Some(Record::Snapshot(bare))
        }
        _ => None,
    }
}

/// Sends the chunks and the end of COPY, and `then` right behind it without waiting; returns how many rows were stored.
async fn send_and(
    copy: CopyInSink<Cursor<Vec<u8>>>,
    chunks: Vec<Vec<u8>>,
    then: impl Future<Output = Result<(), tokio_postgres::Error>>,
) -> Result<u64, tokio_postgres::Error> {
    let mut copy = pin!(copy);
    for chunk in chunks {
        copy.feed(Cursor::new(chunk)).await?;
        fail_point!("db.mid_copy");
    }
    if failpoint::is_set("db.after_copy") {
        let stored = copy.as_mut().finish().await?;
        fail_point!("db.after_copy");
        then.await?;
        return Ok(stored);
    }
    let (stored, then) = join(copy.as_mut().finish(), then).await;
    let stored = stored?;
    then?;
    Ok(stored)
}

/// The stream's number and the mark of an incarnation, and when it last moved, if it is registered.
async fn read_mark(
    client: &tokio_postgres::Client,
    incarnation: Uuid,
) -> Result<Option<(i32, Seq, UnixNanos)>, tokio_postgres::Error> {
    let sql = "SELECT stream, last_seq, updated_at FROM ingest_progress WHERE incarnation = $1";
    let row = client.query_opt(sql, &[&incarnation]).await?;
    let mark = |row: &Row| Seq(row.get::<_, i64>(1).unsigned_abs());
    Ok(row.map(|row| (row.get(0), mark(&row), UnixNanos::from_timestamp(row.get::<_, Timestamp>(2)))))
}

fn to_i64(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}
