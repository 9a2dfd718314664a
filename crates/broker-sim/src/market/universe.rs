//! What the simulated market trades: underlyings, option classes, and the contracts of a class.

use greeks_model::{Contract, Decimal, OptionType};
use jiff::civil::{Date, Weekday};
use rust_decimal::prelude::ToPrimitive;

use super::calendar::{business_day, nth_weekday_from, quarterly_future, third_friday};
use super::listing::{Listing, short_future};

/// Something with a price of its own that options are written on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asset {
    /// Symbol in REST documents and on the stream; for futures the product code.
    pub(crate) symbol: &'static str,
    pub(crate) spot: f64,
    /// Fraction per year.
    pub(crate) dividend_yield: f64,
    /// At-the-money volatility of its options.
    pub(crate) volatility: f64,
    /// Slope of the smile per standard deviation of log-moneyness; negative where puts are dear.
    pub(crate) skew: f64,
    pub(crate) tick: f64,
}

pub(crate) const AAPL: usize = 0;
pub(crate) const BRKB: usize = 1;
pub(crate) const SPX: usize = 2;
pub(crate) const FORD: usize = 3;
pub(crate) const YEN: usize = 4;
pub(crate) const EURO: usize = 5;

/// Riskless rate of the simulated market.
pub(crate) const RATE: f64 = 0.0385;

/// The assets by the indices above. `/ES` has no entry: its price follows from that of `SPX`.
pub(crate) const ASSETS: [Asset; 6] = [
    Asset { symbol: "AAPL", spot: 232.4, dividend_yield: 0.0045, volatility: 0.27, skew: -0.022, tick: 0.01 },
    Asset { symbol: "BRK/B", spot: 481.3, dividend_yield: 0.0, volatility: 0.17, skew: -0.02, tick: 0.01 },
    Asset { symbol: "SPX", spot: 6651.0, dividend_yield: 0.0125, volatility: 0.16, skew: -0.035, tick: 0.01 },
    Asset { symbol: "F", spot: 12.31, dividend_yield: 0.05, volatility: 0.38, skew: -0.015, tick: 0.01 },
    Asset { symbol: "6J", spot: 0.00662, dividend_yield: 0.0, volatility: 0.095, skew: 0.012, tick: 0.000_000_5 },
    Asset { symbol: "6E", spot: 1.1035, dividend_yield: 0.0, volatility: 0.075, skew: -0.004, tick: 0.000_05 },
];

/// When the contracts of a class expire.
#[derive(Clone, Copy, Debug)]
enum Cycle {
    Daily,
    Weekly,
    Monthly,
}

/// A class of options: one root on one asset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    /// Option root, or product code of the option where [`Class::future`] is set.
    pub(crate) root: &'static str,
    pub(crate) asset: usize,
    /// Product code of the future the option is on.
    pub(crate) future: Option<&'static str>,
    cycle: Cycle,
    /// Strikes are `base + n * step`; both as digits and decimal places.
    base: (i64, u32),
    step: (i64, u32),
    multiplier: i64,
}

/// In the order in which a book takes from them: with eight positions each class is held.
pub(crate) const CLASSES: [Class; 8] = [
    Class::new("AAPL", AAPL, None, Cycle::Monthly, (0, 0), (25, 1), 100),
    Class::new("SPXW", SPX, None, Cycle::Daily, (0, 0), (5, 0), 100),
    // The number of the week is put before the month: EW1 to EW4.
    Class::new("EW", SPX, Some("ES"), Cycle::Weekly, (0, 0), (5, 0), 50),
    Class::new("F", FORD, None, Cycle::Weekly, (33, 2), (5, 1), 100),
    Class::new("BRKB", BRKB, None, Cycle::Monthly, (0, 0), (5, 0), 100),
    Class::new("JPU", YEN, Some("6J"), Cycle::Monthly, (0, 0), (5, 5), 12_500_000),
    // After a three for two split: the contract stands for 150 shares.
    Class::new("AAPL1", AAPL, None, Cycle::Monthly, (0, 0), (5, 0), 150),
    Class::new("EU", EURO, Some("6E"), Cycle::Weekly, (0, 0), (5, 3), 125_000),
];

/// Traded too, though the book of the market's own customer has none: SPX settles in the morning of the third Friday and
/// is another root than SPXW.
pub(crate) const MORNING: Class = Class::new("SPX", SPX, None, Cycle::Monthly, (0, 0), (5, 0), 100);

impl Class {
    const fn new(
        root: &'static str,
        asset: usize,
        future: Option<&'static str>,
        cycle: Cycle,
        base: (i64, u32),
        step: (i64, u32),
        multiplier: i64,
    ) -> Self {
        Self { root, asset, future, cycle, base, step, multiplier }
    }

    /// The `n`-th expiration after `from`, where the class has one.
    fn expiration(&self, from: Date, n: i32) -> Option<Date> {
        let day = match self.cycle {
            Cycle::Daily => business_day(from, n + 1),
            Cycle::Weekly => nth_weekday_from(from, Weekday::Friday, n + 1),
            Cycle::Monthly => third_friday(from, n),
        };
        // The fifth Friday of a month has no weekly option of its own on the futures.
        (self.future.is_none() || !matches!(self.cycle, Cycle::Weekly) || week(day) <= 4).then_some(day)
    }

    /// The contract `steps` strikes away from the money, expiring on the `n`-th date.
    pub(crate) fn contract(&self, from: Date, n: i32, steps: i64, kind: OptionType, spot: f64) -> Option<Listing> {
        let day = self.expiration(from, n)?;
        let (base, step) = (Decimal::new(self.base.0, self.base.1), Decimal::new(self.step.0, self.step.1));
        let money = Decimal::from_f64_retain(spot)?;
        let nearest = ((money - base) / step).round();
        let strike = base + step * (nearest + Decimal::from(steps));
        if strike < money / Decimal::from(5) || strike > money * Decimal::from(3) {
            return None;
        }
        self.list(day, kind, strike)
    }

    /// The listing of a contract of this class.
    pub(crate) fn list(&self, day: Date, kind: OptionType, strike: Decimal) -> Option<Listing> {
        let Some(product) = self.future else {
            let contract = Contract::osi(self.root, day, kind, strike).ok()?;
            return Some(Listing::osi(contract, ASSETS.get(self.asset)?.symbol, self.multiplier.into()));
        };
        let future = quarterly_future(product, day)?;
        let contract = Contract::on_future(future.clone(), day, kind, strike).ok()?;
        let option_product = match (self.cycle, product) {
            (Cycle::Weekly, "ES") => format!("{}{}", self.root, week(day)),
            (Cycle::Weekly, _) => format!("{}{}", week(day), self.root),
            _ => self.root.to_owned(),
        };
        Some(Listing::on_future(contract, &future, &option_product, "XCME", self.multiplier.into()))
    }
}

/// The class that `contract` belongs to and its listing, if this market trades it.
pub(crate) fn class_of(contract: &Contract) -> Option<(&'static Class, Listing)> {
    CLASSES.iter().chain([&MORNING]).find_map(|class| {
        let same = match contract.future() {
            Some(future) => class.future == Some(future.product()),
            None => class.future.is_none() && class.root == contract.root(),
        };
        let listing = same.then(|| class.list(contract.expiration(), contract.option_type(), contract.strike()))??;
        (listing.contract == *contract).then_some((class, listing))
    })
}

/// The streamer symbol of a listing's underlying: futures carry a two-digit year and the exchange.
pub(crate) fn underlying_streamer(listing: &Listing) -> String {
    match listing.contract.future() {
        Some(future) => format!("{future}:XCME"),
        None => listing.underlying.clone(),
    }
}

/// The REST symbol of a listing's underlying.
pub(crate) fn underlying_rest(listing: &Listing) -> String {
    listing.contract.future().map_or_else(|| listing.underlying.clone(), short_future)
}

/// A contract's strike as a double, for pricing.
pub(crate) fn strike(contract: &Contract) -> f64 {
    strike_value(contract.strike())
}

/// A strike as a double, for pricing.
pub(crate) fn strike_value(strike: Decimal) -> f64 {
    strike.to_f64().unwrap_or(f64::NAN)
}

/// Which Friday of its month a day is, from 1.
fn week(day: Date) -> i32 {
    (i32::from(day.day()) - 1) / 7 + 1
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn every_class_lists_contracts_that_lead_back_to_it() {
        let today = date(2026, 11, 23);
        for class in CLASSES.iter().chain([&MORNING]) {
            let spot = ASSETS[class.asset].spot;
            let mut listed = 0;
            for n in 0..6 {
                for steps in [-2, 0, 3] {
                    let Some(listing) = class.contract(today, n, steps, OptionType::Put, spot) else { continue };
                    let (found, again) = class_of(&listing.contract).unwrap();
                    assert_eq!(found.root, class.root, "{listing:?}");
                    assert_eq!(again, listing);
                    assert!(listing.contract.expiration() > today);
                    listed += 1;
                }
            }
            assert!(listed >= 12, "{} lists {listed}", class.root);
        }
        assert!(class_of(&"MSFT  261218C00500000".parse().unwrap()).is_none());
    }

    #[test]
    fn symbols_are_of_the_shapes_brokers_use() {
        let today = date(2026, 11, 23);
        let symbol = |class: usize, n| {
            let spot = ASSETS[CLASSES[class].asset].spot;
            CLASSES[class].contract(today, n, 0, OptionType::Call, spot).unwrap()
        };
        assert_eq!(symbol(0, 0).streamer_symbol, ".AAPL261218C232.5");
        assert_eq!(symbol(3, 0).streamer_symbol, ".F261204C12.33");
        assert_eq!(symbol(2, 0).rest_symbol, "./ESZ6 EW1Z6 261204C6650");
        assert_eq!(symbol(5, 0).contract.to_string(), "/6JZ26 261218C0.0066");
        assert_eq!(symbol(7, 0).rest_symbol, "./6EZ6 1EUZ6 261204C1.105");
        assert_eq!(underlying_streamer(&symbol(7, 0)), "/6EZ26:XCME");
        assert_eq!(symbol(6, 0).contract.root(), "AAPL1");
    }
}
