//! The book against a recount of everything, over random lives of a few lines.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What can happen.
#[derive(Clone, Debug)]
enum Op {
    Row { line: usize, quantity: f64, seconds: i64, values: [Option<f64>; 5] },
    Positions { account: usize, held: Vec<(usize, f64)> },
    Beta { underlying: usize, beta: f64 },
}

const ACCOUNTS: [(&str, &str); 3] = [("one", "A1"), ("one", "A2"), ("two", "B1")];
const CONTRACTS: [(&str, &str); 6] = [
    ("SPY   261124P00600000", "SPY"),
    ("SPY   261218P00600000", "SPY"),
    ("AAPL  270319C00300000", "AAPL"),
    ("SPXW  261201C06650000", "SPX"),
    ("/ESZ26 261127P5000", "/ESZ26"),
    ("/ESH27 270319P5000", "/ESH27"),
];
const SYMBOLS: [&str; 6] = ["SPY", "AAPL", "SPX", "/ESZ26", "/ESH27", "/ES"];

/// Every contract in every account.
fn all_lines() -> Vec<Arc<Series>> {
    let lines = ACCOUNTS.iter().flat_map(|(broker, account)| {
        CONTRACTS.iter().map(move |(contract, underlying)| series(broker, account, contract, underlying))
    });
    lines.collect()
}

/// What is known of one line, the plain way.
#[derive(Clone, Debug, Default)]
struct Plain {
    quantity: f64,
    row: Option<(i64, [Option<f64>; 5])>,
}

#[derive(Debug, Default)]
struct Recount {
    lines: BTreeMap<usize, Plain>,
    betas: BTreeMap<&'static str, f64>,
    benchmark: Option<(i64, f64)>,
}

/// Sums and the numbers of lines in them: delta, its dollars, weighted, gamma, theta, vega.
type Six = [(f64, u32); 6];

impl Recount {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Row { line, quantity, seconds, values } => {
                let plain = self.lines.entry(*line).or_default();
                plain.quantity = *quantity;
                if plain.row.is_none_or(|(known, _)| known <= *seconds) {
                    plain.row = Some((*seconds, *values));
                }
                let is_benchmark = CONTRACTS[line % 6].1 == "SPY";
                if let (true, Some(price)) = (is_benchmark, values[4])
                    && price > 0.0
                    && self.benchmark.is_none_or(|(known, _)| known <= *seconds)
                {
                    self.benchmark = Some((*seconds, price));
                }
            }
            Op::Positions { account, held } => {
                for contract in 0..6 {
                    let quantity = held.iter().find(|(held, _)| *held == contract).map_or(0.0, |(_, q)| *q);
                    let line = account * 6 + contract;
                    if quantity != 0.0 || self.lines.contains_key(&line) {
                        self.lines.entry(line).or_default().quantity = quantity;
                    }
                }
            }
            Op::Beta { underlying, beta } => {
                if beta.is_nan() {
                    self.betas.remove(SYMBOLS[*underlying]);
                } else {
                    self.betas.insert(SYMBOLS[*underlying], *beta);
                }
            }
        }
    }

    fn beta(&self, underlying: &str) -> Option<f64> {
        let product = underlying.starts_with("/ES").then_some("/ES");
        match underlying {
            "SPY" => Some(1.0),
            _ => {
                let said = self.betas.get(underlying).or_else(|| self.betas.get(product?)).copied();
                said.or((underlying == "SPX" || product.is_some()).then_some(1.0))
            }
        }
    }

    fn open(&self) -> impl Iterator<Item = (usize, &Plain)> {
        self.lines.iter().filter(|(_, plain)| plain.quantity != 0.0).map(|(line, plain)| (*line, plain))
    }

    /// The sums over the lines that belong.
    fn count(&self, belongs: impl Fn(usize) -> bool) -> (u32, u32, Six) {
        let (mut lines, mut covered) = (0, 0);
        let mut terms: [Vec<f64>; 6] = Default::default();
        for (line, plain) in self.open().filter(|(line, _)| belongs(*line)) {
            lines += 1;
            let Some((_, [delta, gamma, theta, vega, price])) = plain.row else { continue };
            covered += u32::from(delta.is_some());
            let size = plain.quantity * 100.0;
            let beta = self.beta(CONTRACTS[line % 6].1);
            let of = |values: &[Option<f64>]| values.iter().copied().product::<Option<f64>>();
            for (terms, term) in terms.iter_mut().zip([
                of(&[delta, Some(size)]),
                of(&[delta, Some(size), price]),
                of(&[delta, Some(size), price, beta]),
                of(&[gamma, Some(size), price, price, Some(0.01)]),
                of(&[theta, Some(size)]),
                of(&[vega, Some(size)]),
            ]) {
                terms.extend(term);
            }
        }
        (lines, covered, terms.map(|terms| (precise(&terms), u32::try_from(terms.len()).unwrap())))
    }
}

/// The sum without loss: partial sums that do not overlap (Shewchuk, "Adaptive precision floating-point arithmetic").
fn precise(values: &[f64]) -> f64 {
    let mut partials: Vec<f64> = Vec::new();
    for value in values {
        let (mut carried, mut kept) = (*value, Vec::new());
        for partial in partials {
            let (large, small) = if partial.abs() > carried.abs() { (partial, carried) } else { (carried, partial) };
            let sum = large + small;
            let lost = small - (sum - large);
            if lost != 0.0 {
                kept.push(lost);
            }
            carried = sum;
        }
        kept.push(carried);
        partials = kept;
    }
    partials.iter().rev().sum()
}

fn agrees(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * expected.abs()
}

/// Numbers of every size that meet their opposites often.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        prop::sample::select(vec![0.5, -0.5, 1e12, -1e12, 1e-12, -1e-12, 0.0, -0.0, 1.0 / 3.0, -1.0 / 3.0]),
        -1.0..1.0,
        (-1.0..1.0).prop_map(|x: f64| x * 1e15),
    ]
}

fn quantity() -> impl Strategy<Value = f64> {
    prop::sample::select(vec![3.0, -3.0, 1.0, -1.0, 1e6, -1e6, 0.5])
}

fn op() -> impl Strategy<Value = Op> {
    let values = prop::array::uniform4(prop::option::weighted(0.8, number()));
    let price = prop::option::weighted(0.8, prop::sample::select(vec![200.0, 6_650.0, 0.01, 1.0 / 3.0]));
    let row =
        (0..18usize, quantity(), 0..1_000i64, values, price).prop_map(|(line, quantity, seconds, values, price)| {
            let [delta, gamma, theta, vega] = values;
            Op::Row { line, quantity, seconds, values: [delta, gamma, theta, vega, price] }
        });
    let held = prop::collection::btree_map(0..6usize, quantity(), 0..6);
    let positions =
        (0..3usize, held).prop_map(|(account, held)| Op::Positions { account, held: held.into_iter().collect() });
    let beta = prop::sample::select(vec![1.5, -0.75, 0.0, 1e-6, f64::NAN]);
    let reference = (0..6usize, beta).prop_map(|(underlying, beta)| Op::Beta { underlying, beta });
    prop_oneof![6 => row, 2 => positions, 1 => reference]
}

fn feed(book: &LiveBook, lines: &[Arc<Series>], op: &Op) {
    match op {
        Op::Row { line, quantity, seconds, values: [delta, gamma, theta, vega, price] } => {
            let mut row = GreekSnapshot::new(Arc::clone(&lines[*line]), later(*seconds), later(*seconds), *quantity);
            (row.delta, row.gamma, row.theta, row.vega) = (*delta, *gamma, *theta, *vega);
            row.underlying_price = *price;
            accept(book, row);
        }
        Op::Positions { account, held } => {
            let held: Vec<_> = held.iter().map(|(contract, q)| (&lines[account * 6 + contract], *q)).collect();
            book.accept(&[positions(ACCOUNTS[*account].0, ACCOUNTS[*account].1, &held)]);
        }
        Op::Beta { underlying, beta } => {
            let mut reference = Reference::new(SYMBOLS[*underlying].into(), TEN);
            reference.beta = Some(*beta);
            book.reference(&reference, &source("two"));
        }
    }
}

fn group_of(line: usize, group_by: GroupBy) -> &'static str {
    match group_by {
        GroupBy::Underlying => CONTRACTS[line % 6].1,
        GroupBy::Expiry => ["0", "22-45", ">90", "1-7", "1-7", ">90"][line % 6],
        GroupBy::Account => ACCOUNTS[line / 6].1,
        GroupBy::Broker => ACCOUNTS[line / 6].0,
    }
}

fn compare(found: &Aggregate, (lines, covered, six): (u32, u32, Six), benchmark: Option<f64>) -> Result<(), String> {
    if (found.lines, found.covered) != (lines, covered) {
        return Err(format!("{} has {lines} lines, {covered} covered: {found:?}", found.key));
    }
    let figures = &found.figures;
    let sums = [
        figures.delta,
        figures.delta_dollars,
        figures.beta_weighted_delta_dollars,
        figures.gamma_1pct,
        figures.theta,
        figures.vega,
    ];
    let shares = benchmark.filter(|_| six[2].1 > 0).map_or((0.0, 0), |price| (six[2].0 / price, six[2].1));
    for (figure, (sum, lines)) in sums.iter().chain([&figures.beta_weighted_delta]).zip(six.iter().chain([&shares])) {
        let is_right = match figure.value {
            Some(value) => *lines > 0 && agrees(value, *sum),
            None => *lines == 0,
        };
        if !is_right || figure.lines != *lines {
            return Err(format!("{}: {figure:?} is not {sum:e} of {lines}", found.key));
        }
    }
    Ok(())
}

fn check(book: &LiveBook, recount: &Recount) -> Result<(), String> {
    let benchmark = recount.benchmark.map(|(_, price)| price);
    for group_by in GroupBy::ALL {
        let portfolio = book.portfolio(group_by, TEN);
        compare(&portfolio.total, recount.count(|_| true), benchmark)?;
        let mut names: Vec<&str> = recount.open().map(|(line, _)| group_of(line, group_by)).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != portfolio.groups.len() {
            return Err(format!("the groups are {names:?}: {:?}", keys(&portfolio)));
        }
        for group in &portfolio.groups {
            compare(group, recount.count(|line| group_of(line, group_by) == &*group.key), benchmark)?;
        }
        let unknown = portfolio.unknown_betas.iter().all(|symbol| recount.beta(symbol).is_none());
        let known = portfolio.betas.iter().all(|used| recount.beta(&used.symbol) == Some(used.beta));
        if !unknown || !known {
            return Err(format!("{:?} {:?}", portfolio.betas, portfolio.unknown_betas));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn sums_are_those_of_a_recount(ops in prop::collection::vec(op(), 1..120)) {
        let (book, lines) = (streaming(BookConfig::default()), all_lines());
        let mut recount = Recount::default();
        for op in &ops {
            feed(&book, &lines, op);
            recount.apply(op);
            if let Err(difference) = check(&book, &recount) {
                return Err(TestCaseError::fail(difference));
            }
        }
    }

    #[test]
    fn who_follows_the_changes_has_the_book(ops in prop::collection::vec((op(), any::<bool>()), 1..120)) {
        let (book, lines) = (streaming(BookConfig::default()), all_lines());
        let (mut version, mut held) = (0, BTreeMap::new());
        for (op, read) in &ops {
            feed(&book, &lines, op);
            if *read {
                let changes = book.changed_since(version, TEN);
                prop_assert!(changes.complete);
                version = changes.version;
                changes.closed.iter().for_each(|id| drop(held.remove(id)));
                held.extend(changes.lines.into_iter().map(|line| (line.id, line)));
                let now: BTreeMap<_, _> =
                    book.lines(&LineFilter::default(), TEN).into_iter().map(|line| (line.id, line)).collect();
                // The benchmark's price moves every line's share count, which is no change of the line.
                let without = |lines: &BTreeMap<LineId, Line>| {
                    let mut lines = lines.clone();
                    lines.values_mut().for_each(|line| line.figures.beta_weighted_delta = None);
                    lines
                };
                prop_assert_eq!(without(&held), without(&now));
            }
        }
    }
}

#[test]
fn floats_that_are_added_and_taken_away_would_be_caught() {
    // The life of two lines: a huge one comes, a small one changes beside it, the huge one goes.
    let terms = [1e15, 1.0 / 3.0];
    let (mut running, mut present) = (0.0, Vec::new());
    for term in terms {
        running += term;
        present.push(term);
    }
    running -= 1e15;
    present.remove(0);
    assert!(!agrees(running, precise(&present)), "{running}");
    assert!(agrees(precise(&[1e15, 1.0 / 3.0, -1e15]), 1.0 / 3.0));
    // And a recount that is off by one line is not the same.
    let (book, lines) = (streaming(BookConfig::default()), all_lines());
    let mut recount = Recount::default();
    for line in 0..3 {
        let op = Op::Row { line, quantity: 3.0, seconds: 1, values: [Some(0.5); 5] };
        feed(&book, &lines, &op);
        recount.apply(&op);
    }
    assert_eq!(check(&book, &recount), Ok(()));
    recount.apply(&Op::Positions { account: 0, held: vec![(0, 3.0), (1, 3.0)] });
    assert!(check(&book, &recount).is_err());
}
