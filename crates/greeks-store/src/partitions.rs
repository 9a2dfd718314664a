//! Monthly partitions of `greek_ticks`.
//!
//! What takes an owner's rights is done by functions of the schema (`migrations/V5__roles.sql`), so a writer needs none.
//! DEFAULT takes the rows of a month that could not be made; once nothing is in the way they are moved to where they
//! belong.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use greeks_model::UnixNanos;
use jiff::civil::Date;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use crate::failure::chain;
use crate::metrics::{DEFAULT_PARTITION_ROWS, PARTITIONS_READY};
use crate::month::{Month, month_of_partition};

/// Months made ahead of the present one.
const AHEAD: i32 = 2;
/// Partitions that somebody else has dropped are noticed so soon.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// What could not be done is not tried again sooner; the pause doubles up to the last.
const PAUSE_FIRST: Duration = Duration::from_secs(60);
const PAUSE_LAST: Duration = Duration::from_secs(3600);

/// The months that have their partition.
pub(crate) async fn existing(client: &Client) -> Result<BTreeSet<Month>, Error> {
    let sql = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
               WHERE i.inhparent = 'greek_ticks'::regclass";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().filter_map(|row| month_of_partition(row.get(0))).collect())
}

/// What a writer knows of the partitions.
#[derive(Debug)]
pub(crate) struct Partitions {
    ready: BTreeSet<Month>,
    /// Months that could not be made for a reason of their own.
    refused: HashMap<Month, Pause>,
    /// Somebody holds a lock that every month would wait for.
    blocked: Option<Pause>,
    look_at: Instant,
    /// Rows in DEFAULT when it was last looked at.
    strays: u64,
}

impl Partitions {
    pub(crate) async fn load(client: &Client) -> Result<Self, Error> {
        Ok(Self {
            ready: existing(client).await?,
            refused: HashMap::new(),
            blocked: None,
            look_at: Instant::now() + LOOK_EVERY,
            strays: 0,
        })
    }

    /// Makes those of `months` that are missing. `false` when one could not be made: its rows go to DEFAULT. A lock is
    /// waited for once, however many months there are.
    ///
    /// # Errors
    /// Only when the connection is of no use any more.
    pub(crate) async fn ensure(
        &mut self,
        client: &Client,
        months: impl IntoIterator<Item = Month>,
    ) -> Result<bool, Error> {
        if self.look_at <= Instant::now() {
            self.look(client).await?;
        }
        let missing: BTreeSet<Month> = months.into_iter().filter(|month| !self.ready.contains(month)).collect();
        let mut complete = true;
        for month in missing {
            complete &= self.make(client, month).await?;
        }
        Ok(complete)
    }

    /// Makes the last, this and the next two months, and empties DEFAULT. `false` when something is left to do.
    pub(crate) async fn keep(&mut self, client: &Client, now: UnixNanos) -> Result<bool, Error> {
        (self.blocked, self.refused) = (None, HashMap::new());
        self.ready = existing(client).await?;
        let this = Month::of(now);
        // These first: a month that cannot be emptied must not stand in their way.
        let complete = self.ensure(client, (-1..=AHEAD).map(|by| this.plus(by))).await?;
        self.look(client).await?;
        let ready = (0..).take_while(|by| self.ready.contains(&this.plus(*by))).count();
        #[allow(clippy::cast_precision_loss)]
        ::metrics::gauge!(PARTITIONS_READY).set(ready as f64);
        Ok(complete && self.strays == 0)
    }

    async fn make(&mut self, client: &Client, month: Month) -> Result<bool, Error> {
        if self.waits(month) {
            return Ok(false);
        }
        fail_point!("partition.before_create");
        match create(client, month).await {
            Ok(()) => {
                tracing::info!(%month, "partition made");
                self.done(month);
                Ok(true)
            }
            Err(error) if is_lost(client, &error) => Err(error),
            // DEFAULT holds rows of it.
            Err(error) if error.code() == Some(&SqlState::CHECK_VIOLATION) => {
                Ok(self.rescue(client, month).await?.is_some())
            }
            Err(error) => {
                tracing::error!(%month, error = chain(&error), "partition not made: its rows go to greek_ticks_default");
                self.failed(month, &error);
                Ok(false)
            }
        }
    }

    /// Makes the month with the rows that DEFAULT holds of it; how many, `None` when it could not be done.
    async fn rescue(&mut self, client: &Client, month: Month) -> Result<Option<u64>, Error> {
        match move_from_default(client, month).await {
            Ok(rows) => {
                tracing::warn!(%month, rows, "partition made for rows that were in greek_ticks_default");
                self.done(month);
                Ok(Some(rows))
            }
            Err(error) if is_lost(client, &error) => Err(error),
            Err(error) => {
                tracing::error!(%month, error = chain(&error), "rows are left in greek_ticks_default");
                // Too many to be moved in time: nobody's lock, and no other month's business.
                if error.code() == Some(&SqlState::QUERY_CANCELED) {
                    let pause = Pause::after(self.refused.get(&month));
                    self.refused.insert(month, pause);
                } else {
                    self.failed(month, &error);
                }
                Ok(None)
            }
        }
    }

    /// Reads again which months there are, and empties DEFAULT as far as that can be done.
    async fn look(&mut self, client: &Client) -> Result<(), Error> {
        self.look_at = Instant::now() + LOOK_EVERY;
        self.ready = existing(client).await?;
        let found = match default_months(client).await {
            Ok(found) => found,
            Err(error) if is_lost(client, &error) => return Err(error),
            Err(error) => {
                tracing::error!(error = chain(&error), "cannot look into greek_ticks_default");
                self.block(&error);
                return Ok(());
            }
        };
        let mut strays: u64 = found.iter().map(|(_, rows)| rows).sum();
        if strays > 0 && self.strays == 0 {
            tracing::error!(rows = strays, months = found.len(), "greek_ticks_default is not empty");
        }
        for month in found.into_iter().filter_map(|(month, _)| month) {
            if !self.waits(month) {
                strays = strays.saturating_sub(self.rescue(client, month).await?.unwrap_or(0));
            }
        }
        self.strays = strays;
        #[allow(clippy::cast_precision_loss)]
        ::metrics::gauge!(DEFAULT_PARTITION_ROWS).set(strays as f64);
        Ok(())
    }

    /// Whether it is too soon to try this month.
    fn waits(&self, month: Month) -> bool {
        let now = Instant::now();
        self.blocked.iter().chain(self.refused.get(&month)).any(|pause| now < pause.until)
    }

    fn done(&mut self, month: Month) {
        self.blocked = None;
        self.refused.remove(&month);
        self.ready.insert(month);
    }

    fn failed(&mut self, month: Month, error: &Error) {
        if !self.block(error) {
            let pause = Pause::after(self.refused.get(&month));
            self.refused.insert(month, pause);
        }
    }

    /// Whether the error is about a lock; nothing that needs it is tried for a while then.
    fn block(&mut self, error: &Error) -> bool {
        let locked = [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED, SqlState::T_R_DEADLOCK_DETECTED].iter();
        let locked = locked.into_iter().any(|code| error.code() == Some(code));
        if locked {
            let pause = Pause::after(self.blocked.as_ref());
            self.look_at = self.look_at.max(pause.until);
            self.blocked = Some(pause);
        }
        locked
    }
}

/// Until when something is not tried again.
#[derive(Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl Pause {
    /// The first one, or one twice as long as the last.
    fn after(last: Option<&Self>) -> Self {
        let length = last.map_or(PAUSE_FIRST, |last| (last.length * 2).min(PAUSE_LAST));
        Self { until: Instant::now() + length, length }
    }
}

fn is_lost(client: &Client, error: &Error) -> bool {
    client.is_closed() || error.code().is_none()
}

/// Makes the month's partition unless it is there. What is waited for is bounded all in all, and not lock by lock.
async fn create(client: &Client, month: Month) -> Result<(), Error> {
    let call = format!("SELECT greekd_make_partition('{}')", month.first_day());
    transaction(client, "2s", &call).await.map(drop)
}

async fn move_from_default(client: &Client, month: Month) -> Result<u64, Error> {
    let call = format!("SELECT greekd_move_from_default('{}')", month.first_day());
    Ok(transaction(client, "30s", &call).await?.and_then(|moved| moved.parse().ok()).unwrap_or(0))
}

/// Calls a function in a short transaction of its own; all parts of the text are ours. Returns its value.
async fn transaction(client: &Client, limit: &str, call: &str) -> Result<Option<String>, Error> {
    match client.simple_query(&format!("BEGIN; SET LOCAL statement_timeout = '{limit}'; {call}; COMMIT")).await {
        Ok(messages) => Ok(messages.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })),
        Err(error) => {
            if !is_lost(client, &error) {
                client.batch_execute("ROLLBACK").await?;
            }
            Err(error)
        }
    }
}

/// Months that have rows in DEFAULT, and how many; `None` for times outside of all months.
async fn default_months(client: &Client) -> Result<Vec<(Option<Month>, u64)>, Error> {
    let rows = client.query("SELECT month, month_rows FROM greekd_default_months()", &[]).await?;
    let month = |row: &tokio_postgres::Row| row.get::<_, Option<Date>>(0).map(Month::of_day);
    Ok(rows.iter().map(|row| (month(row), row.get::<_, i64>(1).unsigned_abs())).collect())
}
