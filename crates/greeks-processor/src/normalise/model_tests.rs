//! The normaliser against a reference that keeps the whole history and looks everything up in it.

use std::collections::BTreeMap;

use greeks_model::{
    AccountId, Decimal, GapReason, InstrumentId, Position, PositionsRecord, Series, Underlying, UnixNanos,
};
use greeks_pricing::{Black76, BlackScholes, OptionKind};
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_795_170_400_000;

/// Two options and their underlyings, the second pair of a future.
const OPTIONS: [&str; 2] = ["SPXW  261124P06650000", "/ESZ26 261127P5000"];
const UNDERLYINGS: [&str; 2] = ["SPX", "/ESZ26"];
const STRIKES: [f64; 2] = [6650.0, 5000.0];
/// 16:00 in New York.
const EXPIRE: [i64; 2] = [1_795_554_000_000, 1_795_813_200_000];

#[derive(Clone, Debug)]
enum Op {
    Epoch,
    /// Another process, which is told what rows there are and nothing else.
    Restart,
    Gap(i64),
    /// An account and its quantity of each option.
    Hold(u8, [i8; 2]),
    /// A message about instrument 0 to 3: the options, then the underlyings.
    Quote {
        instrument: u8,
        event_time: Option<i64>,
        fields: [Option<f64>; 10],
    },
}

#[derive(Default)]
struct Reference {
    history: Vec<Op>,
    accepted: Vec<Accepted>,
    books: Vec<(u8, [i8; 2])>,
    open_gap: Option<i64>,
}

#[derive(Clone)]
struct Accepted {
    account: u8,
    option: u8,
    given: Option<i64>,
    epoch: usize,
    /// What the source sent, as far as it is known.
    sent: [Option<u64>; 7],
    /// Whether the Greeks of `sent` may be ours.
    maybe_computed: bool,
    row: GreekSnapshot,
}

impl Reference {
    /// The latest word on a field in this epoch.
    fn known(&self, about: u8, field: usize) -> Option<f64> {
        self.this_epoch().rev().find_map(|op| match op {
            Op::Quote { instrument, fields, .. } if *instrument == about => fields[field],
            _ => None,
        })
    }

    fn this_epoch(&self) -> impl DoubleEndedIterator<Item = &Op> {
        let begin = self.history.iter().rposition(|op| matches!(op, Op::Epoch | Op::Restart)).unwrap_or(0);
        self.history[begin..].iter()
    }

    fn push(&mut self, op: &Op) -> Vec<Record> {
        self.history.push(op.clone());
        match op {
            Op::Epoch => vec![],
            Op::Restart => {
                self.books.clear();
                self.open_gap = None;
                for accepted in &mut self.accepted {
                    let substituted = accepted.row.flags.contains(Flags::EVENT_TIME_SUBSTITUTED);
                    accepted.given = (!substituted).then_some(accepted.row.event_time.as_millis());
                    accepted.epoch = usize::MAX;
                    accepted.sent = bits(&accepted.row);
                    accepted.maybe_computed = accepted.row.flags.contains(Flags::COMPUTED);
                }
                vec![]
            }
            Op::Gap(since) if self.open_gap.is_some_and(|from| from <= *since) => vec![],
            Op::Gap(since) => {
                let inner = self.open_gap.replace(*since).map(|from| gap(from, Some(from)));
                inner.into_iter().chain([gap(*since, None)]).collect()
            }
            Op::Hold(account, quantities) => {
                let before = self.books.iter_mut().find(|(a, _)| a == account);
                match before {
                    Some((_, same)) if same == quantities => return vec![],
                    Some((_, other)) => *other = *quantities,
                    None => self.books.push((*account, *quantities)),
                }
                let held = (0..2u8).filter(|i| quantities[usize::from(*i)] != 0);
                let positions = held.map(|i| (series(*account, i), f64::from(quantities[usize::from(i)]))).collect();
                let (source, account_id, observed_at) = (source(), account_id(*account), UnixNanos::from_millis(NOW));
                vec![Record::Positions(PositionsRecord { source, account_id, observed_at, positions })]
            }
            Op::Quote { instrument, event_time, fields } => {
                let received = self.received();
                // Prices alone do not end a gap.
                let ended = fields[..7].iter().any(Option::is_some).then(|| self.open_gap.take()).flatten();
                let mut out: Vec<_> = ended.map(|from| gap(from, Some(received.max(from)))).into_iter().collect();
                let greek_seen = self.this_epoch().any(|op| match op {
                    Op::Quote { instrument: i, fields, .. } => {
                        i == instrument && fields[..5].iter().flatten().any(|v| v.is_finite())
                    }
                    _ => false,
                });
                if *instrument < 2 && greek_seen && fields[..7].iter().any(Option::is_some) {
                    for (account, quantities) in self.books.clone() {
                        let quantity = quantities[usize::from(*instrument)];
                        out.extend(
                            (quantity != 0).then(|| self.row(account, *instrument, quantity, *event_time)).flatten(),
                        );
                    }
                }
                out
            }
        }
    }

    /// Every message is received one millisecond after the one before.
    fn received(&self) -> i64 {
        NOW + i64::try_from(self.history.len()).unwrap()
    }

    fn row(&mut self, account: u8, option: u8, quantity: i8, claimed: Option<i64>) -> Option<Record> {
        let received = self.received();
        let given = claimed.filter(|time| *time >= 946_684_800_000);
        let event_time = given.filter(|time| *time <= received + 60_000);
        let time = UnixNanos::from_millis(event_time.unwrap_or(received));
        let mut row =
            GreekSnapshot::new(series(account, option), time, UnixNanos::from_millis(received), quantity.into());
        let raw: Vec<_> = (0..7).map(|field| self.known(option, field)).collect();
        let [delta, gamma, theta, vega, rho, iv, price] =
            std::array::from_fn(|i| raw[i].filter(|v: &f64| v.is_finite()));
        (row.delta, row.gamma, row.theta, row.vega, row.rho) = (delta, gamma, theta, vega, rho);
        (row.implied_volatility, row.option_price) = (iv, price);
        let market: Vec<_> = (7..10).map(|field| self.known(option + 2, field)).collect();
        let good: Vec<_> = market.iter().map(|p| p.filter(|v| v.is_finite() && (option == 1 || *v > 0.0))).collect();
        row.underlying_price = match (good[2], good[0], good[1]) {
            (Some(last), _, _) => Some(last),
            (None, Some(bid), Some(ask)) => Some((bid + ask) / 2.0),
            _ => None,
        };
        let infinite = |values: &[Option<f64>]| values.iter().flatten().any(|v| v.is_infinite());
        if infinite(&raw) || (row.underlying_price.is_none() && infinite(&market)) {
            row.flags |= Flags::NON_FINITE;
        }
        if event_time.is_none() {
            row.flags |= Flags::EVENT_TIME_SUBSTITUTED;
        }
        let series: Vec<_> = self.accepted.iter().filter(|a| (a.account, a.option) == (account, option)).collect();
        let sent = bits(&row);
        let same = |last: &&Accepted| {
            let excused = |i: usize| last.maybe_computed && i < 5 && raw[i].is_none();
            last.given == given && (0..7).all(|i| last.sent[i] == sent[i] || excused(i))
        };
        let is_late = |row: &GreekSnapshot, before: &[&Accepted]| {
            before.iter().any(|earlier| earlier.row.event_time > row.event_time)
        };
        let late = is_late(&row, &series);
        // The last row in time, and all others in the order in which they were set aside.
        let (mut last, mut earlier) = (None, Vec::new());
        for (place, accepted) in series.iter().enumerate() {
            let aside =
                if is_late(&accepted.row, &series[..place]) { Some(*accepted) } else { last.replace(*accepted) };
            earlier.extend(aside.filter(|it| it.given.is_some()));
        }
        let candidates = if late { earlier.into_iter().rev().take(4).collect() } else { Vec::from_iter(last) };
        if given.is_some() && candidates.iter().any(same) {
            return None;
        }
        if late {
            row.flags |= Flags::LATE;
        }
        let epoch = self.history.iter().filter(|op| matches!(op, Op::Epoch | Op::Restart)).count();
        if series.last().is_none_or(|last| last.epoch != epoch) {
            row.flags |= Flags::FIRST_AFTER_CONNECT;
        }
        compute(&mut row, usize::from(option), &raw);
        let accepted = Accepted { account, option, given, epoch, sent, maybe_computed: false, row: row.clone() };
        self.accepted.push(accepted);
        Some(Record::Snapshot(row))
    }
}

fn bits(row: &GreekSnapshot) -> [Option<u64>; 7] {
    row.broker_values().map(|value| value.map(f64::to_bits))
}

/// What was never sent, by the formulas themselves.
fn compute(row: &mut GreekSnapshot, option: usize, raw: &[Option<f64>]) {
    let (Some(underlying), Some(volatility)) = (row.underlying_price, row.implied_volatility) else { return };
    if volatility <= 0.0 {
        return;
    }
    let years = (EXPIRE[option] - row.event_time.as_millis()) as f64 * 1e6 / (365.0 * 86_400e9);
    let (strike, rate) = (STRIKES[option], 0.04);
    let greeks = match option {
        0 => BlackScholes { spot: underlying, strike, rate, dividend_yield: 0.0, years }
            .greeks(OptionKind::Put, volatility),
        _ => Black76 { forward: underlying, strike, rate, years }.greeks(OptionKind::Put, volatility),
    };
    let columns = [&mut row.delta, &mut row.gamma, &mut row.theta, &mut row.vega, &mut row.rho];
    let computed = [greeks.delta, greeks.gamma, greeks.theta, greeks.vega, greeks.rho];
    for ((column, computed), sent) in columns.into_iter().zip(computed).zip(raw) {
        if sent.is_none() && computed.is_finite() {
            *column = Some(computed);
            row.flags |= Flags::COMPUTED;
        }
    }
}

fn source() -> SourceId {
    SourceId::new("scripted").unwrap()
}

fn account_id(account: u8) -> AccountId {
    AccountId::new(&format!("A{account}")).unwrap()
}

fn series(account: u8, option: u8) -> Arc<Series> {
    Arc::new(Series {
        broker: source(),
        account_id: account_id(account),
        contract: OPTIONS[usize::from(option)].parse().unwrap(),
        underlying: UNDERLYINGS[usize::from(option)].into(),
        multiplier: Decimal::ONE_HUNDRED,
    })
}

fn gap(from: i64, to: Option<i64>) -> Record {
    let (from, to) = (UnixNanos::from_millis(from), to.map(UnixNanos::from_millis));
    Record::Gap(GapRecord { source: source(), from, to, reason: GapReason::Silence, count: None })
}

fn event(op: &Op, received_at: UnixNanos, ids: &[InstrumentId; 4]) -> SourceEvent {
    match op {
        Op::Epoch | Op::Restart => SourceEvent::SessionStarted { at: received_at },
        Op::Gap(since) => SourceEvent::Gap { since: UnixNanos::from_millis(*since), reason: GapReason::Silence },
        Op::Hold(account, quantities) => {
            let position = |i: usize| Position {
                instrument: ids[i],
                underlying: ids[i + 2],
                quantity: quantities[i].into(),
                multiplier: Decimal::ONE_HUNDRED,
            };
            // The order of an answer means nothing.
            let positions = vec![position(1), position(0)];
            let (account_id, observed_at) = (account_id(*account), UnixNanos::from_millis(NOW));
            SourceEvent::Positions(PositionSnapshot { account_id, observed_at, positions })
        }
        Op::Quote { instrument, event_time, fields } => {
            let mut update = QuoteUpdate::new(ids[usize::from(*instrument)], received_at);
            update.event_time = event_time.map(UnixNanos::from_millis);
            let [delta, gamma, theta, vega, rho, iv, price, bid, ask, last] = *fields;
            (update.delta, update.gamma, update.theta, update.vega, update.rho) = (delta, gamma, theta, vega, rho);
            (update.implied_volatility, update.option_price) = (iv, price);
            (update.bid_price, update.ask_price, update.last_price) = (bid, ask, last);
            SourceEvent::Quote { update, payload: None }
        }
    }
}

/// Few values, so that duplicates, late rows and repeats are common.
fn any_op() -> impl Strategy<Value = Op> {
    let value = prop_oneof![
        6 => Just(None),
        4 => prop::sample::select(vec![0.5, 1.0, 2.0, -1.5, 6000.0]).prop_map(Some),
        1 => prop::sample::select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]).prop_map(Some),
    ];
    let time = prop_oneof![
        5 => prop::sample::select(vec![NOW - 2, NOW - 1, NOW]).prop_map(Some),
        1 => prop::sample::select(vec![None, Some(0), Some(NOW + 60_020), Some(NOW + 99_999_999)]),
    ];
    let quote = (prop_oneof![3 => 0..2u8, 1 => 2..4u8], time, prop::array::uniform10(value));
    prop_oneof![
        1 => Just(Op::Epoch),
        1 => Just(Op::Restart),
        1 => (NOW - 5..NOW + 50).prop_map(Op::Gap),
        2 => (0..3u8, prop::array::uniform2(-1..=1i8)).prop_map(|(account, held)| Op::Hold(account, held)),
        12 => quote.prop_map(|(instrument, event_time, fields)| Op::Quote { instrument, event_time, fields }),
    ]
}

/// Reconnects make brokers send their last messages again: repeats the quotes before some epochs after them, and after a
/// restart the positions too.
fn any_ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec((any_op(), any::<bool>()), 1..60).prop_map(|ops| {
        let mut all: Vec<Op> = Vec::new();
        for (op, repeat) in ops {
            let restart = matches!(op, Op::Restart);
            let before: Vec<_> = all.iter().rev().take(if restart { 6 } else { 2 }).cloned().collect();
            let again = matches!(op, Op::Epoch | Op::Restart) || repeat;
            all.push(op);
            all.extend(before.into_iter().rev().filter(|op| match op {
                Op::Quote { .. } => again,
                Op::Hold(..) => restart,
                _ => false,
            }));
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_normaliser_agrees_with_the_reference(ops in any_ops()) {
        let instruments = Arc::new(InstrumentTable::new());
        let option = |i: usize| instruments.intern(&Instrument::Option(OPTIONS[i].parse().unwrap()));
        let underlying = |i: usize| instruments.intern(&Instrument::Underlying(Underlying::new(UNDERLYINGS[i])));
        let ids = [option(0), option(1), underlying(0), underlying(1)];
        let mut normaliser = Normaliser::new(source(), Arc::clone(&instruments));
        let mut reference = Reference::default();
        let mut seen = BTreeMap::<&str, u64>::new();
        let (mut stored, mut counts) = (Vec::new(), Counts::default());
        for (index, op) in ops.iter().enumerate() {
            let expected = reference.push(op);
            let mut actual = Vec::new();
            if matches!(op, Op::Restart) {
                counts = counts.plus(&normaliser.counts());
                normaliser = Normaliser::new(source(), Arc::clone(&instruments));
                stored.iter().for_each(|row| normaliser.seed(row));
            }
            normaliser.push(event(op, UnixNanos::from_millis(reference.received()), &ids), &mut actual);
            // Compared by their bytes: -0.0 is not 0.0 there.
            let bytes = |records: &[Record]| {
                let mut out = Vec::new();
                records.iter().for_each(|record| record.encode(&mut out));
                out
            };
            prop_assert_eq!(bytes(&actual), bytes(&expected), "op {}: {:?} against {:?}", index, actual, expected);
            for record in &actual {
                let kind = match record { Record::Snapshot(_) => "rows", Record::Positions(_) => "positions", _ => "other" };
                *seen.entry(kind).or_default() += 1;
                if let Record::Snapshot(row) = record {
                    stored.push(row.clone());
                }
            }
        }
        let counts = counts.plus(&normaliser.counts());
        prop_assert_eq!(counts.rows, seen.get("rows").copied().unwrap_or(0));
        prop_assert_eq!(counts.position_changes, seen.get("positions").copied().unwrap_or(0));
    }
}
