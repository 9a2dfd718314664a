//! The minutes of the book that are stored, and which of them are still missing.
//!
//! A closed minute is worked out once (`portfolio_minutes`), and questions about days of a book are answered from it. What is
//! stored later than that and belongs to the minute takes it away, in the same transaction: so the stored minutes never
//! say anything else than the rows do. One session both writes what is new and stores the minutes, one after the other.
//! Others that write beside it, what earlier runs have left, keep it from storing minutes meanwhile.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_postgres::{Client, Error};

use super::rows::Parts;
use super::touched::{self, CARRIED, MINUTE, Stretch};
use crate::failure::chain;

const STORE: &str = concat!(include_str!("../queries/lines.sql"), include_str!("minutes.sql"));

/// `greekd` in ASCII, then 5: held by whoever stores minutes, and shared by those that write without knowing which there are.
const MINUTES_LOCK: i64 = 0x6772_6565_6b64_0005;

/// The minute since 1970 from which on something is held and something is known. No index has what is held in this order.
const FIRST: &str = "SELECT floor(extract(epoch FROM greatest(held.since, valued.since)) / 60)::bigint \
    FROM (SELECT min(observed_at) AS since FROM positions_history) held, \
         (SELECT min(event_time) AS since FROM greek_ticks) valued \
    WHERE held.since IS NOT NULL AND valued.since IS NOT NULL";

/// The minute since 1970 that is under way.
const NOW: &str = "SELECT floor(extract(epoch FROM statement_timestamp()) / 60)::bigint";

/// The newest minutes that are not stored, of those from $1 to before $2. LIMIT 1 has it look for one after the other, and
/// stop when there are enough, whatever the planner knows of the table.
const MISSING: &str = "SELECT floor(extract(epoch FROM m) / 60)::bigint \
    FROM generate_series($2::timestamptz - interval '1 minute', $1::timestamptz, interval '-1 minute') m \
    LEFT JOIN LATERAL (SELECT true AS is_stored FROM portfolio_minutes p WHERE p.minute = m AND p.underlying = '' \
                       AND p.account_id = '' AND p.broker = '' LIMIT 1) stored ON true \
    WHERE stored.is_stored IS NULL LIMIT $3";

/// The oldest stored minute from $1 to before $2.
const OLDEST: &str = "SELECT floor(extract(epoch FROM min(minute)) / 60)::bigint FROM portfolio_minutes \
    WHERE minute >= $1 AND minute < $2";

const FORGET: &str = "DELETE FROM portfolio_minutes p \
    USING unnest($1::timestamptz[], $2::timestamptz[]) AS touched(since, until) \
    WHERE p.minute >= touched.since AND p.minute < touched.until";

const CARRIED_MICROS: i64 = CARRIED * MINUTE * 1_000_000;

/// A minute is stored when it has ended at least so many minutes ago: what comes a little late need not take it away.
const SETTLED: i64 = 1;
/// So many minutes are looked through at once.
const WINDOW: i64 = 1_440;
/// More than these are taken away before the transaction that touches them, so many at once.
const PIECE: i64 = 240;
/// At most so many are stored at once.
const MOST: i64 = 64;
/// Meanwhile no row is stored: no more at once than are likely to be done by then.
const LONG: Duration = Duration::from_millis(20);
const EVERY: Duration = Duration::from_secs(60);
/// After a refusal, as by a role without the right to; and so often all is looked through for what others took away.
const SELDOM: Duration = Duration::from_secs(3600);

/// What a session knows of the stored minutes.
#[derive(Debug)]
pub(super) struct Minutes {
    /// Whether this session stores them; else another one may, at any moment.
    ours: bool,
    /// Before it nothing is stored, nor needs to be; unknown before the first search, and as long as there is nothing.
    first: Option<i64>,
    /// No minute from here on is stored.
    until: i64,
    /// Where minutes may be missing, in the order of time.
    missing: Vec<Stretch>,
    /// When all were last looked for.
    searched_at: Option<Instant>,
    at_once: i64,
}

impl Minutes {
    /// What is stored already.
    pub(super) async fn load(client: &Client, ours: bool) -> Result<Self, Error> {
        let sql = "SELECT floor(extract(epoch FROM max(minute)) / 60)::bigint FROM portfolio_minutes";
        let last: Option<i64> = client.query_one(sql, &[]).await?.get(0);
        Ok(Self::new(ours, last.map_or(i64::MIN, |last| last + 1)))
    }

    fn new(ours: bool, until: i64) -> Self {
        Self { ours, first: None, until, missing: Vec::new(), searched_at: None, at_once: 1 }
    }

    /// Whether stored minutes may say something else once these are stored.
    pub(super) fn touches(&self, parts: &Parts<'_>) -> bool {
        touched::earliest(parts).is_some_and(|since| self.may_have(since))
    }

    /// Whether a minute from this one on may be stored.
    fn may_have(&self, since: i64) -> bool {
        !self.ours || since < self.until
    }

    /// The stretches in which stored minutes may say something else once these are stored.
    async fn touched(&self, client: &Client, parts: &Parts<'_>) -> Result<Vec<Stretch>, Error> {
        if !self.touches(parts) {
            return Ok(Vec::new());
        }
        let mut touched = touched::by_rows(parts);
        touched.extend(touched::by_gaps(client, parts, |since| self.may_have(since)).await?);
        touched.retain(|stretch| self.may_have(stretch.since));
        Ok(joined(touched))
    }

    /// Takes away the minutes that are touched by what the transaction under way stores, and says which.
    pub(super) async fn forget(&self, client: &Client, parts: &Parts<'_>) -> Result<Vec<Stretch>, Error> {
        if !self.touches(parts) {
            return Ok(Vec::new());
        }
        if !self.ours {
            client.execute("SELECT pg_advisory_xact_lock_shared($1)", &[&MINUTES_LOCK]).await?;
        }
        let touched = self.touched(client, parts).await?;
        if !touched.is_empty() {
            let since: Vec<_> = touched.iter().map(|stretch| timestamp(stretch.since)).collect();
            let until: Vec<_> = touched.iter().map(|stretch| timestamp(stretch.until)).collect();
            client.execute(FORGET, &[&since, &until]).await?;
        }
        Ok(touched)
    }

    /// Before a transaction that touches many minutes: takes them away in pieces, each a transaction of its own. In one
    /// statement they could take longer than it may, for ever. Whatever comes of that transaction, they are worked out
    /// anew; and should this be interrupted, the next try has less to do.
    pub(super) async fn forget_many(&mut self, client: &Client, parts: &Parts<'_>) -> Result<(), Error> {
        for stretch in self.touched(client, parts).await? {
            let until = if self.ours { stretch.until.min(self.until) } else { stretch.until };
            if until.saturating_sub(stretch.since) <= PIECE {
                continue;
            }
            // Noted first, since what is gone must be on the list wherever this ends.
            self.forgotten(vec![stretch]);
            let mut since = stretch.since;
            while let Some(oldest) = oldest(client, since, until).await? {
                since = until.min(oldest + PIECE);
                client.execute(FORGET, &[&vec![timestamp(oldest)], &vec![timestamp(since)]]).await?;
            }
        }
        Ok(())
    }

    /// The transaction that took them away is committed.
    pub(super) fn forgotten(&mut self, touched: Vec<Stretch>) {
        for stretch in touched.into_iter().filter(|_| self.ours) {
            self.missing.push(Stretch { until: stretch.until.min(self.until), ..stretch });
            if stretch.until >= self.until {
                self.until = self.until.min(stretch.since);
            }
        }
        self.tidy();
    }

    /// Puts what may be missing in the order of time, without what lies before everything.
    fn tidy(&mut self) {
        let first = self.first.unwrap_or(i64::MAX);
        self.missing.iter_mut().for_each(|stretch| stretch.since = stretch.since.max(first));
        self.missing.retain(|stretch| stretch.since < stretch.until);
        self.missing = joined(std::mem::take(&mut self.missing));
    }

    /// Stores the newest minutes that are missing, a few at once, and says when to do so again: with one in `share` of the
    /// time until none is missing.
    ///
    /// # Errors
    /// Only when the connection is of no use any more.
    pub(super) async fn store(&mut self, client: &Client, share: u32) -> Result<Duration, Error> {
        let began = Instant::now();
        match self.step(client).await {
            Ok(()) if self.missing.is_empty() => Ok(EVERY),
            Ok(()) => Ok(began.elapsed().saturating_mul(share.max(1))),
            Err(error) if client.is_closed() || error.code().is_none() => Err(error),
            Err(error) => {
                client.batch_execute("ROLLBACK").await?;
                tracing::warn!(error = chain(&error), "minutes of the book are not stored: its history answers later");
                // What the step has taken off the list comes back with the next search.
                (self.searched_at, self.at_once) = (None, 1);
                Ok(SELDOM)
            }
        }
    }

    async fn step(&mut self, client: &Client) -> Result<(), Error> {
        self.look_for_more(client).await?;
        let Some(newest) = self.missing.pop() else { return Ok(()) };
        let window = Stretch { since: newest.since.max(newest.until - WINDOW), ..newest };
        let rows = client.query(MISSING, &[&timestamp(window.since), &timestamp(window.until), &self.at_once]).await?;
        let missing: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let began = Instant::now();
        let is_free = missing.is_empty() || store(client, &missing).await?;
        let rest = match missing.last() {
            _ if !is_free => newest,
            Some(oldest) if i64::try_from(missing.len()) == Ok(self.at_once) => Stretch { until: *oldest, ..newest },
            _ => Stretch { until: window.since, ..newest },
        };
        if rest.since < rest.until {
            self.missing.push(rest);
        }
        if is_free {
            self.at_once = at_once(self.at_once, missing.len(), began.elapsed());
        }
        Ok(())
    }

    /// Minutes that have ended since the last time; once in a while all of them.
    async fn look_for_more(&mut self, client: &Client) -> Result<(), Error> {
        let searches = self.first.is_none() || self.searched_at.is_none_or(|at| at.elapsed() >= SELDOM);
        if searches {
            self.first = client.query_opt(FIRST, &[]).await?.map(|row| row.get(0));
            self.searched_at = Some(Instant::now());
        }
        let Some(first) = self.first else { return Ok(()) };
        let settled = client.query_one(NOW, &[]).await?.get::<_, i64>(0) - SETTLED;
        let since = if searches { first } else { self.until };
        self.missing.push(Stretch { since, until: settled });
        // Before they are: what comes for them from now on takes them away.
        self.until = self.until.max(settled);
        self.tidy();
        Ok(())
    }
}

/// How many minutes to store at once after `before`, when the last `stored` took so long together. That many were quick
/// says nothing of minutes that are dearer: twice as many at most.
fn at_once(before: i64, stored: usize, took: Duration) -> i64 {
    let fit = LONG.as_micros() * (stored as u128) / took.as_micros().max(1);
    match stored {
        0 => before,
        _ => i64::try_from(fit).unwrap_or(MOST).clamp(1, MOST.min(before * 2)),
    }
}

/// Works out these minutes and stores them. `false` when somebody else is writing to the past.
async fn store(client: &Client, minutes: &[i64]) -> Result<bool, Error> {
    // Each statement must see what was committed before it began.
    client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '5s'").await?;
    let free = client.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&MINUTES_LOCK]).await?.get(0);
    if free {
        let begin: Vec<_> = minutes.iter().map(|minute| timestamp(*minute)).collect();
        let end: Vec<_> = minutes.iter().map(|minute| timestamp(minute + 1)).collect();
        let (pictured, all) = (MINUTE * 1_000_000, None::<&str>);
        client.execute(STORE, &[&begin, &end, &pictured, &CARRIED_MICROS, &all, &all, &all, &all]).await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(free)
}

/// The oldest minute stored in this stretch.
async fn oldest(client: &Client, since: i64, until: i64) -> Result<Option<i64>, Error> {
    Ok(client.query_one(OLDEST, &[&timestamp(since), &timestamp(until)]).await?.get(0))
}

/// In the order of time, and those that meet made one.
fn joined(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    stretches.sort_unstable();
    stretches.dedup_by(|next, last| {
        let meet = next.since <= last.until;
        if meet {
            last.until = last.until.max(next.until);
        }
        meet
    });
    stretches
}

/// The beginning of a minute, or the end of time.
fn timestamp(minute: i64) -> Timestamp {
    minute.checked_mul(MINUTE).and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gap that began long before anything is stored, or a day that was wrong, must not put a minute of every year since
    /// on the list.
    #[test]
    fn minutes_before_everything_are_not_missing() {
        for (touched, missing) in [
            (Stretch { since: 0, until: i64::MAX }, vec![Stretch { since: 900, until: 1_000 }]),
            (Stretch { since: 880, until: 905 }, vec![Stretch { since: 900, until: 905 }]),
            (Stretch { since: 880, until: 896 }, vec![]),
        ] {
            let mut minutes = Minutes { first: Some(900), ..Minutes::new(true, 1_000) };
            minutes.forgotten(vec![touched]);
            assert_eq!(minutes.missing, missing, "{touched:?}");
        }
    }

    /// What is stored at once keeps rows waiting: it follows the last minutes, whatever was cheap before them.
    #[test]
    fn so_many_at_once_as_are_done_in_time() {
        let took = Duration::from_millis;
        for (before, stored, took, next) in [
            (1, 1, took(1), 2),
            (32, 32, took(3), 64),
            (64, 64, took(1), 64),
            (64, 1, took(12), 1),
            (64, 1, took(5), 4),
            (8, 8, took(400), 1),
            (1, 1, took(400), 1),
            (1, 1, Duration::ZERO, 2),
            // Those that were there already have cost nothing.
            (1, 0, took(1), 1),
            (5, 0, took(400), 5),
        ] {
            assert_eq!(at_once(before, stored, took), next, "{before}, {stored}, {took:?}");
        }
    }
}
