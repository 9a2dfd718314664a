//! A book to which everything happens, and what its history should be: counted anew from its records, by other means.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::book::{CALL, INDEX, PUT, clock_step, gap, held, second, series, tick};
use crate::support::Database;
use greeks_model::{GapReason, GreekSnapshot, Record, UnixNanos, jiff::Timestamp};
use greeks_store::{HistoryFilter, HistoryPoint, Metric, Queries};

pub(crate) const MINUTE: u64 = 60;
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// Which of the rules the recount follows.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) closes: bool,
    pub(crate) silence: bool,
    pub(crate) lookback: bool,
    pub(crate) order: bool,
}

pub(crate) const RULES: Rules = Rules { closes: true, silence: true, lookback: true, order: true };

/// Broker, account, contract.
pub(crate) type Line = (String, String, String);

/// What is held of a line, and its values where they count.
struct Held {
    units: f64,
    tick: Option<GreekSnapshot>,
}

/// A bucket as it should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    value: Option<f64>,
    covered: u32,
    held: u32,
}

/// Two brokers with two accounts each.
pub(crate) struct Book {
    pub(crate) records: Vec<Record>,
}

impl Book {
    pub(crate) fn random(seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = move |n: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % n).unwrap()
        };
        let mut records = Vec::new();
        for minute in 0..60_u64 {
            for (broker, account) in [("ibkr", "U1"), ("ibkr", "U2"), ("tastytrade", "T1"), ("tastytrade", "T2")] {
                if below(6) == 0 {
                    let mut open =
                        [CALL, PUT, INDEX].map(|contract| (contract, [0.0, 0.0, 1.0, -2.0][below(4)])).to_vec();
                    open.retain(|(_, quantity)| *quantity != 0.0);
                    records.push(held(broker, account, minute * MINUTE + below(60) as u64, &open));
                }
                for contract in [CALL, PUT, INDEX] {
                    if below(8) == 0 {
                        let line = series(broker, account, contract);
                        let late = if below(4) == 0 { 300 } else { 0 };
                        let time = (minute * MINUTE + below(60) as u64).saturating_sub(late);
                        let mut value = |of: f64| {
                            (below(10) != 0)
                                .then(|| of * (1.0 + f64::from(u32::try_from(below(1000)).unwrap()) / 997.0))
                        };
                        let values = [value(0.5), value(0.01), value(-1.0), value(0.1), value(200.0)];
                        records.push(tick(&line, time, values));
                        if below(5) == 0 {
                            // Another one of the same moment: the later counts.
                            records.push(tick(&line, time, values.map(|value| value.map(|value| -value))));
                        }
                    }
                }
            }
            if below(8) == 0 {
                let from = minute * MINUTE + below(60) as u64;
                let source = ["ibkr", "tastytrade", "journal"][below(3)];
                records.push(gap(source, from, Some(from + below(400) as u64)));
            }
            if minute % 9 == 4 {
                records.push(clock_step("ibkr", minute * MINUTE + 20, minute * MINUTE + 200));
            }
        }
        records.push(gap("tastytrade", 57 * MINUTE, None));
        Self { records }
    }

    /// The same book, so much later.
    pub(crate) fn later(mut self, by: Duration) -> Self {
        for record in &mut self.records {
            let times: &mut [&mut UnixNanos] = match record {
                Record::Positions(told) => &mut [&mut told.observed_at],
                Record::Snapshot(tick) => &mut [&mut tick.event_time, &mut tick.received_at],
                Record::Gap(gap) => {
                    gap.to = gap.to.map(|to| to.saturating_add(by));
                    &mut [&mut gap.from]
                }
                _ => &mut [],
            };
            times.iter_mut().for_each(|time| **time = time.saturating_add(by));
        }
        self
    }

    /// The lines held at the end of the bucket, and the brokers that have told of any.
    fn lines(
        &self,
        (from, until): (UnixNanos, UnixNanos),
        filter: &HistoryFilter,
        rules: Rules,
    ) -> (BTreeMap<Line, Held>, BTreeSet<String>) {
        let wanted = |line: &Line, underlying: &str| {
            let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
            is(&filter.broker, &line.0)
                && is(&filter.account_id, &line.1)
                && is(&filter.contract_key, &line.2)
                && is(&filter.underlying, underlying)
        };
        let (mut held, mut known) = (BTreeMap::<Line, f64>::new(), BTreeSet::new());
        let mut last: BTreeMap<Line, &GreekSnapshot> = BTreeMap::new();
        for record in &self.records {
            match record {
                Record::Positions(told) if told.observed_at < until => {
                    if rules.closes {
                        held.retain(|line, _| line.1 != told.account_id.as_str());
                    }
                    for (series, quantity) in &told.positions {
                        let line = line_of(series);
                        if wanted(&line, &series.underlying) {
                            known.insert(line.0.clone());
                            let multiplier = if line.2 == INDEX { 50.0 } else { 100.0 };
                            held.insert(line, quantity * multiplier);
                        }
                    }
                }
                Record::Snapshot(tick) if tick.event_time < until => {
                    let line = line_of(&tick.series);
                    let alive = tick.event_time.saturating_add(filter.lookback) >= from || !rules.lookback;
                    let newer = last.get(&line).is_none_or(|known| !rules.order || tick.event_time >= known.event_time);
                    if alive && newer {
                        last.insert(line, tick);
                    }
                }
                _ => {}
            }
        }
        let lines = held.into_iter().map(|(line, units)| {
            let heard = !rules.silence || !self.silent(&line.0, from, until);
            let tick = last.get(&line).filter(|tick| tick.event_time >= from || heard).map(|tick| (*tick).clone());
            (line, Held { units, tick })
        });
        (lines.collect(), known)
    }

    /// Whether gaps, one after the other, cover the bucket.
    fn silent(&self, broker: &str, from: UnixNanos, until: UnixNanos) -> bool {
        let mut gaps: Vec<_> = self
            .records
            .iter()
            .filter_map(|record| match record {
                Record::Gap(gap) => Some(gap).filter(|gap| {
                    [broker, "journal"].contains(&gap.source.as_str()) && gap.reason != GapReason::ClockStep
                }),
                _ => None,
            })
            .collect();
        gaps.sort_by_key(|gap| gap.from);
        let reach = gaps
            .iter()
            .filter(|gap| gap.from <= until)
            .fold(from, |reach, gap| if gap.from <= reach { reach.max(gap.to.unwrap_or(until)) } else { reach });
        reach >= until
    }

    pub(crate) fn points(&self, filter: &HistoryFilter, rules: Rules) -> Vec<Point> {
        let step = filter.step;
        let nanos = i64::try_from(step.as_nanos()).unwrap();
        let first = UnixNanos::from_nanos(filter.from.as_nanos() / nanos * nanos);
        let mut buckets = std::iter::successors(Some(first), |from| Some(from.saturating_add(step)));
        let mut points = Vec::new();
        while let Some(from) = buckets.next().filter(|from| *from < filter.to) {
            let until = from.saturating_add(step);
            // Of a few minutes the last one counts.
            let of_minutes =
                step.as_secs().is_multiple_of(MINUTE) && step <= filter.lookback + Duration::from_secs(MINUTE);
            let since = if of_minutes { from.saturating_add(step - Duration::from_secs(MINUTE)) } else { from };
            let (lines, known) = self.lines((since, until), filter, rules);
            let values: Vec<f64> =
                lines.values().filter_map(|held| Some(held.units * value(held, filter.metric)?)).collect();
            let flat = known.iter().any(|broker| !rules.silence || !self.silent(broker, since, until)).then_some(0.0);
            points.push(Point {
                value: match (lines.is_empty(), values.is_empty()) {
                    (true, _) => flat,
                    (false, true) => None,
                    (false, false) => Some(values.iter().sum()),
                },
                covered: u32::try_from(values.len()).unwrap(),
                held: u32::try_from(lines.len()).unwrap(),
            });
        }
        points
    }
}

fn line_of(series: &greeks_model::Series) -> Line {
    (series.broker.to_string(), series.account_id.as_str().to_owned(), series.contract.to_string())
}

fn value(held: &Held, metric: Metric) -> Option<f64> {
    let tick = held.tick.as_ref()?;
    match metric {
        Metric::Delta => tick.delta,
        Metric::DeltaDollars => Some(tick.delta? * tick.underlying_price?),
        Metric::Gamma1Pct => Some(tick.gamma? * tick.underlying_price?.powi(2) / 100.0),
        Metric::Theta => tick.theta,
        Metric::Vega => tick.vega,
        other => panic!("{other}"),
    }
}

fn near(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
        (a, b) => a == b,
    }
}

pub(crate) fn alike(a: &[Point], b: &[Point]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| near(a.value, b.value) && (a.covered, a.held) == (b.covered, b.held))
}

/// The whole hour, by the minute, for every metric, for parts of the book, with several steps and lookbacks.
pub(crate) fn questions() -> Vec<HistoryFilter> {
    let whole = |metric, step| HistoryFilter::new(metric, second(0), second(3_600), Duration::from_secs(step));
    let mut questions: Vec<_> = Metric::ALL.into_iter().map(|metric| whole(metric, MINUTE)).collect();
    for step in [20, 300, 960, 1_020, 1_800] {
        questions.push(whole(Metric::Delta, step));
    }
    for lookback in [0, 60, 600, 3_600] {
        let mut filter = whole(Metric::Theta, 30);
        filter.lookback = Duration::from_secs(lookback);
        questions.push(filter);
    }
    let mut part = |set: fn(&mut HistoryFilter)| {
        let mut filter = whole(Metric::DeltaDollars, MINUTE);
        set(&mut filter);
        questions.push(filter);
    };
    part(|filter| filter.broker = Some("tastytrade".into()));
    part(|filter| filter.account_id = Some("U2".into()));
    part(|filter| filter.contract_key = Some(INDEX.into()));
    part(|filter| filter.underlying = Some("AAPL".into()));
    part(|filter| filter.broker = Some("nobody".into()));
    questions
}

/// Panics unless the history says what a recount finds.
pub(crate) async fn compare(book: &Book, queries: &Queries, filter: &HistoryFilter, when: &str) -> Vec<Point> {
    let history = queries.history(filter).await.unwrap();
    let point = |point: &HistoryPoint| Point { value: point.value, covered: point.covered, held: point.held };
    let found: Vec<_> = history.points.iter().map(point).collect();
    let expected = book.points(filter, RULES);
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let same = alike(std::slice::from_ref(found), std::slice::from_ref(expected));
        assert!(same, "{when}, bucket {number} of {filter:?}: {found:?}, recounted {expected:?}");
    }
    assert!(alike(&found, &expected), "as many buckets");
    found
}

/// Figures of a minute, broker, account and underlying, in the order of [`Metric::ALL`].
pub(crate) type Row = (Vec<Option<f64>>, i64, i64);

pub(crate) fn recount_by_minute(book: &Book, begin: UnixNanos) -> BTreeMap<(UnixNanos, String, String, String), Row> {
    let whole = HistoryFilter::new(Metric::Delta, second(0), second(3_600), Duration::from_secs(MINUTE));
    let mut rows = BTreeMap::new();
    for minute in 0..60 {
        let from = begin.saturating_add(Duration::from_secs(minute * MINUTE));
        let bounds = (from, from.saturating_add(Duration::from_secs(MINUTE)));
        for (line, held) in book.lines(bounds, &whole, RULES).0 {
            let underlying = line.2.split(' ').next().unwrap().to_owned();
            let row: &mut Row = rows
                .entry((bounds.0, line.0, line.1, underlying))
                .or_insert_with(|| (vec![None; Metric::ALL.len()], 0, 0));
            let values = Metric::ALL.map(|metric| value(&held, metric).map(|value| value * held.units));
            for (sum, value) in row.0.iter_mut().zip(values) {
                *sum = value.map(|value| sum.unwrap_or(0.0) + value).or(*sum);
            }
            row.1 += 1;
            row.2 += i64::from(values.iter().all(Option::is_some));
        }
    }
    rows
}

/// Panics unless the view says what a recount finds.
pub(crate) async fn compare_view(database: &Database, book: &Book, begin: UnixNanos, when: &str) {
    let sql = "SELECT minute, broker, account_id, underlying, delta, delta_dollars, gamma_1pct, theta, vega, \
               lines, lines_covered FROM v_portfolio_1m WHERE minute >= $1 AND minute < $2";
    let bounds = [begin, begin.saturating_add(HOUR)].map(UnixNanos::to_timestamp);
    let rows = database.client().await.query(sql, &[&bounds[0], &bounds[1]]).await.unwrap();
    let mut found = BTreeMap::new();
    for row in &rows {
        let key = (UnixNanos::from_timestamp(row.get::<_, Timestamp>(0)), row.get(1), row.get(2), row.get(3));
        let values: Vec<Option<f64>> = (4..9).map(|column| row.get(column)).collect();
        assert!(found.insert(key, (values, row.get(9), row.get(10))).is_none());
    }
    let times = || {
        book.records.iter().filter_map(|record| match record {
            Record::Snapshot(tick) => Some(tick.event_time),
            _ => None,
        })
    };
    // The view begins with the first row, whoever held something before it; of what lies a quarter of an hour behind the
    // last one, where nothing is known, it tells as much as is stored.
    let first = UnixNanos::from_millis(times().min().unwrap().as_millis() / 60_000 * 60_000);
    let last = times().max().unwrap().saturating_add(Duration::from_secs(15 * MINUTE));
    let mut expected: BTreeMap<_, Row> = recount_by_minute(book, begin);
    expected.retain(|(minute, ..), _| (first..=last).contains(minute));
    found.retain(|(minute, ..), _| *minute <= last);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{when}");
    for (key, (values, lines, covered)) in &expected {
        let (found, found_lines, found_covered): &Row = &found[key];
        let same = values.iter().zip(found).all(|(a, b)| near(*a, *b));
        assert!(same, "{when}: {key:?}: {found:?}, recounted {values:?}");
        assert_eq!((found_lines, found_covered), (lines, covered), "{when}: {key:?}");
    }
}
