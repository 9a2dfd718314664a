//! History and `v_portfolio_1m` against a recount of a book to which everything happens.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::book::{CALL, INDEX, PUT, gap, held, second, series, store, tick};
use crate::support::Database;
use greeks_model::{GreekSnapshot, Record, UnixNanos, jiff::Timestamp};
use greeks_store::{HistoryFilter, Metric};

const MINUTE: u64 = 60;

/// Which of the rules the recount follows.
#[derive(Clone, Copy)]
struct Rules {
    closes: bool,
    silence: bool,
    lookback: bool,
    order: bool,
}

const RULES: Rules = Rules { closes: true, silence: true, lookback: true, order: true };

/// Broker, account, contract.
type Line = (String, String, String);

/// What is held of a line, and its values where they count.
struct Held {
    units: f64,
    tick: Option<GreekSnapshot>,
}

/// A bucket as it should be.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    value: Option<f64>,
    covered: u32,
    held: u32,
}

/// Two brokers with two accounts each.
struct Book {
    records: Vec<Record>,
}

impl Book {
    fn random(seed: u64) -> Self {
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
        }
        records.push(gap("tastytrade", 57 * MINUTE, None));
        Self { records }
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
                Record::Gap(gap) => Some(gap).filter(|gap| [broker, "journal"].contains(&gap.source.as_str())),
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

    fn points(&self, filter: &HistoryFilter, rules: Rules) -> Vec<Point> {
        let step = filter.step;
        let mut buckets = std::iter::successors(Some(filter.from), |from| Some(from.saturating_add(step)));
        let mut points = Vec::new();
        while let Some(from) = buckets.next().filter(|from| *from < filter.to) {
            let until = from.saturating_add(step);
            let (lines, known) = self.lines((from, until), filter, rules);
            let values: Vec<f64> =
                lines.values().filter_map(|held| Some(held.units * value(held, filter.metric)?)).collect();
            let flat = known.iter().any(|broker| !rules.silence || !self.silent(broker, from, until)).then_some(0.0);
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

fn alike(a: &[Point], b: &[Point]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| near(a.value, b.value) && (a.covered, a.held) == (b.covered, b.held))
}

/// The whole hour, by the minute, for every metric, for parts of the book, with several steps and lookbacks.
fn questions() -> Vec<HistoryFilter> {
    let whole = |metric, step| HistoryFilter::new(metric, second(0), second(3_600), Duration::from_secs(step));
    let mut questions: Vec<_> = Metric::ALL.into_iter().map(|metric| whole(metric, MINUTE)).collect();
    for step in [20, 300, 1_800] {
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

#[tokio::test]
async fn history_is_what_a_recount_finds() {
    // Each rule must have been put to the test by one of the books.
    let without = [
        Rules { closes: false, ..RULES },
        Rules { silence: false, ..RULES },
        Rules { lookback: false, ..RULES },
        Rules { order: false, ..RULES },
    ];
    let mut told_apart = [false; 4];
    for seed in 1..=5 {
        let database = Database::migrated().await;
        let book = Book::random(seed);
        let queries = store(&database, &book.records).await;
        for filter in questions() {
            let history = queries.history(&filter).await.unwrap();
            let found: Vec<_> = history
                .points
                .iter()
                .map(|point| Point { value: point.value, covered: point.covered, held: point.held })
                .collect();
            let expected = book.points(&filter, RULES);
            for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let same = alike(std::slice::from_ref(found), std::slice::from_ref(expected));
                assert!(same, "seed {seed}, bucket {number} of {filter:?}: {found:?}, recounted {expected:?}");
            }
            assert!(alike(&found, &expected), "as many buckets");
            for (rules, apart) in without.iter().zip(&mut told_apart) {
                *apart |= !alike(&found, &book.points(&filter, *rules));
            }
        }
    }
    assert_eq!(told_apart, [true; 4], "a recount that neglects a rule finds the same");
}

/// Figures of a minute, broker, account and underlying, in the order of [`Metric::ALL`].
type Row = (Vec<Option<f64>>, i64, i64);

fn recount_by_minute(book: &Book) -> BTreeMap<(UnixNanos, String, String, String), Row> {
    let whole = HistoryFilter::new(Metric::Delta, second(0), second(3_600), Duration::from_secs(MINUTE));
    let mut rows = BTreeMap::new();
    for minute in 0..60 {
        let bounds = (second(minute * MINUTE), second((minute + 1) * MINUTE));
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

#[tokio::test]
async fn the_view_by_minute_is_what_a_recount_finds() {
    let database = Database::migrated().await;
    let book = Book::random(7);
    store(&database, &book.records).await;
    let sql = "SELECT minute, broker, account_id, underlying, delta, delta_dollars, gamma_1pct, theta, vega, \
               lines, lines_covered FROM v_portfolio_1m WHERE minute >= $1 AND minute < $2";
    let bounds = [second(0), second(3_600)].map(UnixNanos::to_timestamp);
    let rows = database.client().await.query(sql, &[&bounds[0], &bounds[1]]).await.unwrap();
    let mut found = BTreeMap::new();
    for row in &rows {
        let key = (UnixNanos::from_timestamp(row.get::<_, Timestamp>(0)), row.get(1), row.get(2), row.get(3));
        let values: Vec<Option<f64>> = (4..9).map(|column| row.get(column)).collect();
        assert!(found.insert(key, (values, row.get(9), row.get(10))).is_none());
    }
    let first = book.records.iter().filter_map(|record| match record {
        Record::Snapshot(tick) => Some(tick.event_time),
        _ => None,
    });
    // The view begins with the first row stored, whoever held something before it.
    let first = UnixNanos::from_millis(first.min().unwrap().as_millis() / 60_000 * 60_000);
    let mut expected: BTreeMap<_, Row> = recount_by_minute(&book);
    expected.retain(|(minute, ..), _| *minute >= first);
    assert!(expected.len() > 200, "{}", expected.len());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (key, (values, lines, covered)) in &expected {
        let (found, found_lines, found_covered): &Row = &found[key];
        assert!(values.iter().zip(found).all(|(a, b)| near(*a, *b)), "{key:?}: {found:?}, recounted {values:?}");
        assert_eq!((found_lines, found_covered), (lines, covered), "{key:?}");
    }
    assert!(expected.values().any(|(_, lines, covered)| lines != covered), "something is unknown");
}

/// A minute of the view must not cost what a month costs.
#[tokio::test]
async fn bounds_of_the_view_reach_the_index() {
    let database = Database::migrated().await;
    let book = Book::random(9);
    store(&database, &book.records).await;
    let client = database.client().await;
    let sql = "EXPLAIN (ANALYZE, COSTS off, TIMING off) SELECT * FROM v_portfolio_1m WHERE broker = 'ibkr'";
    let mut calls = Vec::new();
    for bound in ["AND minute = '2018-02-28 23:50:00+00'", ""] {
        let plan = client.query(&format!("{sql} {bound}"), &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let limits = plan.iter().filter(|line| line.contains("Limit ") && line.contains("loops="));
        let loops = limits.filter_map(|line| line.split("loops=").nth(1)?.trim_end_matches(')').parse::<u32>().ok());
        calls.push(loops.max().unwrap_or_else(|| panic!("{}", plan.join("\n"))));
    }
    assert!(calls[0] <= 6 && calls[1] > 20 * calls[0], "lines looked up: {calls:?}");
}
