//! Books fed by hand.
#![allow(unreachable_pub)]

use std::sync::Arc;

use greeks_model::{
    AccountId, Contract, Decimal, GreekSnapshot, PositionsRecord, Record, Series, SessionState, SourceId,
};
use greeks_processor::book::{BookConfig, LiveBook};

use super::NOW;

pub const PUT: &str = "SPY   261218P00600000";
pub const CALL: &str = "AAPL  261120C00232500";
pub const FUTURE: &str = "/ESZ26 261127P5000";

pub fn series(broker: &str, account: &str, contract: &str) -> Arc<Series> {
    let contract: Contract = contract.parse().unwrap();
    let underlying = contract.future().map_or_else(|| contract.root().to_owned(), ToString::to_string);
    let multiplier = if contract.future().is_some() { Decimal::from(50) } else { Decimal::ONE_HUNDRED };
    Arc::new(Series {
        broker: SourceId::new(broker).unwrap(),
        account_id: AccountId::new(account).unwrap(),
        contract,
        underlying: underlying.as_str().into(),
        multiplier,
    })
}

pub fn row(series: &Arc<Series>, quantity: f64, delta: f64, price: f64) -> GreekSnapshot {
    let mut row = GreekSnapshot::new(Arc::clone(series), NOW, NOW, quantity);
    (row.delta, row.underlying_price) = (Some(delta), Some(price));
    row
}

pub fn positions(broker: &str, account: &str, held: &[(&Arc<Series>, f64)]) -> Record {
    Record::Positions(PositionsRecord {
        source: SourceId::new(broker).unwrap(),
        account_id: AccountId::new(account).unwrap(),
        observed_at: NOW,
        positions: held.iter().map(|(series, quantity)| (Arc::clone(series), *quantity)).collect(),
    })
}

/// Three lines at two brokers; the last one has no row yet.
pub fn filled() -> LiveBook {
    let book = LiveBook::new(BookConfig::default());
    for source in ["one", "two"] {
        book.source_state(&SourceId::new(source).unwrap(), &SessionState::Connected, NOW);
    }
    let (put, call, future) = (series("one", "5WT00001", PUT), series("two", "U7", CALL), series("two", "U7", FUTURE));
    let mut put_row = row(&put, -3.0, -0.25, 640.0);
    (put_row.gamma, put_row.theta, put_row.vega) = (Some(0.01), Some(-0.1), Some(0.2));
    book.accept(&[
        positions("one", "5WT00001", &[(&put, -3.0)]),
        positions("two", "U7", &[(&call, 2.0), (&future, 1.0)]),
        Record::Snapshot(put_row),
        Record::Snapshot(row(&call, 2.0, 0.5, 230.0)),
    ]);
    book
}

/// A book of so many lines, each with a row.
pub fn large(lines: u32) -> (LiveBook, Vec<Arc<Series>>) {
    let book = LiveBook::new(BookConfig::default());
    book.source_state(&SourceId::new("one").unwrap(), &SessionState::Connected, NOW);
    let all: Vec<_> = (1..=lines).map(|n| series("one", "5WT00001", &format!("SPY   261218P{:08}", n * 500))).collect();
    let held: Vec<_> = all.iter().map(|series| (series, 1.0)).collect();
    book.accept(&[positions("one", "5WT00001", &held)]);
    let rows: Vec<_> = all.iter().map(|series| Record::Snapshot(row(series, 1.0, -0.5, 640.0))).collect();
    book.accept(&rows);
    (book, all)
}
