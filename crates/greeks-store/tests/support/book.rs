//! Lines, values and gaps that begin half an hour before a month ends.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;
use std::time::Duration;

use greeks_model::{
    AccountId, Decimal, GapReason, GapRecord, GreekSnapshot, PositionsRecord, Record, Series, SourceId, UnixNanos,
    testkit,
};
use greeks_store::{Committer, CommitterConfig, Queries};

use crate::support::{Database, WallClock, at};

pub const CALL: &str = "AAPL  261218C00232500";
pub const PUT: &str = "AAPL  261218P00200000";
pub const INDEX: &str = "SPXW  261127P05000000";
/// A month ends half an hour later.
pub const BEGIN: &str = "2018-02-28T23:30:00Z";

pub fn second(second: u64) -> UnixNanos {
    at(BEGIN).saturating_add(Duration::from_secs(second))
}

pub fn series(broker: &str, account: &str, contract: &str) -> Arc<Series> {
    Arc::new(Series {
        broker: SourceId::new(broker).unwrap(),
        account_id: AccountId::new(account).unwrap(),
        underlying: contract.split(' ').next().unwrap().into(),
        contract: contract.parse().unwrap(),
        multiplier: Decimal::from(if contract == INDEX { 50 } else { 100 }),
    })
}

pub fn held(broker: &str, account: &str, second_of: u64, positions: &[(&str, f64)]) -> Record {
    Record::Positions(PositionsRecord {
        source: SourceId::new(broker).unwrap(),
        account_id: AccountId::new(account).unwrap(),
        observed_at: second(second_of),
        positions: positions.iter().map(|(contract, n)| (series(broker, account, contract), *n)).collect(),
    })
}

/// Delta, gamma, theta, vega and the price of the underlying.
pub fn tick(series: &Arc<Series>, second_of: u64, values: [Option<f64>; 5]) -> Record {
    let mut tick = GreekSnapshot::new(Arc::clone(series), second(second_of), second(second_of), 1.0);
    [tick.delta, tick.gamma, tick.theta, tick.vega, tick.underlying_price] = values;
    Record::Snapshot(tick)
}

pub fn gap(source: &str, from: u64, to: Option<u64>) -> Record {
    Record::Gap(GapRecord {
        source: SourceId::new(source).unwrap(),
        from: second(from),
        to: to.map(second),
        reason: GapReason::Silence,
        count: None,
    })
}

/// The clock of the machine was set: no stretch in which the source was not heard.
pub fn clock_step(source: &str, from: u64, to: u64) -> Record {
    let Record::Gap(step) = gap(source, from, Some(to)) else { panic!("not a gap") };
    Record::Gap(GapRecord { reason: GapReason::ClockStep, ..step })
}

pub async fn store(database: &Database, records: &[Record]) -> Queries {
    let log = Box::new(testkit::MemoryLog::new(records.to_vec()));
    let config = CommitterConfig::new(database.config.clone(), "test");
    Committer::new(config, log, Box::new(()), Arc::new(WallClock)).0.run().await.unwrap();
    Queries::new(&database.config, 2).unwrap()
}
