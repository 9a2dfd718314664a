//! The book through its public face.

mod ages;
mod changes;
mod cost;
mod model;
mod weights;

use std::sync::Arc;

use greeks_model::{AccountId, Decimal, GreekSnapshot, PositionsRecord, Series};

use super::*;

/// Tuesday, 24 November 2026, 10:00 in New York: every market is open.
const TEN: UnixNanos = UnixNanos::from_millis(1_795_532_400_000);

fn later(seconds: i64) -> UnixNanos {
    UnixNanos::from_nanos(TEN.as_nanos() + seconds * 1_000_000_000)
}

fn source(name: &str) -> SourceId {
    SourceId::new(name).unwrap()
}

fn series(broker: &str, account: &str, contract: &str, underlying: &str) -> Arc<Series> {
    let series = Series {
        broker: source(broker),
        account_id: AccountId::new(account).unwrap(),
        contract: contract.parse().unwrap(),
        underlying: underlying.into(),
        multiplier: Decimal::ONE_HUNDRED,
    };
    Arc::new(series)
}

/// Two contracts on SPY and one on AAPL.
fn three() -> [Arc<Series>; 3] {
    [
        series("one", "A1", "SPY   261124P00600000", "SPY"),
        series("one", "A2", "SPY   261218P00600000", "SPY"),
        series("two", "B1", "AAPL  270319C00300000", "AAPL"),
    ]
}

/// A row with every Greek known.
fn row(series: &Arc<Series>, at: UnixNanos, quantity: f64, delta: f64) -> GreekSnapshot {
    let mut row = GreekSnapshot::new(Arc::clone(series), at, at, quantity);
    row.delta = Some(delta);
    row.gamma = Some(0.5);
    row.theta = Some(-0.25);
    row.vega = Some(0.125);
    row.underlying_price = Some(200.0);
    row
}

fn with(mut row: GreekSnapshot, change: impl FnOnce(&mut GreekSnapshot)) -> GreekSnapshot {
    change(&mut row);
    row
}

fn positions(broker: &str, account: &str, held: &[(&Arc<Series>, f64)]) -> Record {
    Record::Positions(PositionsRecord {
        source: source(broker),
        account_id: AccountId::new(account).unwrap(),
        observed_at: TEN,
        positions: held.iter().map(|(series, quantity)| (Arc::clone(series), *quantity)).collect(),
    })
}

/// A book whose two sources stream.
fn streaming(config: BookConfig) -> LiveBook {
    let book = LiveBook::new(config);
    book.source_state(&source("one"), &SessionState::Connected, TEN);
    book.source_state(&source("two"), &SessionState::Connected, TEN);
    book
}

fn accept(book: &LiveBook, row: GreekSnapshot) {
    book.accept(&[Record::Snapshot(row)]);
}

fn keys(portfolio: &Portfolio) -> Vec<(&str, u32)> {
    portfolio.groups.iter().map(|group| (&*group.key, group.lines)).collect()
}

#[test]
fn every_grouping_holds_every_open_line_once() {
    let book = streaming(BookConfig::default());
    for (line, quantity) in three().iter().zip([-3.0, 2.0, 1.0]) {
        accept(&book, row(line, TEN, quantity, 0.5));
    }
    for (group_by, expected) in [
        (GroupBy::Underlying, vec![("AAPL", 1), ("SPY", 2)]),
        (GroupBy::Expiry, vec![("0", 1), ("22-45", 1), (">90", 1)]),
        (GroupBy::Account, vec![("A1", 1), ("A2", 1), ("B1", 1)]),
        (GroupBy::Broker, vec![("one", 2), ("two", 1)]),
    ] {
        let portfolio = book.portfolio(group_by, TEN);
        assert_eq!(keys(&portfolio), expected);
        assert_eq!((portfolio.total.lines, portfolio.total.covered), (3, 3));
        assert_eq!(portfolio.total.figures.delta, Figure { value: Some(0.0), lines: 3 });
        assert_eq!(group_by.as_str().parse(), Ok(group_by));
    }
    let spy = book.portfolio(GroupBy::Underlying, TEN).groups.swap_remove(1).figures;
    assert_eq!(spy.delta.value, Some(-50.0));
    assert_eq!(spy.delta_dollars.value, Some(-10_000.0));
    assert_eq!(spy.gamma_1pct.value, Some(-20_000.0));
    assert_eq!(spy.theta.value, Some(25.0));
    assert_eq!(spy.vega.value, Some(-12.5));
    assert_eq!(spy.theta_vega, Some(-2.0));
    assert_eq!("total".parse::<GroupBy>(), Err(UnknownGrouping));
}

#[test]
fn what_has_expired_stays_in_the_first_bucket_until_it_is_closed() {
    let book = streaming(BookConfig::default());
    let [today, ..] = three();
    accept(&book, row(&today, TEN, -3.0, 0.5));
    let days = |days: i64| later(days * 86_400);
    // Midnight in New York is what makes a day: 10:00 is 14 hours before it.
    for (now, key, left) in [
        (days(-91), ">90", 91),
        (days(-90), "46-90", 90),
        (days(-45), "22-45", 45),
        (days(-21), "8-21", 21),
        (days(-7), "1-7", 7),
        (days(0), "0", 0),
        (later(14 * 3_600 - 1), "0", 0),
        (later(14 * 3_600), "0", -1),
        (days(40), "0", -40),
    ] {
        assert_eq!(keys(&book.portfolio(GroupBy::Expiry, now)), [(key, 1)]);
        assert_eq!(book.lines(&LineFilter::default(), now)[0].days_to_expiry, left);
    }
    book.accept(&[positions("one", "A1", &[])]);
    assert_eq!(keys(&book.portfolio(GroupBy::Expiry, days(40))), []);
}

#[test]
fn a_position_turns_closes_and_opens_again() {
    let book = streaming(BookConfig::default());
    let [line, other, _] = three();
    accept(&book, row(&other, TEN, 1.0, 0.25));
    accept(&book, row(&line, TEN, 3.0, 0.5));
    let delta = || book.portfolio(GroupBy::Broker, TEN).total.figures.delta;
    assert_eq!(delta(), Figure { value: Some(175.0), lines: 2 });
    book.accept(&[positions("one", "A1", &[(&line, -3.0)])]);
    assert_eq!(delta(), Figure { value: Some(-125.0), lines: 2 });
    book.accept(&[positions("one", "A1", &[])]);
    assert_eq!(delta(), Figure { value: Some(25.0), lines: 1 });
    assert_eq!(book.lines(&LineFilter::default(), TEN).len(), 1);
    let closed = book.lines(&LineFilter { closed: true, ..LineFilter::default() }, TEN);
    assert_eq!((closed[0].open, closed[0].quantity, closed[0].figures), (false, 0.0, LineFigures::default()));
    let id = closed[0].id;
    book.accept(&[positions("one", "A1", &[(&line, 2.0)])]);
    assert_eq!(delta(), Figure { value: Some(125.0), lines: 2 });
    assert_eq!(book.lines(&LineFilter::default(), TEN)[0].id, id);
    // The positions of one account say nothing of another's, nor of the same number at another broker.
    book.accept(&[positions("two", "A1", &[]), positions("one", "A9", &[])]);
    assert_eq!(delta().lines, 2);
}

#[test]
fn a_line_without_values_is_counted_and_said() {
    let book = streaming(BookConfig::default());
    let [spy, other, aapl] = three();
    book.accept(&[positions("one", "A1", &[(&spy, -3.0)])]);
    accept(&book, with(row(&other, TEN, 1.0, 0.0), |row| row.delta = None));
    accept(&book, with(row(&aapl, TEN, 1.0, 0.5), |row| row.theta = None));
    let total = book.portfolio(GroupBy::Broker, TEN).total;
    assert_eq!((total.lines, total.covered), (3, 1));
    assert_eq!(total.figures.delta, Figure { value: Some(50.0), lines: 1 });
    assert_eq!(total.figures.theta, Figure { value: Some(-25.0), lines: 1 });
    assert_eq!(total.figures.vega.lines, 2);
    let reasons = || {
        let found = book.not_included(TEN);
        found.iter().map(|it| (it.line.series.underlying.to_string(), it.reason)).collect::<Vec<_>>()
    };
    let text = |reasons: &[(&str, Missing)]| {
        reasons.iter().map(|(name, reason)| ((*name).to_owned(), *reason)).collect::<Vec<_>>()
    };
    assert_eq!(reasons(), text(&[("AAPL", Missing::NoBeta), ("SPY", Missing::NoRow), ("SPY", Missing::NoDelta)]));
    accept(&book, with(row(&spy, TEN, -3.0, 0.5), |row| row.underlying_price = None));
    accept(&book, row(&other, later(1), 1.0, 0.0));
    let mut beta = Reference::new("AAPL".into(), TEN);
    beta.beta = Some(1.25);
    book.reference(&beta, &source("two"));
    assert_eq!(reasons(), text(&[("AAPL", Missing::NoOtherGreek), ("SPY", Missing::NoUnderlyingPrice)]));
}

#[test]
fn the_latest_row_is_the_one_with_the_latest_time() {
    let book = streaming(BookConfig::default());
    let [line, ..] = three();
    accept(&book, row(&line, later(5), -3.0, 0.5));
    accept(&book, with(row(&line, later(4), -2.0, 0.75), |row| row.received_at = later(6)));
    let seen = book.lines(&LineFilter::default(), later(6)).swap_remove(0);
    assert_eq!((seen.delta, seen.received_at, seen.quantity), (Some(0.5), Some(later(5)), -2.0));
    // The database keeps microseconds: within one, the row that came last is the latest.
    let same = UnixNanos::from_nanos(later(5).as_nanos() + 999);
    accept(&book, row(&line, same, -2.0, 0.25));
    accept(&book, row(&line, later(5), -2.0, 0.125));
    assert_eq!(book.lines(&LineFilter::default(), later(6))[0].delta, Some(0.125));
}

#[test]
fn another_multiplier_or_name_moves_the_line() {
    let book = streaming(BookConfig::default());
    let [line, ..] = three();
    accept(&book, row(&line, TEN, -3.0, 0.5));
    let renamed = Arc::new(Series { multiplier: Decimal::TEN, underlying: "SPX".into(), ..(*line).clone() });
    accept(&book, row(&renamed, TEN, -3.0, 0.5));
    let portfolio = book.portfolio(GroupBy::Underlying, TEN);
    assert_eq!(keys(&portfolio), [("SPX", 1)]);
    assert_eq!(portfolio.groups[0].figures.delta.value, Some(-15.0));
    assert_eq!(portfolio.total.figures.delta, Figure { value: Some(-15.0), lines: 1 });
    book.accept(&[positions("one", "A1", &[(&line, -3.0)])]);
    assert_eq!(book.portfolio(GroupBy::Underlying, TEN).total.figures.delta.value, Some(-150.0));
    assert_eq!(book.lines(&LineFilter::default(), TEN).len(), 1);
}

#[test]
fn lines_are_filtered_and_in_order() {
    let book = streaming(BookConfig::default());
    for line in three().iter().rev() {
        accept(&book, row(line, TEN, 1.0, 0.5));
    }
    let found = |filter: LineFilter| {
        let lines = book.lines(&filter, TEN);
        lines.iter().map(|line| line.series.account_id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(LineFilter::default()), ["B1", "A1", "A2"]);
    assert_eq!(found(LineFilter { broker: Some(source("one")), ..LineFilter::default() }), ["A1", "A2"]);
    assert_eq!(found(LineFilter { underlying: Some("AAPL".into()), ..LineFilter::default() }), ["B1"]);
    assert_eq!(found(LineFilter { account_id: AccountId::new("A2").ok(), ..LineFilter::default() }), ["A2"]);
    assert_eq!(found(LineFilter { underlying: Some("AAP".into()), ..LineFilter::default() }), [""; 0]);
}
