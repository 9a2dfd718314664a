//! Monthly partitions of `greek_ticks`.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use greeks_model::UnixNanos;
use tokio::time::Instant;
use tokio_postgres::{Client, Error};

use crate::metrics::PARTITIONS_READY;

/// `greekd` in ASCII, then 2: one program makes partitions at a time.
const PARTITION_LOCK: i64 = 0x6772_6565_6b64_0002;
/// A month that could not be made is not tried again sooner.
const RETRY_AFTER: Duration = Duration::from_secs(60);
const PREFIX: &str = "greek_ticks_";
/// Months made ahead of the present one.
const AHEAD: i32 = 2;

/// A month of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// Months since January of year 0.
    number: i32,
}

impl Month {
    /// The month that holds `at`.
    pub fn of(at: UnixNanos) -> Self {
        let date = at.to_timestamp().to_zoned(jiff::tz::TimeZone::UTC).date();
        Self { number: i32::from(date.year()) * 12 + i32::from(date.month()) - 1 }
    }

    /// `by` months later.
    #[must_use]
    pub fn plus(self, by: i32) -> Self {
        Self { number: self.number.saturating_add(by) }
    }

    /// The year.
    pub fn year(self) -> i32 {
        self.number.div_euclid(12)
    }

    /// 1 to 12.
    pub fn month(self) -> i32 {
        self.number.rem_euclid(12) + 1
    }

    /// The partition's name: `greek_ticks_2026_11`.
    pub fn partition(self) -> String {
        format!("{PREFIX}{:04}_{:02}", self.year(), self.month())
    }

    fn first_day(self) -> String {
        format!("{self}-01 00:00:00+00")
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year(), self.month())
    }
}

/// Not a month like `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a month like 2026-11")]
pub struct InvalidMonth;

impl FromStr for Month {
    type Err = InvalidMonth;

    fn from_str(text: &str) -> Result<Self, InvalidMonth> {
        let (year, month) = text.split_once('-').ok_or(InvalidMonth)?;
        let (year, month): (i32, i32) =
            (year.parse().map_err(|_| InvalidMonth)?, month.parse().map_err(|_| InvalidMonth)?);
        if !(1..=9999).contains(&year) || !(1..=12).contains(&month) {
            return Err(InvalidMonth);
        }
        Ok(Self { number: year * 12 + month - 1 })
    }
}

/// The months that have their partition.
pub(crate) async fn existing(client: &Client) -> Result<BTreeSet<Month>, Error> {
    let sql = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
               WHERE i.inhparent = 'greek_ticks'::regclass";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().filter_map(|row| month_of_partition(row.get(0))).collect())
}

pub(crate) fn month_of_partition(name: &str) -> Option<Month> {
    name.strip_prefix(PREFIX)?.replace('_', "-").parse().ok()
}

/// Makes the month's partition unless it is there, in a short transaction of its own.
pub(crate) async fn create(client: &Client, month: Month) -> Result<(), Error> {
    let (table, from, to) = (month.partition(), month.first_day(), month.plus(1).first_day());
    // All parts of the text are digits of ours. The lock time-out keeps a long-running reader from holding up the
    // stream: DEFAULT takes the rows then.
    let made = client
        .batch_execute(&format!(
            "BEGIN; SET LOCAL lock_timeout = '2s'; SELECT pg_advisory_xact_lock({PARTITION_LOCK}); \
             CREATE TABLE IF NOT EXISTS {table} PARTITION OF greek_ticks FOR VALUES FROM ('{from}') TO ('{to}'); COMMIT"
        ))
        .await;
    if made.is_err() {
        client.batch_execute("ROLLBACK").await?;
    }
    made
}

/// What a writer knows of the partitions.
#[derive(Debug)]
pub(crate) struct Partitions {
    ready: BTreeSet<Month>,
    /// Months that could not be made, and when to try again.
    refused: HashMap<Month, Instant>,
}

impl Partitions {
    pub(crate) async fn load(client: &Client) -> Result<Self, Error> {
        Ok(Self { ready: existing(client).await?, refused: HashMap::new() })
    }

    /// Makes those of `months` that are missing. `false` when one could not be made: its rows go to DEFAULT.
    ///
    /// # Errors
    /// Only when the connection is of no use any more.
    pub(crate) async fn ensure(
        &mut self,
        client: &Client,
        months: impl IntoIterator<Item = Month>,
    ) -> Result<bool, Error> {
        let missing: BTreeSet<Month> = months.into_iter().filter(|month| !self.ready.contains(month)).collect();
        let mut complete = true;
        for month in missing {
            if self.refused.get(&month).is_some_and(|again| Instant::now() < *again) {
                complete = false;
                continue;
            }
            match create(client, month).await {
                Ok(()) => {
                    tracing::info!(%month, "partition made");
                    self.refused.remove(&month);
                    self.ready.insert(month);
                }
                Err(error) if client.is_closed() || error.code().is_none() => return Err(error),
                Err(error) => {
                    let error = crate::failure::chain(&error);
                    tracing::error!(%month, error, "partition not made: its rows go to greek_ticks_default");
                    self.refused.insert(month, Instant::now() + RETRY_AFTER);
                    complete = false;
                }
            }
        }
        Ok(complete)
    }

    /// Makes the last, this and the next two months.
    pub(crate) async fn keep(&mut self, client: &Client, now: UnixNanos) -> Result<bool, Error> {
        let this = Month::of(now);
        let complete = self.ensure(client, (-1..=AHEAD).map(|by| this.plus(by))).await?;
        let ready = (0..).take_while(|by| self.ready.contains(&this.plus(*by))).count();
        #[allow(clippy::cast_precision_loss)]
        ::metrics::gauge!(PARTITIONS_READY).set(ready as f64);
        Ok(complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_utc() {
        // 2018-02-28T23:59:59.999999999Z and the next nanosecond.
        let last = UnixNanos::from_nanos(1_519_862_399_999_999_999);
        assert_eq!(Month::of(last).partition(), "greek_ticks_2018_02");
        let first = UnixNanos::from_nanos(last.as_nanos() + 1);
        assert_eq!(Month::of(first).partition(), "greek_ticks_2018_03");
        assert_eq!(Month::of(UnixNanos::from_nanos(-1)).to_string(), "1969-12");
    }

    #[test]
    fn years_end_in_december() {
        let november: Month = "2026-11".parse().unwrap();
        assert_eq!(november.plus(1).first_day(), "2026-12-01 00:00:00+00");
        assert_eq!(november.plus(2).to_string(), "2027-01");
        assert_eq!(november.plus(-11).to_string(), "2025-12");
        assert_eq!(month_of_partition(&november.partition()), Some(november));
    }

    #[test]
    fn other_names_are_no_months() {
        for name in ["greek_ticks_default", "greek_ticks_2026_13", "greek_ticks_2026", "other_2026_01", "greek_ticks_"]
        {
            assert_eq!(month_of_partition(name), None, "{name}");
        }
    }
}
