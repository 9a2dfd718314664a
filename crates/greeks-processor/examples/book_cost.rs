//! What the live book costs: `cargo run --release -p greeks-processor --example book_cost -- [lines]`.
#![allow(clippy::print_stdout, reason = "the figures are the purpose")]

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greeks_model::{
    AccountId, Contract, Decimal, GreekSnapshot, OptionType, Record, Series, SessionState, SourceId, UnixNanos, jiff,
};
use greeks_processor::book::{BookConfig, GroupBy, LineFilter, LiveBook};

/// Rows accepted together, as by a pipeline at 5,000 rows a second and 10 batches.
const BATCH: usize = 500;
const ROUNDS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let lines: usize = std::env::args().nth(1).map_or(Ok(5_000), |text| text.parse())?;
    let now = UnixNanos::from_timestamp("2026-11-24T15:00:00Z".parse()?);
    let all: Vec<Arc<Series>> = (0..lines).map(|number| series(number).map(Arc::new)).collect::<Result<_, _>>()?;
    let book = LiveBook::new(BookConfig::default());
    for broker in ["one", "two"] {
        book.source_state(&SourceId::new(broker)?, &SessionState::Connected, now);
    }
    let batch = |round: usize| -> Vec<Record> {
        let start = round * BATCH;
        (start..start + BATCH).map(|number| row(&all[number % lines], number, now)).collect()
    };
    (0..lines.div_ceil(BATCH)).for_each(|round| book.accept(&batch(round)));

    let mut all_times: Vec<(&str, Vec<Duration>)> = Vec::new();
    let mut version = book.version();
    for round in 0..ROUNDS {
        let records = batch(round + 1_000);
        let mut note = |name, took| match all_times.iter_mut().find(|(known, _)| *known == name) {
            Some((_, all)) => all.push(took),
            None => all_times.push((name, vec![took])),
        };
        note("accept a batch", timed(|| book.accept(&records)));
        for group_by in GroupBy::ALL {
            note(group_by.as_str(), timed(|| drop(black_box(book.portfolio(group_by, now)))));
        }
        note("changed_since", timed(|| version = black_box(book.changed_since(version, now)).version));
        note("lines", timed(|| drop(black_box(book.lines(&LineFilter::default(), now)))));
    }
    println!("{lines} lines, batches of {BATCH} rows");
    for (name, mut all) in all_times {
        all.sort_unstable();
        let at = |percent: usize| all[(all.len() - 1) * percent / 100];
        println!("{name:<14} p50 {:>9.1?}  p99 {:>9.1?}", at(50), at(99));
    }
    Ok(())
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// 100 underlyings, 20 expirations, 6 accounts at 2 brokers.
fn series(number: usize) -> Result<Series, Box<dyn Error>> {
    let underlying = format!("U{}", number % 100);
    let expiration =
        jiff::civil::date(2026, 11, 24).checked_add(jiff::Span::new().days((number / 100 % 20) as i64 * 7))?;
    let strike = Decimal::from(100 + number / 100);
    Ok(Series {
        broker: SourceId::new(if number % 6 < 3 { "one" } else { "two" })?,
        account_id: AccountId::new(&format!("A{}", number % 6))?,
        contract: Contract::osi(&underlying, expiration, OptionType::Put, strike)?,
        underlying: underlying.as_str().into(),
        multiplier: Decimal::ONE_HUNDRED,
    })
}

fn row(series: &Arc<Series>, number: usize, now: UnixNanos) -> Record {
    let x = (number % 997) as f64 / 997.0;
    let mut row = GreekSnapshot::new(Arc::clone(series), now, now, if number.is_multiple_of(2) { 3.0 } else { -2.0 });
    (row.delta, row.gamma, row.theta, row.vega) = (Some(x), Some(x * 0.01), Some(-x), Some(x * 0.3));
    (row.rho, row.implied_volatility, row.underlying_price) = (Some(x * 0.1), Some(0.2 + x), Some(100.0 + x));
    Record::Snapshot(row)
}
