//! How the book changes.

use std::sync::Arc;

use greeks_model::jiff::civil::Date;
use greeks_model::{
    AccountId, GreekSnapshot, PositionsRecord, Record, Reference, Series, SessionState, SourceId, UnixNanos,
};
use rustc_hash::FxHashMap;

use super::betas::{Benchmark, Beta, Betas};
use super::config::BookConfig;
use super::groups::Groups;
use super::names::LineId;
use super::slot::{Key, Place, Slot};
use super::sums::{Change, Sums, Terms};
use crate::calendar::MarketCalendar;

/// Everything the book knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) calendar: MarketCalendar,
    pub(super) stale_after: std::time::Duration,
    closed_limit: usize,
    pub(super) benchmark_symbol: Arc<str>,
    pub(super) benchmark: Benchmark,
    betas: Betas,

    pub(super) slots: Vec<Slot>,
    // Keys are what the account holds and nobody's choice: a plain hash does.
    numbers: FxHashMap<Key, usize>,
    closed: usize,
    next_id: u64,

    pub(super) underlyings: Groups<Arc<str>>,
    pub(super) expiries: Groups<Date>,
    pub(super) accounts: Groups<AccountId>,
    pub(super) brokers: Groups<SourceId>,
    pub(super) total: Sums,
    /// By the number of an underlying.
    pub(super) weights: Vec<Weight>,
    /// By the number of a broker.
    pub(super) links: Vec<Link>,

    pub(super) version: u64,
    /// The version of the newest change to a line that is forgotten.
    pub(super) forgotten: u64,
    positions_records: u64,
}

/// What is known of an underlying.
#[derive(Debug)]
pub(super) struct Weight {
    product: Option<Box<str>>,
    is_benchmark: bool,
    pub(super) beta: Option<Beta>,
}

/// Whether a source streams, and since when that is so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    pub(super) streams: bool,
    pub(super) since: Option<UnixNanos>,
}

impl State {
    pub(super) fn new(config: BookConfig) -> Self {
        Self {
            calendar: config.calendar,
            stale_after: config.stale_after,
            closed_limit: config.closed_lines,
            benchmark: Benchmark::new(config.benchmark_price),
            betas: Betas::new(Arc::clone(&config.benchmark), config.betas),
            benchmark_symbol: config.benchmark,
            slots: Vec::new(),
            numbers: FxHashMap::default(),
            closed: 0,
            next_id: 1,
            underlyings: Groups::default(),
            expiries: Groups::default(),
            accounts: Groups::default(),
            brokers: Groups::default(),
            total: Sums::default(),
            weights: Vec::new(),
            links: Vec::new(),
            version: 0,
            forgotten: 0,
            positions_records: 0,
        }
    }

    pub(super) fn accept(&mut self, record: &Record) {
        match record {
            Record::Snapshot(row) => self.row(row),
            Record::Positions(positions) => self.positions(positions),
            // Gaps and shed rows are about what is not here.
            _ => {}
        }
    }

    fn row(&mut self, row: &GreekSnapshot) {
        let number = self.number(&row.series);
        let Some(slot) = self.slots.get_mut(number) else { return };
        slot.take(row);
        if row.quantity.is_finite() {
            slot.hold(row.quantity, row.received_at);
        }
        let of_benchmark = self.weights.get(slot.place.underlying).is_some_and(|weight| weight.is_benchmark);
        if let (true, Some(price)) = (of_benchmark, row.underlying_price) {
            self.benchmark.tell(price, &row.series.broker, row.received_at);
        }
        self.settle(number);
        self.forget();
    }

    fn positions(&mut self, record: &PositionsRecord) {
        self.positions_records += 1;
        let this = self.positions_records;
        for (series, quantity) in &record.positions {
            let number = self.number(series);
            let Some(slot) = self.slots.get_mut(number) else { continue };
            slot.named = this;
            if quantity.is_finite() && slot.quantity != *quantity {
                slot.hold(*quantity, record.observed_at);
                self.settle(number);
            }
        }
        let (broker, account) = (self.broker(&record.source), self.accounts.number(&record.account_id));
        for number in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(number) else { continue };
            let is_missing = slot.place.broker == broker && slot.place.account == account && slot.named != this;
            if is_missing && slot.is_open() {
                slot.quantity = 0.0;
                self.settle(number);
            }
        }
        self.forget();
    }

    pub(super) fn reference(&mut self, reference: &Reference, source: &SourceId) {
        if let Some(price) = reference.price
            && *reference.underlying == *self.benchmark_symbol
            && self.benchmark.tell(price, source, reference.as_of)
        {
            self.version += 1;
        }
        if !self.betas.tell(reference, source) {
            return;
        }
        self.version += 1;
        for underlying in 0..self.weights.len() {
            let Some(weight) = self.weights.get_mut(underlying) else { continue };
            let Some(symbol) = self.underlyings.key(underlying) else { continue };
            let beta = self.betas.find(symbol, weight.product.as_deref());
            let value = |beta: &Option<Beta>| beta.as_ref().map(|beta| beta.0);
            let is_other = value(&beta) != value(&weight.beta);
            weight.beta = beta;
            if is_other {
                self.settle_all_on(underlying);
            }
        }
    }

    fn settle_all_on(&mut self, underlying: usize) {
        for number in 0..self.slots.len() {
            if self.slots.get(number).is_some_and(|slot| slot.place.underlying == underlying && slot.is_open()) {
                self.settle(number);
            }
        }
    }

    pub(super) fn source_state(&mut self, source: &SourceId, state: &SessionState, at: UnixNanos) {
        let streams = matches!(state, SessionState::Connected | SessionState::Degraded { .. });
        let broker = self.broker(source);
        let Some(link) = self.links.get_mut(broker) else { return };
        if link.since.is_none() || link.streams != streams {
            *link = Link { streams, since: Some(at) };
        }
        self.judge_age(at);
    }

    /// The line of `series`, a new and closed one on first sight.
    fn number(&mut self, series: &Arc<Series>) -> usize {
        let key = Key(Arc::clone(series));
        let Some(number) = self.numbers.get(&key).copied() else {
            let (number, place) = (self.slots.len(), self.place(series));
            let last_trade = self.calendar.last_trade(&series.contract);
            self.slots.push(Slot::new(LineId(self.next_id), series, place, last_trade));
            self.numbers.insert(key, number);
            self.next_id += 1;
            self.closed += 1;
            return number;
        };
        if self.slots.get(number).is_some_and(|slot| !Arc::ptr_eq(&slot.series, series)) {
            self.rename(number, series);
        }
        number
    }

    fn rename(&mut self, number: usize, series: &Arc<Series>) {
        let place = self.place(series);
        let Some(slot) = self.slots.get_mut(number) else { return };
        let moves = slot.place != place || slot.series.multiplier != series.multiplier;
        if moves && let Some(was) = slot.terms.take() {
            // Out of the sums under the old name, and back under the new one.
            let old = slot.place;
            slot.rename(series, place);
            self.closed += 1;
            self.change(old, Some(&was), None);
            self.settle(number);
        } else {
            slot.rename(series, place);
        }
    }

    fn place(&mut self, series: &Series) -> Place {
        let underlying = self.underlyings.number(&series.underlying);
        if underlying == self.weights.len() {
            let product = series.contract.future().map(|future| format!("/{}", future.product()).into_boxed_str());
            let beta = self.betas.find(&series.underlying, product.as_deref());
            let is_benchmark = *series.underlying == *self.benchmark_symbol;
            self.weights.push(Weight { product, is_benchmark, beta });
        }
        Place {
            underlying,
            expiry: self.expiries.number(&series.contract.expiration()),
            account: self.accounts.number(&series.account_id),
            broker: self.broker(&series.broker),
        }
    }

    fn broker(&mut self, source: &SourceId) -> usize {
        let number = self.brokers.number(source);
        self.links.resize(self.brokers.len(), Link::default());
        number
    }

    /// Brings the sums up to what line `number` amounts to now, under a new version.
    fn settle(&mut self, number: usize) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        let beta = self.weights.get(slot.place.underlying).and_then(|weight| weight.beta.as_ref()).map(|beta| beta.0);
        let is = slot.amounts_to(beta);
        let was = std::mem::replace(&mut slot.terms, is);
        self.version += 1;
        slot.version = self.version;
        let place = slot.place;
        match (&was, &is) {
            (None, Some(_)) => self.closed -= 1,
            (Some(_), None) => self.closed += 1,
            _ => {}
        }
        self.change(place, was.as_ref(), is.as_ref());
    }

    fn change(&mut self, place: Place, was: Option<&Terms>, is: Option<&Terms>) {
        let change = Change::between(was, is);
        self.underlyings.change(place.underlying, &change);
        self.expiries.change(place.expiry, &change);
        self.accounts.change(place.account, &change);
        self.brokers.change(place.broker, &change);
        self.total.apply(&change);
    }

    /// Drops the closed lines that have been closed longest, half of them at a time so that it is seldom done.
    fn forget(&mut self) {
        if self.closed <= self.closed_limit {
            return;
        }
        let mut versions: Vec<u64> =
            self.slots.iter().filter(|slot| !slot.is_open()).map(|slot| slot.version).collect();
        versions.sort_unstable();
        let dropped = versions.len() - self.closed_limit / 2;
        let Some(newest) = dropped.checked_sub(1).and_then(|last| versions.get(last)) else { return };
        self.forgotten = self.forgotten.max(*newest);
        self.slots.retain(|slot| slot.is_open() || slot.version > *newest);
        self.closed = self.slots.iter().filter(|slot| !slot.is_open()).count();
        self.numbers.clear();
        for (number, slot) in self.slots.iter().enumerate() {
            self.numbers.insert(Key(Arc::clone(&slot.series)), number);
        }
    }
}
