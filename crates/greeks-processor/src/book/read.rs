//! What readers are given.

use std::sync::Arc;
use std::time::Duration;

use greeks_model::jiff::civil::Date;
use greeks_model::{SourceId, UnixNanos};

use super::groups::{Group, Groups};
use super::names::{ExpiryBucket, GroupBy, Missing, StaleReason};
use super::slot::Slot;
use super::state::State;
use super::sums::Sums;
use super::view::{Aggregate, Changes, Line, LineFilter, NotIncluded, Portfolio, UsedBeta};
use crate::calendar::Product;

/// What a moment means for ages, looked up once for all lines.
pub(super) struct Moment {
    now: UnixNanos,
    today: Date,
    /// Since when the market is open, by product.
    open_since: [Option<UnixNanos>; Product::ALL.len()],
}

/// What is counted anew at each reading, since it changes with time alone.
#[derive(Clone, Copy, Default)]
struct Counted {
    lines: u32,
    covered: u32,
    stale: u32,
    oldest: Option<UnixNanos>,
    newest: Option<UnixNanos>,
}

impl Counted {
    fn count(&mut self, slot: &Slot) {
        self.lines += 1;
        self.covered += u32::from(slot.row.is_some_and(|row| row.delta.is_some()));
        self.stale += u32::from(slot.stale.is_some());
        if let Some(row) = &slot.row {
            self.oldest = Some(self.oldest.map_or(row.received_at, |oldest| oldest.min(row.received_at)));
            self.newest = self.newest.max(Some(row.received_at));
        }
    }

    fn aggregate(&self, key: Arc<str>, sums: &Sums, benchmark_price: Option<f64>) -> Aggregate {
        Aggregate {
            key,
            lines: self.lines,
            covered: self.covered,
            stale: self.stale,
            oldest: self.oldest,
            newest: self.newest,
            figures: sums.figures(benchmark_price),
        }
    }
}

impl State {
    pub(super) fn portfolio(&mut self, group_by: GroupBy, now: UnixNanos) -> Portfolio {
        let moment = self.judge_age(now);
        let groups = match group_by {
            GroupBy::Underlying => self.groups(&self.underlyings, |slot| slot.place.underlying, Arc::clone),
            GroupBy::Account => self.groups(&self.accounts, |slot| slot.place.account, |key| key.as_str().into()),
            GroupBy::Broker => self.groups(&self.brokers, |slot| slot.place.broker, |key| key.as_str().into()),
            GroupBy::Expiry => self.buckets(moment.today),
        };
        let mut all = Counted::default();
        self.open().for_each(|slot| all.count(slot));
        let (mut betas, mut unknown_betas) = (Vec::new(), Vec::new());
        for (group, weight) in self.underlyings.iter().zip(&self.weights) {
            match &weight.beta {
                _ if group.sums().is_none() => {}
                Some((beta, source)) => {
                    betas.push(UsedBeta { symbol: Arc::clone(&group.key), beta: *beta, source: source.clone() });
                }
                None => unknown_betas.push(Arc::clone(&group.key)),
            }
        }
        betas.sort_unstable_by(|a, b| a.symbol.cmp(&b.symbol));
        unknown_betas.sort_unstable();
        Portfolio {
            version: self.version,
            at: now,
            group_by,
            groups,
            total: all.aggregate("total".into(), &self.total, self.benchmark.price()),
            benchmark: Arc::clone(&self.benchmark_symbol),
            benchmark_price: self.benchmark.view(now),
            betas,
            unknown_betas,
        }
    }

    fn groups<K: Clone + Eq + std::hash::Hash>(
        &self,
        groups: &Groups<K>,
        number: impl Fn(&Slot) -> usize,
        name: impl Fn(&K) -> Arc<str>,
    ) -> Vec<Aggregate> {
        let mut counted = vec![Counted::default(); groups.len()];
        for slot in self.open() {
            if let Some(counted) = counted.get_mut(number(slot)) {
                counted.count(slot);
            }
        }
        let price = self.benchmark.price();
        let aggregate =
            |(group, counted): (&Group<K>, &Counted)| Some(counted.aggregate(name(&group.key), group.sums()?, price));
        let mut found: Vec<Aggregate> = groups.iter().zip(&counted).filter_map(aggregate).collect();
        found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        found
    }

    fn buckets(&self, today: Date) -> Vec<Aggregate> {
        let mut found = ExpiryBucket::ALL.map(|bucket| (bucket, Counted::default(), Sums::default()));
        for group in self.expiries.iter() {
            let bucket = ExpiryBucket::of(days_between(today, group.key));
            if let (Some(sums), Some(found)) = (group.sums(), found.iter_mut().find(|found| found.0 == bucket)) {
                found.2.merge(sums);
            }
        }
        for slot in self.open() {
            let bucket = ExpiryBucket::of(days_between(today, slot.series.contract.expiration()));
            if let Some(found) = found.iter_mut().find(|found| found.0 == bucket) {
                found.1.count(slot);
            }
        }
        let price = self.benchmark.price();
        let held = found.iter().filter(|found| found.1.lines > 0);
        held.map(|(bucket, counted, sums)| counted.aggregate(bucket.as_str().into(), sums, price)).collect()
    }

    pub(super) fn lines(&mut self, filter: &LineFilter, now: UnixNanos) -> Vec<Line> {
        let moment = self.judge_age(now);
        let passes = |slot: &&Slot| {
            (filter.closed || slot.is_open())
                && filter.broker.as_ref().is_none_or(|broker| *broker == slot.series.broker)
                && filter.account_id.as_ref().is_none_or(|account| *account == slot.series.account_id)
                && filter.underlying.as_ref().is_none_or(|underlying| *underlying == slot.series.underlying)
        };
        self.slots.iter().filter(passes).map(|slot| self.line(slot, &moment)).collect()
    }

    pub(super) fn changed_since(&mut self, version: u64, now: UnixNanos) -> Changes {
        let moment = self.judge_age(now);
        let mut changes = Changes { version: self.version, lines: Vec::new(), closed: Vec::new(), complete: false };
        if version > self.version || version < self.forgotten {
            return changes;
        }
        changes.complete = true;
        for slot in self.slots.iter().filter(|slot| slot.version > version) {
            if slot.is_open() {
                changes.lines.push(self.line(slot, &moment));
            } else {
                changes.closed.push(slot.id);
            }
        }
        changes
    }

    pub(super) fn not_included(&mut self, now: UnixNanos) -> Vec<NotIncluded> {
        let moment = self.judge_age(now);
        let found = self.open().filter_map(|slot| Some((slot, missing(slot)?)));
        found.map(|(slot, reason)| NotIncluded { line: self.line(slot, &moment), reason }).collect()
    }

    pub(super) fn overdue(&mut self, now: UnixNanos) -> Vec<(SourceId, u32)> {
        let moment = self.judge_age(now);
        let mut counts = vec![0; self.links.len()];
        for slot in self.open() {
            let streams = self.links.get(slot.place.broker).filter(|link| link.streams).and_then(|link| link.since);
            let is_overdue = streams.is_some_and(|since| moment.is_overdue(slot, since, self.stale_after));
            if let Some(count) = counts.get_mut(slot.place.broker) {
                *count += u32::from(is_overdue);
            }
        }
        let brokers = self.brokers.iter().map(|group| group.key.clone());
        brokers.zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    /// Looks at the age of every open line; one that has become stale or ceased to be has changed.
    pub(super) fn judge_age(&mut self, now: UnixNanos) -> Moment {
        let moment = Moment {
            now,
            today: self.calendar.date(now),
            open_since: Product::ALL.map(|product| self.calendar.open_since(product, now)),
        };
        let version = self.version + 1;
        let Self { slots, links, stale_after, .. } = self;
        for slot in slots.iter_mut().filter(|slot| slot.is_open()) {
            let streams = links.get(slot.place.broker).is_some_and(|link| link.streams);
            let stale = if !streams {
                Some(StaleReason::SourceDown)
            } else if moment.is_old(slot, *stale_after) {
                Some(StaleReason::Old)
            } else {
                None
            };
            if slot.stale != stale {
                slot.stale = stale;
                slot.version = version;
                self.version = version;
            }
        }
        moment
    }

    fn open(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.is_open())
    }

    fn line(&self, slot: &Slot, moment: &Moment) -> Line {
        let row = slot.row.as_ref();
        let received_at = row.map(|row| row.received_at);
        // The age of a closed line is nobody's concern.
        let stale = slot.stale.filter(|_| slot.is_open());
        let stale_since = match stale {
            Some(StaleReason::SourceDown) => self.links.get(slot.place.broker).and_then(|link| link.since),
            Some(StaleReason::Old) => received_at,
            None => None,
        };
        Line {
            id: slot.id,
            version: slot.version,
            series: Arc::clone(&slot.series),
            quantity: slot.quantity,
            open: slot.is_open(),
            event_time: row.map(|row| row.event_time),
            received_at,
            flags: row.map(|row| row.flags),
            delta: row.and_then(|row| row.delta),
            gamma: row.and_then(|row| row.gamma),
            theta: row.and_then(|row| row.theta),
            vega: row.and_then(|row| row.vega),
            rho: row.and_then(|row| row.rho),
            implied_volatility: row.and_then(|row| row.implied_volatility),
            option_price: row.and_then(|row| row.option_price),
            underlying_price: row.and_then(|row| row.underlying_price),
            days_to_expiry: days_between(moment.today, slot.series.contract.expiration()),
            stale,
            stale_since,
            age: received_at.map(|at| moment.now.saturating_since(at)),
            figures: slot.terms.map(|terms| terms.figures(self.benchmark.price())).unwrap_or_default(),
        }
    }
}

impl Moment {
    /// Whether the line's market has been open for longer than the limit without a row. A line that never had one is
    /// not old: it is missing.
    fn is_old(&self, slot: &Slot, limit: Duration) -> bool {
        let Some(row) = &slot.row else { return false };
        self.opened(slot).is_some_and(|opened| self.now.saturating_since(row.received_at.max(opened)) > limit)
    }

    /// Whether the line has had no row for longer than the limit, although it was there, its market open, and its source
    /// streaming since `streams` all the while.
    fn is_overdue(&self, slot: &Slot, streams: UnixNanos, limit: Duration) -> bool {
        let seen = slot.row.as_ref().map_or(UnixNanos::EPOCH, |row| row.received_at);
        let since = |opened: UnixNanos| opened.max(seen).max(slot.since).max(streams);
        self.opened(slot).is_some_and(|opened| self.now.saturating_since(since(opened)) > limit)
    }

    /// Since when the line's contract is traded, if it is now.
    fn opened(&self, slot: &Slot) -> Option<UnixNanos> {
        if slot.last_trade.is_some_and(|last| last <= self.now) {
            return None;
        }
        self.open_since.get(slot.product as usize).copied().flatten()
    }
}

/// The first thing that keeps a line out of a sum.
fn missing(slot: &Slot) -> Option<Missing> {
    let (Some(row), Some(terms)) = (&slot.row, &slot.terms) else { return Some(Missing::NoRow) };
    if row.delta.is_none() {
        Some(Missing::NoDelta)
    } else if row.underlying_price.is_none() {
        Some(Missing::NoUnderlyingPrice)
    } else if terms.delta_dollars.is_some() && terms.beta_weighted_delta_dollars.is_none() {
        Some(Missing::NoBeta)
    } else {
        let others = [terms.delta_dollars, terms.gamma_1pct, terms.theta, terms.vega];
        others.iter().any(Option::is_none).then_some(Missing::NoOtherGreek)
    }
}

/// Negative when `day` is past.
fn days_between(today: Date, day: Date) -> i32 {
    // Dates of the range of times are at most a few hundred thousand days apart.
    today.until(day).map_or(0, |span| span.get_days())
}
