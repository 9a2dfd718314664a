//! One test per rule: here what gives a row and what stands in it, in `identity` what makes two events the same, in
//! `computed` what the source leaves to us, in `isolation` what must not touch what.

mod computed;
mod identity;
mod isolation;

use greeks_model::{
    AccountId, Decimal, GapReason, InstrumentId, OptionType, Position, PositionsRecord, Series, Underlying, UnixNanos,
};

use super::*;

/// 2026-11-20T10:26:40Z.
const START: i64 = 1_795_170_400_000;

fn at(millis: i64) -> UnixNanos {
    UnixNanos::from_millis(START + millis)
}

struct Bench {
    instruments: Arc<InstrumentTable>,
    normaliser: Normaliser,
    option: InstrumentId,
    underlying: InstrumentId,
}

/// A source in its first epoch, with one option and its underlying known by number, held by nobody.
fn bench() -> Bench {
    bench_of("SPXW  261124P06650000", "SPX")
}

fn bench_of(contract: &str, underlying: &str) -> Bench {
    let instruments = Arc::new(InstrumentTable::new());
    let option = instruments.intern(&Instrument::Option(contract.parse().unwrap()));
    let underlying = instruments.intern(&Instrument::Underlying(Underlying::new(underlying)));
    let mut normaliser = Normaliser::new(source(), Arc::clone(&instruments));
    normaliser.push(SourceEvent::SessionStarted { at: at(0) }, &mut Vec::new());
    Bench { instruments, normaliser, option, underlying }
}

fn source() -> SourceId {
    SourceId::new("scripted").unwrap()
}

fn account(number: &str) -> AccountId {
    AccountId::new(number).unwrap()
}

impl Bench {
    fn push(&mut self, event: SourceEvent) -> Vec<Record> {
        let mut out = Vec::new();
        self.normaliser.push(event, &mut out);
        out
    }

    fn hold(&mut self, number: &str, quantity: f64) -> Vec<Record> {
        let position = self.position(quantity);
        self.answer(number, vec![position])
    }

    fn position(&self, quantity: f64) -> Position {
        let multiplier = Decimal::ONE_HUNDRED;
        Position { instrument: self.option, underlying: self.underlying, quantity, multiplier }
    }

    fn answer(&mut self, number: &str, positions: Vec<Position>) -> Vec<Record> {
        let account_id = account(number);
        self.push(SourceEvent::Positions(PositionSnapshot { account_id, observed_at: at(1), positions }))
    }

    fn reconnect(&mut self) {
        assert_eq!(self.push(SourceEvent::SessionStarted { at: at(0) }), []);
    }

    /// A message about the option, received at 100 with the broker's time 90 unless `fill` says otherwise.
    fn quote(&mut self, fill: impl FnOnce(&mut QuoteUpdate)) -> Vec<GreekSnapshot> {
        let mut update = QuoteUpdate::new(self.option, at(100));
        update.event_time = Some(at(90));
        fill(&mut update);
        rows(self.push(SourceEvent::Quote { update, payload: None }))
    }

    fn underlying(&mut self, fill: impl FnOnce(&mut QuoteUpdate)) {
        let mut update = QuoteUpdate::new(self.underlying, at(95));
        fill(&mut update);
        assert_eq!(self.push(SourceEvent::Quote { update, payload: None }), [], "an underlying gives no row");
    }
}

fn rows(records: Vec<Record>) -> Vec<GreekSnapshot> {
    let row = |record| match record {
        Record::Snapshot(row) => row,
        other => panic!("not a row: {other:?}"),
    };
    records.into_iter().map(row).collect()
}

fn one(rows: Vec<GreekSnapshot>) -> GreekSnapshot {
    let [row] = <[_; 1]>::try_from(rows).unwrap();
    row
}

#[test]
fn a_message_with_a_greek_gives_one_row_with_everything_in_its_place() {
    let mut bench = bench();
    bench.hold("A1", -3.0);
    bench.underlying(|u| u.last_price = Some(6700.25));
    let row = one(bench.quote(|u| {
        (u.delta, u.gamma, u.theta, u.vega) = (Some(-0.25), Some(0.5), Some(-0.0), Some(4.0));
        (u.rho, u.implied_volatility, u.option_price) = (Some(5e-324), Some(0.125), Some(7.0));
        u.flags = Flags::DELAYED;
    }));
    let series = Series {
        broker: source(),
        account_id: account("A1"),
        contract: "SPXW  261124P06650000".parse().unwrap(),
        underlying: "SPX".into(),
        multiplier: Decimal::ONE_HUNDRED,
    };
    assert_eq!(series.contract.option_type(), OptionType::Put);
    let mut expected = GreekSnapshot::new(Arc::new(series), at(90), at(100), -3.0);
    (expected.delta, expected.gamma, expected.theta, expected.vega) = (Some(-0.25), Some(0.5), Some(-0.0), Some(4.0));
    (expected.rho, expected.implied_volatility, expected.option_price) = (Some(5e-324), Some(0.125), Some(7.0));
    expected.underlying_price = Some(6700.25);
    expected.flags = Flags::DELAYED | Flags::FIRST_AFTER_CONNECT;
    assert_eq!(row, expected);
    assert_eq!(row.theta.map(f64::to_bits), Some((-0.0f64).to_bits()));
}

#[test]
fn each_account_that_holds_the_contract_gets_a_row() {
    let mut bench = bench();
    bench.hold("A2", 2.0);
    bench.hold("A1", -1.0);
    bench.answer("A3", vec![]);
    let rows = bench.quote(|u| u.delta = Some(0.5));
    let held: Vec<_> = rows.iter().map(|row| (row.series.account_id.as_str(), row.quantity)).collect();
    assert_eq!(held, [("A2", 2.0), ("A1", -1.0)]);
}

#[test]
fn a_message_without_option_values_changes_state_and_gives_no_row() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.quote(|u| u.delta = Some(0.5));
    let only_market = bench.quote(|u| (u.bid_price, u.ask_price, u.last_price) = (Some(1.0), Some(2.0), Some(1.5)));
    assert_eq!(only_market, []);
    bench.underlying(|u| u.last_price = Some(6700.0));
    let row = one(bench.quote(|u| (u.event_time, u.option_price) = (Some(at(91)), Some(3.0))));
    assert_eq!((row.delta, row.option_price, row.underlying_price), (Some(0.5), Some(3.0), Some(6700.0)));
}

#[test]
fn there_is_no_row_before_a_greek_is_known_in_the_epoch() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    assert_eq!(bench.quote(|u| (u.implied_volatility, u.option_price) = (Some(0.2), Some(3.0))), []);
    assert_eq!(bench.quote(|u| (u.delta, u.rho) = (Some(f64::NAN), Some(f64::INFINITY))), []);
    let row = one(bench.quote(|u| u.vega = Some(1.0)));
    assert_eq!((row.implied_volatility, row.vega), (Some(0.2), Some(1.0)));
    bench.reconnect();
    assert_eq!(bench.quote(|u| (u.event_time, u.option_price) = (Some(at(92)), Some(3.5))), []);
}

#[test]
fn every_single_greek_opens_the_door() {
    let greeks: [fn(&mut QuoteUpdate); 5] = [
        |u| u.delta = Some(0.0),
        |u| u.gamma = Some(0.0),
        |u| u.theta = Some(0.0),
        |u| u.vega = Some(0.0),
        |u| u.rho = Some(0.0),
    ];
    for fill in greeks {
        let mut bench = bench();
        bench.hold("A1", 1.0);
        assert_eq!(bench.quote(fill).len(), 1);
    }
}

#[test]
fn absent_keeps_and_nan_forgets() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.quote(|u| (u.delta, u.vega) = (Some(0.5), Some(1.0)));
    let row = one(bench.quote(|u| u.vega = Some(2.0)));
    assert_eq!((row.delta, row.vega), (Some(0.5), Some(2.0)));
    let row = one(bench.quote(|u| u.delta = Some(f64::NAN)));
    assert_eq!((row.delta, row.vega, row.flags), (None, Some(2.0), Flags::NONE));
    let row = one(bench.quote(|u| u.gamma = Some(0.1)));
    assert_eq!((row.delta, row.gamma), (None, Some(0.1)));
}

#[test]
fn once_known_all_unknown_is_news() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.quote(|u| u.delta = Some(0.5));
    let row = one(bench.quote(|u| u.delta = Some(f64::NAN)));
    assert_eq!(row.broker_values(), [None; 7]);
}

#[test]
fn a_row_with_a_delayed_price_of_its_underlying_is_flagged_delayed() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    let mut delta = 0.0;
    let mut flagged = |bench: &mut Bench| {
        delta += 0.1;
        one(bench.quote(|u| u.delta = Some(delta))).flags.contains(Flags::DELAYED)
    };
    assert!(!flagged(&mut bench));
    bench.underlying(|u| (u.last_price, u.flags) = (Some(6700.0), Flags::DELAYED));
    assert!(flagged(&mut bench));
    // A message without a price says nothing of the price.
    bench.underlying(|u| u.delta = Some(1.0));
    assert!(flagged(&mut bench));
    bench.underlying(|u| u.last_price = Some(6701.0));
    assert!(!flagged(&mut bench));
}

#[test]
fn an_infinity_is_null_and_flagged_while_it_is_the_latest_word() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.quote(|u| (u.delta, u.vega) = (Some(0.5), Some(1.0)));
    for infinity in [f64::INFINITY, f64::NEG_INFINITY] {
        let row = one(bench.quote(|u| (u.event_time, u.vega) = (None, Some(infinity))));
        assert_eq!((row.delta, row.vega), (Some(0.5), None));
        assert!(row.flags.contains(Flags::NON_FINITE));
    }
    let row = one(bench.quote(|u| u.delta = Some(0.6)));
    assert!(row.vega.is_none() && row.flags.contains(Flags::NON_FINITE));
    let row = one(bench.quote(|u| (u.event_time, u.vega) = (Some(at(91)), Some(f64::NAN))));
    assert!(row.vega.is_none() && !row.flags.contains(Flags::NON_FINITE));
}

#[test]
fn an_infinite_underlying_price_is_flagged_where_it_leaves_a_null() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.underlying(|u| u.last_price = Some(f64::INFINITY));
    let row = one(bench.quote(|u| u.delta = Some(0.5)));
    assert_eq!((row.underlying_price, row.flags.contains(Flags::NON_FINITE)), (None, true));
    bench.underlying(|u| (u.bid_price, u.ask_price) = (Some(1.0), Some(2.0)));
    let row = one(bench.quote(|u| u.delta = Some(0.6)));
    assert_eq!((row.underlying_price, row.flags.contains(Flags::NON_FINITE)), (Some(1.5), false));
}

#[test]
fn a_new_epoch_forgets_quotes_and_keeps_positions() {
    let mut bench = bench();
    bench.hold("A1", 4.0);
    bench.underlying(|u| u.last_price = Some(6700.0));
    bench.quote(|u| (u.delta, u.vega) = (Some(0.5), Some(1.0)));
    bench.reconnect();
    let row = one(bench.quote(|u| u.delta = Some(0.6)));
    assert_eq!((row.quantity, row.delta, row.vega, row.underlying_price), (4.0, Some(0.6), None, None));
}

#[test]
fn underlying_price_is_never_the_options_own() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    let row = one(bench.quote(|u| (u.delta, u.last_price, u.option_price) = (Some(0.5), Some(9.0), Some(9.0))));
    assert_eq!(row.underlying_price, None);
}

#[test]
fn a_future_may_have_a_negative_price() {
    let mut bench = bench_of("/CLM20 200514P-5.5", "/CLM20");
    bench.hold("A1", 1.0);
    bench.underlying(|u| u.last_price = Some(-37.63));
    assert_eq!(one(bench.quote(|u| u.delta = Some(0.5))).underlying_price, Some(-37.63));
}

#[test]
fn a_contract_nobody_holds_gives_no_row() {
    let mut bench = bench();
    assert_eq!(bench.quote(|u| u.delta = Some(0.5)), []);
    bench.hold("A1", 1.0);
    assert_eq!(bench.quote(|u| u.delta = Some(0.6)).len(), 1);
    bench.answer("A1", vec![]);
    assert_eq!(bench.quote(|u| u.delta = Some(0.7)), []);
}

#[test]
fn a_position_that_comes_late_gives_nothing_until_the_next_quote() {
    let mut bench = bench();
    bench.quote(|u| (u.delta, u.vega) = (Some(0.5), Some(1.0)));
    assert!(matches!(bench.hold("A1", 1.0).as_slice(), [Record::Positions(_)]));
    let row = one(bench.quote(|u| u.vega = Some(2.0)));
    assert_eq!((row.delta, row.vega), (Some(0.5), Some(2.0)));
}

#[test]
fn a_changed_quantity_shows_in_the_next_row() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    let before = one(bench.quote(|u| u.delta = Some(0.5)));
    bench.hold("A1", 2.0);
    let after = one(bench.quote(|u| u.delta = Some(0.6)));
    assert_eq!((before.quantity, after.quantity), (1.0, 2.0));
    assert!(Arc::ptr_eq(&before.series, &after.series), "the series has not changed and is shared");
}

#[test]
fn positions_are_recorded_when_they_change() {
    let mut bench = bench();
    let records = bench.hold("A1", 1.0);
    let [Record::Positions(PositionsRecord { source: from, account_id, observed_at, positions })] = records.as_slice()
    else {
        panic!("{records:?}")
    };
    assert_eq!((from, account_id, *observed_at), (&source(), &account("A1"), at(1)));
    assert_eq!(
        positions.iter().map(|(s, q)| (s.contract.to_string(), *q)).collect::<Vec<_>>(),
        [("SPXW  261124P06650000".into(), 1.0)]
    );
    assert_eq!(bench.hold("A1", 1.0), []);
    bench.reconnect();
    assert_eq!(bench.hold("A1", 1.0), []);
    assert_eq!(bench.hold("A1", 2.0).len(), 1);
    let mut mini = bench.position(2.0);
    mini.multiplier = Decimal::TEN;
    assert_eq!(bench.answer("A1", vec![mini]).len(), 1);
    assert_eq!(bench.answer("A1", vec![]).len(), 1);
    assert_eq!(bench.answer("A1", vec![]), []);
    // An account that holds nothing is news the first time: an earlier process may have seen it full.
    assert_eq!(bench.answer("A2", vec![]).len(), 1);
    assert_eq!(bench.normaliser.counts().position_changes, 5);
}

#[test]
fn lots_are_added_up() {
    let mut bench = bench();
    let lots = vec![bench.position(2.0), bench.position(-3.0)];
    bench.answer("A1", lots);
    assert_eq!(one(bench.quote(|u| u.delta = Some(0.5))).quantity, -1.0);
    let flat = vec![bench.position(2.0), bench.position(-2.0)];
    bench.answer("A1", flat);
    assert_eq!(bench.quote(|u| u.delta = Some(0.6)), []);
    assert_eq!(bench.normaliser.counts().positions_refused, 0);
}

#[test]
fn a_position_that_cannot_be_understood_is_counted_and_never_reads_as_closed() {
    let mut bench = bench();
    let other = bench.instruments.intern(&Instrument::Option("SPXW  261124C06650000".parse().unwrap()));
    let good = Position { instrument: other, ..bench.position(1.0) };
    let swapped = Position { instrument: bench.underlying, underlying: bench.option, ..bench.position(1.0) };
    let unheard = bench.position(f64::NAN);
    let records = bench.answer("A1", vec![swapped, good, unheard]);
    assert!(matches!(records.as_slice(), [Record::Positions(p)] if p.positions.len() == 1));
    assert_eq!(bench.normaliser.counts().positions_refused, 2);

    bench.hold("A1", 5.0);
    assert_eq!(bench.hold("A1", f64::NAN), [], "a quantity that is not a number changes nothing");
    assert_eq!(one(bench.quote(|u| u.delta = Some(0.5))).quantity, 5.0);
    assert_eq!(bench.normaliser.counts().positions_refused, 3);
}

#[test]
fn the_payload_goes_with_every_row() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.hold("A2", 1.0);
    let mut update = QuoteUpdate::new(bench.option, at(100));
    update.delta = Some(0.5);
    let rows = rows(bench.push(SourceEvent::Quote { update, payload: Some("{}".into()) }));
    assert_eq!(rows.iter().map(|row| row.source_payload.as_deref()).collect::<Vec<_>>(), [Some("{}"), Some("{}")]);
}

#[test]
fn a_gap_is_recorded_open_and_closed_by_the_next_values_of_an_option() {
    let mut bench = bench();
    let gap = |to| {
        Record::Gap(GapRecord { source: source(), from: at(10), to, reason: GapReason::Disconnected, count: None })
    };
    assert_eq!(bench.push(SourceEvent::Gap { since: at(10), reason: GapReason::Disconnected }), [gap(None)]);
    bench.reconnect();
    let mut price = QuoteUpdate::new(bench.underlying, at(99));
    price.last_price = Some(6_700.0);
    assert_eq!(bench.push(SourceEvent::Quote { update: price, payload: None }), [], "prices come ahead of the Greeks");
    let mut update = QuoteUpdate::new(bench.option, at(100));
    update.option_price = Some(1.5);
    assert_eq!(bench.push(SourceEvent::Quote { update, payload: None }), [gap(Some(at(100)))]);
    assert_eq!(bench.push(SourceEvent::Quote { update, payload: None }), []);
    assert_eq!(bench.normaliser.counts().gaps, 1);
}
