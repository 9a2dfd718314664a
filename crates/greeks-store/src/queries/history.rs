//! What the book's figures were, over time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use greeks_model::UnixNanos;
use greeks_model::jiff::Timestamp;

use super::gaps::{GapRow, JOURNAL};
use super::pool::{Queries, QueryError};

const SQL: &str = include_str!("history.sql");

/// The most gaps told of beside one history.
const GAPS: u32 = 1_000;

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
    /// The length of a bucket; buckets begin at multiples of it since 1970 in UTC.
    pub step: Duration,
    /// In how much later a bucket a value still counts. More covers quiet contracts, and shows old values for longer.
    pub lookback: Duration,
}

impl HistoryFilter {
    /// The most buckets of one history.
    pub const MAX_POINTS: u32 = 2_000;
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
        let lookback = i128::try_from(self.lookback.as_nanos()).map_err(|_| InvalidHistory::Lookback)?;
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
            buckets.since.push(timestamp(begin - lookback)?);
        }
        Ok(buckets)
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

#[derive(Debug, Default, PartialEq)]
struct Buckets {
    begin: Vec<Timestamp>,
    end: Vec<Timestamp>,
    since: Vec<Timestamp>,
}

impl Queries {
    /// A figure over time. A line counts while `positions_history` says that it is held, with its last value in the bucket
    /// or in the lookback before it; no value is carried through a bucket in which its source was not heard at all.
    ///
    /// Costs one descent of an index per bucket and line held, some 15 µs each, however many rows are stored.
    ///
    /// # Errors
    /// [`QueryError::History`] when the filter asks for what cannot be; else as the database answers.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the question and nothing else.
    pub async fn history(&self, filter: &HistoryFilter) -> Result<History, QueryError> {
        let Buckets { begin, end, since } = filter.buckets()?;
        let HistoryFilter { broker, account_id, contract_key, underlying, .. } = filter;
        let metric = filter.metric.as_str();
        let rows =
            self.rows(SQL, &[&begin, &end, &since, &metric, broker, account_id, contract_key, underlying]).await?;
        let points = rows
            .iter()
            .map(|row| {
                let (covered, held): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
                Ok(HistoryPoint {
                    at: row.try_get(0).map(UnixNanos::from_timestamp)?,
                    value: row.try_get(1)?,
                    covered: u32::try_from(covered).unwrap_or(u32::MAX),
                    held: u32::try_from(held).unwrap_or(u32::MAX),
                })
            })
            .collect::<Result<_, QueryError>>()?;
        let sources = broker.as_ref().map(|broker| vec![broker.clone(), JOURNAL.to_owned()]);
        let (from, to) = (begin.first().copied(), end.last().copied());
        let gaps = self.meeting(sources, from, to, GAPS).await?;
        Ok(History { points, gaps })
    }
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
        assert_eq!(seconds(&buckets.since), [60 - 900, 120 - 900]);
        assert_eq!(seconds(&filter(60, 181, 60).buckets().unwrap().begin), [60, 120, 180]);
        assert_eq!(seconds(&filter(-1, 1, 60).buckets().unwrap().begin), [-60, 0], "before 1970 too");
    }

    #[test]
    fn what_cannot_be_asked_says_why() {
        assert_eq!(filter(60, 60, 60).buckets(), Err(InvalidHistory::Range));
        assert_eq!(filter(60, 0, 60).buckets(), Err(InvalidHistory::Range));
        assert_eq!(filter(0, 60, 0).buckets(), Err(InvalidHistory::Step));
        assert_eq!(filter(0, 2_000, 1).buckets().unwrap().begin.len(), 2_000);
        assert_eq!(filter(0, 2_001, 1).buckets(), Err(InvalidHistory::TooMany { points: 2_001 }));
        let mut long = filter(0, 60, 60);
        long.lookback = HistoryFilter::MAX_LOOKBACK + Duration::from_nanos(1);
        assert_eq!(long.buckets(), Err(InvalidHistory::Lookback));
        let mut ever = filter(0, 1, 1);
        (ever.from, ever.to) = (UnixNanos::from_nanos(i64::MIN), UnixNanos::from_nanos(i64::MAX));
        assert!(matches!(ever.buckets(), Err(InvalidHistory::TooMany { points }) if points > 18_000_000_000));
        (ever.step, ever.lookback) = (Duration::MAX, Duration::ZERO);
        assert_eq!(ever.buckets(), Err(InvalidHistory::Time));
        let text = InvalidHistory::TooMany { points: 2_001 }.to_string();
        assert_eq!(text, "that would be 2001 points, 2000 are the most: take a longer step or a shorter range");
    }

    #[test]
    fn metrics_read_back() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse(), Ok(metric));
        }
        assert_eq!("rho".parse::<Metric>(), Err(InvalidMetric));
    }
}
