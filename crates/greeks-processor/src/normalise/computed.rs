//! Greeks that a source never sends, computed from what it does send.

use greeks_model::jiff::civil::{DateTime, Time, time};
use greeks_model::jiff::tz::TimeZone;
use greeks_model::{Contract, Flags, GreekSnapshot, OptionType, UnixNanos};
use greeks_pricing::{Black76, BlackScholes, Greeks, OptionKind};

use super::quotes::Known;
use crate::calendar::settles_at_the_open;

/// What no broker says and the formulas need.
///
/// The rate is an assumption, one for all contracts, and so is the yield. That costs less than it seems, because rho
/// depends on them only at second order: at the money, a rate that is wrong by one point moves rho by less than 3 % at
/// three months and less than 7 % at a year, and so does a yield that is left out. The formulas are those of European
/// options; of an American put deep in the money the rho is too large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PricingInputs {
    /// Riskless rate, continuously compounded, as a fraction per year.
    pub rate: f64,
    /// Dividend yield of stocks and indices, continuously compounded, as a fraction per year. Futures have none.
    pub dividend_yield: f64,
}

impl Default for PricingInputs {
    /// A rate of 4 % and no dividends.
    fn default() -> Self {
        Self { rate: 0.04, dividend_yield: 0.0 }
    }
}

/// What the formulas need of a contract; made once per series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    kind: OptionKind,
    on_future: bool,
    strike: f64,
    expires: UnixNanos,
}

const OPEN: Time = time(9, 30, 0, 0);
/// Options on futures expire at hours that depend on the product; what that makes of the time left is less than a day.
const CLOSE: Time = time(16, 0, 0, 0);

/// Priced off the futures on the index: its spot, which is what sources quote, is not their underlying price.
const NOT_PRICED_OFF_SPOT: [&str; 2] = ["VIX", "VIXW"];

const NANOS_PER_YEAR: f64 = 365.0 * 86_400.0 * 1e9;

impl Terms {
    /// `None` where the formulas do not hold for what a source knows: options on VIX, and adjusted options (`AAPL1`),
    /// whose strike is not for one share.
    pub(super) fn of(contract: &Contract) -> Option<Self> {
        let (root, on_future) = (contract.root(), contract.future().is_some());
        let adjusted = root.ends_with(|last: char| last.is_ascii_digit());
        if !on_future && (adjusted || NOT_PRICED_OFF_SPOT.contains(&root)) {
            return None;
        }
        let last = contract.expiration().to_datetime(if settles_at_the_open(contract) { OPEN } else { CLOSE });
        Some(Self {
            kind: match contract.option_type() {
                OptionType::Call => OptionKind::Call,
                OptionType::Put => OptionKind::Put,
            },
            on_future,
            // Through its text, for the nearest double.
            strike: contract.strike().to_string().parse().ok()?,
            expires: in_new_york(last)?,
        })
    }

    /// Price and Greeks at a moment; `None` from the expiration on.
    fn greeks(&self, inputs: &PricingInputs, at: UnixNanos, underlying: f64, volatility: f64) -> Option<Greeks> {
        let years = self.expires.saturating_since(at).as_nanos() as f64 / NANOS_PER_YEAR;
        let (strike, rate) = (self.strike, inputs.rate);
        if years <= 0.0 {
            None
        } else if self.on_future {
            Some(Black76 { forward: underlying, strike, rate, years }.greeks(self.kind, volatility))
        } else {
            let dividend_yield = inputs.dividend_yield;
            Some(BlackScholes { spot: underlying, strike, rate, dividend_yield, years }.greeks(self.kind, volatility))
        }
    }
}

/// Fills in the Greeks that the source has not sent in this epoch, where price of the underlying and volatility are
/// known, and flags the row if there are any. What it has sent stays as it is: NaN too, for a source that computes a
/// Greek and says that it is unknown has its reasons, and a figure made of the very numbers it distrusts would hide them.
pub(super) fn fill(row: &mut GreekSnapshot, known: &Known, terms: &Terms, inputs: &PricingInputs) {
    let [delta, gamma, theta, vega, rho, ..] = known.values.map(|value| value.is_some());
    if delta && gamma && theta && vega && rho {
        return;
    }
    // A volatility of zero is a placeholder; one that may be off by a factor of a hundred is no basis.
    let volatility = row.implied_volatility.filter(|volatility| *volatility > 0.0 && !known.doubtful_volatility);
    let (Some(volatility), Some(underlying)) = (volatility, row.underlying_price) else { return };
    let Some(greeks) = terms.greeks(inputs, row.event_time, underlying, volatility) else { return };
    let columns = [
        (&mut row.delta, delta, greeks.delta),
        (&mut row.gamma, gamma, greeks.gamma),
        (&mut row.theta, theta, greeks.theta),
        (&mut row.vega, vega, greeks.vega),
        (&mut row.rho, rho, greeks.rho),
    ];
    for (column, sent, computed) in columns {
        if !sent && computed.is_finite() {
            *column = Some(computed);
            row.flags |= Flags::COMPUTED;
        }
    }
}

/// Under the rule in force since 2007. Written out, so that a machine without a time zone database has it too.
fn in_new_york(reading: DateTime) -> Option<UnixNanos> {
    let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").ok()?;
    zone.to_timestamp(reading).ok().map(UnixNanos::from_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(contract: &str) -> Option<Terms> {
        Terms::of(&contract.parse().unwrap())
    }

    #[test]
    fn each_contract_expires_at_its_own_hour() {
        for (contract, expires) in [
            // Daylight saving time ends on 2026-11-01 and begins on 2027-03-14.
            ("SPXW  261124P06650000", "2026-11-24T21:00:00Z"),
            ("AAPL  261030C00232500", "2026-10-30T20:00:00Z"),
            ("SPX   261218P06650000", "2026-12-18T14:30:00Z"),
            ("NDX   270319C20000000", "2027-03-19T13:30:00Z"),
            ("NDXP  270319C20000000", "2027-03-19T20:00:00Z"),
            ("/ESZ26 261127P5000", "2026-11-27T21:00:00Z"),
        ] {
            let found = terms(contract).unwrap();
            assert_eq!(found.expires.to_string(), expires, "{contract}");
        }
    }

    #[test]
    fn strikes_are_the_nearest_doubles() {
        for (contract, strike) in
            [("AAPL  261218C00232500", 232.5), ("AAPL  261218C00000001", 0.001), ("/6JZ26 261204P0.00665", 0.00665)]
        {
            assert_eq!(terms(contract).unwrap().strike.to_bits(), f64::to_bits(strike));
        }
    }

    #[test]
    fn what_is_not_priced_off_the_quoted_underlying_is_left_alone() {
        for contract in ["AAPL1 261218C00232500", "VIX   261216C00020000", "VIXW  261216C00020000"] {
            assert_eq!(terms(contract), None, "{contract}");
        }
        // Digits in a product code of futures mean nothing of the kind.
        assert!(terms("/6JZ26 261204P0.00665").is_some());
    }

    #[test]
    fn an_assumed_rate_costs_little() {
        let rho = |inputs: PricingInputs, days: u64, strike: f64, kind: OptionKind, volatility: f64| {
            let now = UnixNanos::from_millis(1_795_170_400_000);
            let expires = now.saturating_add(std::time::Duration::from_secs(days * 86_400));
            let terms = Terms { kind, on_future: false, strike, expires };
            terms.greeks(&inputs, now, 100.0, volatility).unwrap().rho
        };
        for (days, limit) in [(91, 0.03), (365, 0.07)] {
            for kind in [OptionKind::Call, OptionKind::Put] {
                let assumed = rho(PricingInputs::default(), days, 100.0, kind, 0.2);
                for (rate, dividend_yield) in [(0.03, 0.0), (0.05, 0.0), (0.04, 0.01)] {
                    let truth = rho(PricingInputs { rate, dividend_yield }, days, 100.0, kind, 0.2);
                    let off = (assumed / truth - 1.0).abs();
                    assert!(off < limit && off > 0.001, "{days} days, {kind:?}: {off}");
                }
            }
        }
    }
}
