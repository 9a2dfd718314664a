//! What is known of each instrument in the present connection epoch.

use greeks_model::{Flags, InstrumentId, QuoteUpdate};

/// The latest number of each field, as the source sent it: NaN for "unknown", an infinity for itself. `None` until the
/// field came for the first time in the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Known {
    /// Delta, gamma, theta, vega, rho, implied volatility, option price.
    pub(super) values: [Option<f64>; 7],
    bid: Option<f64>,
    ask: Option<f64>,
    last: Option<f64>,
    /// Whether the latest of these prices was delayed.
    pub(super) is_price_delayed: bool,
    /// Whether the source doubts the scale of the volatility it sent last.
    pub(super) doubtful_volatility: bool,
    /// Whether a Greek was known at any time in the epoch: from then on "unknown" is news and gives a row too.
    pub(super) greek_seen: bool,
}

impl Known {
    fn merge(&mut self, update: &QuoteUpdate) {
        let greeks = [update.delta, update.gamma, update.theta, update.vega, update.rho];
        let carried = greeks.into_iter().chain([update.implied_volatility, update.option_price]);
        for (known, carried) in self.values.iter_mut().zip(carried) {
            *known = carried.or(*known);
        }
        if update.implied_volatility.is_some() {
            self.doubtful_volatility = update.flags.contains(Flags::DOUBTFUL_IV_SCALE);
        }
        if update.bid_price.or(update.ask_price).or(update.last_price).is_some() {
            self.is_price_delayed = update.flags.contains(Flags::DELAYED);
        }
        self.bid = update.bid_price.or(self.bid);
        self.ask = update.ask_price.or(self.ask);
        self.last = update.last_price.or(self.last);
        self.greek_seen |= greeks.into_iter().flatten().any(f64::is_finite);
    }

    /// The price of an underlying: the last trade, else the middle of the market. Prices of stocks and indices are
    /// above zero and zero is a placeholder; a future can be worth nothing or less.
    pub(super) fn price(&self, of_a_future: bool) -> Option<f64> {
        let usable = |price: &f64| price.is_finite() && (of_a_future || *price > 0.0);
        self.last.filter(usable).or_else(|| Some(f64::midpoint(self.bid.filter(usable)?, self.ask.filter(usable)?)))
    }

    /// Whether one of the numbers a price is made of is infinite.
    pub(super) fn price_is_infinite(&self) -> bool {
        [self.last, self.bid, self.ask].into_iter().flatten().any(f64::is_infinite)
    }
}

/// The state of all instruments of one source.
#[derive(Debug)]
pub(super) struct Quotes {
    /// By [`InstrumentId::index`]. A slot of an earlier epoch counts as empty, so a new epoch costs nothing.
    slots: Vec<Slot>,
    epoch: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    epoch: u64,
    known: Known,
}

impl Quotes {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), epoch: 1 }
    }

    /// The number of the present connection epoch, from 1.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Begins a connection epoch in which nothing is known.
    pub(super) const fn begin_epoch(&mut self) {
        self.epoch += 1;
    }

    /// Takes over what `update` carries and returns what is known now.
    pub(super) fn merge(&mut self, update: &QuoteUpdate) -> Known {
        let index = update.instrument.index();
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Slot::default());
        }
        let Some(slot) = self.slots.get_mut(index) else { return Known::default() };
        if slot.epoch != self.epoch {
            *slot = Slot { epoch: self.epoch, known: Known::default() };
        }
        slot.known.merge(update);
        slot.known
    }

    /// What is known of an instrument, nothing included.
    pub(super) fn known(&self, instrument: InstrumentId) -> Known {
        let slot = self.slots.get(instrument.index()).filter(|slot| slot.epoch == self.epoch);
        slot.map(|slot| slot.known).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priced(last: Option<f64>, bid: Option<f64>, ask: Option<f64>) -> Known {
        Known { last, bid, ask, ..Known::default() }
    }

    #[test]
    fn price_is_the_last_trade_else_the_middle() {
        assert_eq!(priced(Some(10.0), Some(1.0), Some(2.0)).price(false), Some(10.0));
        assert_eq!(priced(None, Some(1.0), Some(2.0)).price(false), Some(1.5));
        assert_eq!(priced(Some(f64::NAN), Some(1.0), Some(2.0)).price(false), Some(1.5));
        assert_eq!(priced(Some(f64::INFINITY), Some(1.0), Some(2.0)).price(false), Some(1.5));
        assert_eq!(priced(None, Some(f64::MAX), Some(f64::MAX)).price(false), Some(f64::MAX));
        for (bid, ask) in [(None, Some(2.0)), (Some(1.0), None), (Some(f64::NAN), Some(2.0)), (Some(0.0), Some(2.0))] {
            assert_eq!(priced(None, bid, ask).price(false), None);
        }
    }

    #[test]
    fn only_a_future_may_be_worth_nothing_or_less() {
        assert_eq!(priced(Some(-37.63), None, None).price(true), Some(-37.63));
        assert_eq!(priced(Some(0.0), None, None).price(true), Some(0.0));
        assert_eq!(priced(Some(-37.63), None, None).price(false), None);
        assert_eq!(priced(Some(0.0), Some(1.0), Some(2.0)).price(false), Some(1.5));
        assert_eq!(priced(None, Some(-2.0), Some(1.0)).price(true), Some(-0.5));
    }
}
