//! What the book's figures were, over time.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use greeks_model::UnixNanos;
use greeks_model::jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::gaps::{GapRow, JOURNAL};
use super::pool::{Queries, QueryError};

const SQL: &str = concat!(include_str!("lines.sql"), include_str!("history.sql"));
const STORED: &str = include_str!("history_stored.sql");

/// The most gaps told of beside one history.
const GAPS: u32 = 1_000;

const MINUTE: Duration = Duration::from_secs(60);

/// A position-signed figure: value * quantity * multiplier, summed over what was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// In units of the underlying.
    Delta,
    /// Delta times the price of the underlying.
    DeltaDollars,
    /// By how much delta dollars change when the underlying moves by 1 %, from gamma alone: gamma * price * price / 100.
    Gamma1Pct,
    /// Money per calendar day.
    Theta,
    /// Money per 1 volatility point.
    Vega,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 5] = [Self::Delta, Self::DeltaDollars, Self::Gamma1Pct, Self::Theta, Self::Vega];

    /// Its name: that of the column of `v_portfolio_1m`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::DeltaDollars => "delta_dollars",
            Self::Gamma1Pct => "gamma_1pct",
            Self::Theta => "theta",
            Self::Vega => "vega",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not the name of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of delta, delta_dollars, gamma_1pct, theta, vega")]
pub struct InvalidMetric;

impl FromStr for Metric {
    type Err = InvalidMetric;

    fn from_str(text: &str) -> Result<Self, InvalidMetric> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == text).ok_or(InvalidMetric)
    }
}

/// Which figure of which part of the book, from when to when, in steps of what length.
///
/// ```
/// use std::time::Duration;
/// use greeks_model::UnixNanos;
/// use greeks_store::{HistoryFilter, Metric};
///
/// let (from, to) = (UnixNanos::from_millis(1_763_650_800_000), UnixNanos::from_millis(1_763_674_200_000));
/// let mut filter = HistoryFilter::new(Metric::Theta, from, to, Duration::from_secs(60));
/// filter.underlying = Some("SPX".into());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryFilter {
    /// The figure.
    pub metric: Metric,
    /// The broker; `None` does not restrict, here and below.
    pub broker: Option<String>,
    /// The account, as the broker writes it.
    pub account_id: Option<String>,
    /// The contract.
    pub contract_key: Option<String>,
    /// The underlying.
    pub underlying: Option<String>,
    /// The first bucket holds this moment.
    pub from: UnixNanos,
    /// The last bucket begins before this moment.
    pub to: UnixNanos,
    /// The length of a bucket; buckets begin at multiples of it since 1970 in UTC. One of several minutes is a picture of
    /// its last minute, if the minutes before are within the lookback; a longer one of all its values.
    pub step: Duration,
    /// How much older than the minute or the bucket pictured a value may be. More covers quiet contracts, and shows old
    /// values for longer.
    pub lookback: Duration,
}

impl HistoryFilter {
    /// The most buckets of one history.
    pub const MAX_POINTS: u32 = 3_000;
    /// The shortest step.
    pub const MIN_STEP: Duration = Duration::from_secs(1);
    /// The longest look back.
    pub const MAX_LOOKBACK: Duration = Duration::from_secs(7 * 86_400);
    /// That of `v_portfolio_1m`.
    pub const DEFAULT_LOOKBACK: Duration = Duration::from_secs(15 * 60);

    /// The whole book, with the lookback of `v_portfolio_1m`.
    pub fn new(metric: Metric, from: UnixNanos, to: UnixNanos, step: Duration) -> Self {
        Self {
            metric,
            broker: None,
            account_id: None,
            contract_key: None,
            underlying: None,
            from,
            to,
            step,
            lookback: Self::DEFAULT_LOOKBACK,
        }
    }

    /// The buckets asked for.
    fn buckets(&self) -> Result<Buckets, InvalidHistory> {
        if self.step < Self::MIN_STEP {
            return Err(InvalidHistory::Step);
        }
        if self.lookback > Self::MAX_LOOKBACK {
            return Err(InvalidHistory::Lookback);
        }
        if self.from >= self.to {
            return Err(InvalidHistory::Range);
        }
        let (from, to) = (i128::from(self.from.as_nanos()), i128::from(self.to.as_nanos()));
        // Whole microseconds, as PostgreSQL keeps them; no loss for a step that is one.
        let step = i128::try_from(self.step.as_micros()).map_err(|_| InvalidHistory::Step)? * 1_000;
        let first = from.div_euclid(step);
        // The last one that begins before `to`.
        let points = (to - 1).div_euclid(step) - first + 1;
        if points > i128::from(Self::MAX_POINTS) {
            return Err(InvalidHistory::TooMany { points: u64::try_from(points).unwrap_or(u64::MAX) });
        }
        let mut buckets = Buckets::default();
        for number in first..first + points {
            let begin = number * step;
            buckets.begin.push(timestamp(begin)?);
            buckets.end.push(timestamp(begin + step)?);
        }
        Ok(buckets)
    }

    /// Of how much at its end a bucket is a picture.
    fn pictured(&self) -> Duration {
        let of_minutes = self.step.as_nanos().is_multiple_of(MINUTE.as_nanos());
        if of_minutes && self.step - MINUTE <= self.lookback { MINUTE } else { self.step }
    }

    /// Whether what is stored by the minute answers it.
    fn is_of_minutes(&self) -> bool {
        self.pictured() == MINUTE && self.lookback == Self::DEFAULT_LOOKBACK && self.contract_key.is_none()
    }
}

/// What is wrong with a [`HistoryFilter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHistory {
    /// Nothing lies between `from` and `to`.
    #[error("from must lie before to")]
    Range,
    /// The step is shorter than [`HistoryFilter::MIN_STEP`].
    #[error("step must be at least 1 s")]
    Step,
    /// The lookback is longer than [`HistoryFilter::MAX_LOOKBACK`].
    #[error("lookback must be at most 7 days")]
    Lookback,
    /// Too many buckets.
    #[error(
        "that would be {points} points, {} are the most: take a longer step or a shorter range",
        HistoryFilter::MAX_POINTS
    )]
    TooMany {
        /// How many there would be.
        points: u64,
    },
    /// Beyond what can be stored.
    #[error("outside of the years 1677 to 2262")]
    Time,
}

/// A figure over time, and what could not be seen of it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// The buckets in the order of time; those that have not begun are left out.
    pub points: Vec<HistoryPoint>,
    /// Gaps that touch the time asked for, newest first, at most 1,000: those of the broker asked for, or of all, and those
    /// of which nobody knows whose they are.
    pub gaps: Vec<GapRow>,
}

/// What was held at the end of one bucket, or is now in the one that still runs.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct HistoryPoint {
    /// Where the bucket begins.
    pub at: UnixNanos,
    /// The sum over the lines in which it is known; `None` when it is in none. Zero when nothing was held, `None` when that
    /// is not known: before the first positions, and where no source was heard.
    pub value: Option<f64>,
    /// Lines in which it is known.
    pub covered: u32,
    /// Lines held. When fewer are covered the value is that of a part.
    pub held: u32,
}

/// In the order of time.
#[derive(Debug, Default, PartialEq)]
struct Buckets {
    begin: Vec<Timestamp>,
    end: Vec<Timestamp>,
}

impl Buckets {
    /// Those of which nothing is known yet.
    fn without(&self, known: &BTreeMap<Timestamp, HistoryPoint>) -> Self {
        let open = self.begin.iter().zip(&self.end).filter(|(begin, _)| !known.contains_key(begin));
        let (begin, end) = open.map(|(begin, end)| (*begin, *end)).unzip();
        Self { begin, end }
    }
}

impl Queries {
    /// A figure over time. A line counts while `positions_history` says that it is held, with its last value in the time that
    /// the bucket pictures or in the lookback before it; no value is carried through one in which its source was not heard
    /// at all.
    ///
    /// Steps of up to 16 minutes with the default lookback are read from the sums that are stored by the minute. What is not
    /// stored (the last minutes, another lookback, single contracts) costs one descent of an index per bucket and line held,
    /// some 15 µs each, however many rows are stored.
    ///
    /// # Errors
    /// [`QueryError::History`] when the filter asks for what cannot be; else as the database answers.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the question and nothing else.
    pub async fn history(&self, filter: &HistoryFilter) -> Result<History, QueryError> {
        let buckets = filter.buckets()?;
        let mut points = if filter.is_of_minutes() { self.stored(filter, &buckets).await? } else { BTreeMap::new() };
        let open = buckets.without(&points);
        if !open.begin.is_empty() {
            points.extend(self.worked_out(filter, &open).await?);
        }
        let sources = filter.broker.as_ref().map(|broker| vec![broker.clone(), JOURNAL.to_owned()]);
        let (from, to) = (buckets.begin.first().copied(), buckets.end.last().copied());
        let gaps = self.meeting(sources, from, to, GAPS).await?;
        Ok(History { points: points.into_values().collect(), gaps })
    }

    /// The buckets whose last minutes are stored.
    async fn stored(&self, filter: &HistoryFilter, buckets: &Buckets) -> Result<Points, QueryError> {
        let HistoryFilter { broker, account_id, underlying, .. } = filter;
        let minutes: Vec<_> = buckets.end.iter().map(|end| end.checked_sub(MINUTE).unwrap_or(*end)).collect();
        let whole = broker.is_none() && account_id.is_none() && underlying.is_none();
        let (metric, underlying) = (filter.metric.as_str(), underlying.as_deref().unwrap_or_default());
        let params: [&(dyn ToSql + Sync); 7] =
            [&buckets.begin, &minutes, &metric, broker, account_id, &underlying, &whole];
        points(&self.rows(STORED, &params).await?)
    }

    /// Buckets from the rows themselves.
    async fn worked_out(&self, filter: &HistoryFilter, buckets: &Buckets) -> Result<Points, QueryError> {
        let HistoryFilter { broker, account_id, contract_key, underlying, .. } = filter;
        let (pictured, lookback) = (micros(filter.pictured()), micros(filter.lookback));
        let metric = filter.metric.as_str();
        let params: [&(dyn ToSql + Sync); 9] =
            [&buckets.begin, &buckets.end, &pictured, &lookback, broker, account_id, contract_key, underlying, &metric];
        points(&self.rows(SQL, &params).await?)
    }
}

type Points = BTreeMap<Timestamp, HistoryPoint>;

fn points(rows: &[Row]) -> Result<Points, QueryError> {
    let point = |row: &Row| {
        let (at, covered, held): (Timestamp, i64, i64) = (row.try_get(0)?, row.try_get(2)?, row.try_get(3)?);
        let point = HistoryPoint {
            at: UnixNanos::from_timestamp(at),
            value: row.try_get(1)?,
            covered: u32::try_from(covered).unwrap_or(u32::MAX),
            held: u32::try_from(held).unwrap_or(u32::MAX),
        };
        Ok((at, point))
    };
    rows.iter().map(point).collect()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn timestamp(nanos: i128) -> Result<Timestamp, InvalidHistory> {
    let nanos = i64::try_from(nanos).map_err(|_| InvalidHistory::Time)?;
    Ok(UnixNanos::from_micros(UnixNanos::from_nanos(nanos).as_micros()).to_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(from: i64, to: i64, step: u64) -> HistoryFilter {
        let millis = |seconds: i64| UnixNanos::from_millis(seconds * 1_000);
        HistoryFilter::new(Metric::Delta, millis(from), millis(to), Duration::from_secs(step))
    }

    fn seconds(times: &[Timestamp]) -> Vec<i64> {
        times.iter().map(|time| time.as_second()).collect()
    }

    #[test]
    fn buckets_begin_at_multiples_of_the_step_and_cover_the_range() {
        let buckets = filter(61, 180, 60).buckets().unwrap();
        assert_eq!((seconds(&buckets.begin), seconds(&buckets.end)), (vec![60, 120], vec![120, 180]));
        assert_eq!(seconds(&filter(60, 181, 60).buckets().unwrap().begin), [60, 120, 180]);
        assert_eq!(seconds(&filter(-1, 1, 60).buckets().unwrap().begin), [-60, 0], "before 1970 too");
    }

    #[test]
    fn what_cannot_be_asked_says_why() {
        assert_eq!(filter(60, 60, 60).buckets(), Err(InvalidHistory::Range));
        assert_eq!(filter(60, 0, 60).buckets(), Err(InvalidHistory::Range));
        assert_eq!(filter(0, 60, 0).buckets(), Err(InvalidHistory::Step));
        assert_eq!(filter(0, 3_000, 1).buckets().unwrap().begin.len(), 3_000);
        assert_eq!(filter(0, 3_001, 1).buckets(), Err(InvalidHistory::TooMany { points: 3_001 }));
        let mut long = filter(0, 60, 60);
        long.lookback = HistoryFilter::MAX_LOOKBACK + Duration::from_nanos(1);
        assert_eq!(long.buckets(), Err(InvalidHistory::Lookback));
        let mut ever = filter(0, 1, 1);
        (ever.from, ever.to) = (UnixNanos::from_nanos(i64::MIN), UnixNanos::from_nanos(i64::MAX));
        assert!(matches!(ever.buckets(), Err(InvalidHistory::TooMany { points }) if points > 18_000_000_000));
        (ever.step, ever.lookback) = (Duration::MAX, Duration::ZERO);
        assert_eq!(ever.buckets(), Err(InvalidHistory::Time));
        let text = InvalidHistory::TooMany { points: 3_001 }.to_string();
        assert_eq!(text, "that would be 3001 points, 3000 are the most: take a longer step or a shorter range");
    }

    #[test]
    fn metrics_read_back() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse(), Ok(metric));
        }
        assert_eq!("rho".parse::<Metric>(), Err(InvalidMetric));
    }
}
