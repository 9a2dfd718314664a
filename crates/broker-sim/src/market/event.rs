//! What a market emits: values of one symbol at one instant.

/// Number of a streamer symbol in one [`Hub`](crate::market::Hub), dense from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SymbolId(pub(crate) u32);

impl SymbolId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// When a value was computed: milliseconds since 1970 UTC, and a number that separates values of one millisecond.
///
/// Both rise together per symbol, so comparing stamps is comparing age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub time: i64,
    /// 0 to [`Stamp::MAX_SEQUENCE`].
    pub sequence: u32,
}

impl Stamp {
    /// The largest sequence the 22 bits of an index hold.
    pub const MAX_SEQUENCE: u32 = (1 << 22) - 1;

    /// The 64-bit index of an event: seconds, milliseconds and sequence in one number that rises with the stamp, as
    /// dxFeed composes it.
    #[must_use]
    pub const fn index(self) -> i64 {
        let seconds = self.time.div_euclid(1000);
        let millis = self.time.rem_euclid(1000);
        (seconds << 32) | (millis << 22) | self.sequence as i64
    }

    /// The next stamp of a symbol at wall time `time`: never before or equal to this one, even if the clock went back.
    #[must_use]
    pub const fn next(self, time: i64) -> Self {
        if time > self.time {
            Self { time, sequence: 0 }
        } else if self.sequence < Self::MAX_SEQUENCE {
            Self { time: self.time, sequence: self.sequence + 1 }
        } else {
            Self { time: self.time + 1, sequence: 0 }
        }
    }
}

/// The figures of one Greeks event, per one unit of the contract: theta per calendar day, vega per volatility point,
/// rho per 1 % of rate, as dxFeed publishes them (dxFeed Java API, `com.dxfeed.event.option.Greeks`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GreekValues {
    /// The option's own price.
    pub price: f64,
    /// Implied volatility as a fraction.
    pub volatility: f64,
    /// Per 1.00 of the underlying.
    pub delta: f64,
    /// Change of delta per 1.00 of the underlying.
    pub gamma: f64,
    /// Per calendar day.
    pub theta: f64,
    /// Per 1 % of rate.
    pub rho: f64,
    /// Per volatility point.
    pub vega: f64,
}

impl GreekValues {
    /// A price whose volatility has no solution: every other figure is NaN.
    pub(crate) const fn unsolved(price: f64) -> Self {
        let nan = f64::NAN;
        Self { price, volatility: nan, delta: nan, gamma: nan, theta: nan, rho: nan, vega: nan }
    }

    pub(crate) const fn of(volatility: f64, greeks: &greeks_pricing::Greeks) -> Self {
        Self {
            price: greeks.price,
            volatility,
            delta: greeks.delta,
            gamma: greeks.gamma,
            theta: greeks.theta,
            rho: greeks.rho,
            vega: greeks.vega,
        }
    }
}

/// The event types that have data here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Greeks,
    Quote,
    Trade,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Greeks, Self::Quote, Self::Trade];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Greeks => "Greeks",
            Self::Quote => "Quote",
            Self::Trade => "Trade",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Body {
    Greeks(GreekValues),
    Quote { bid: f64, ask: f64, size: f64 },
    Trade { price: f64, size: f64, change: f64 },
}

/// One event on its way to the subscribers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) symbol: SymbolId,
    pub(crate) stamp: Stamp,
    pub(crate) body: Body,
}

impl Event {
    pub(crate) const fn kind(&self) -> Kind {
        match self.body {
            Body::Greeks(_) => Kind::Greeks,
            Body::Quote { .. } => Kind::Quote,
            Body::Trade { .. } => Kind::Trade,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_and_their_indices_rise_strictly() {
        let mut stamp = Stamp { time: 1_517_864_400_999, sequence: Stamp::MAX_SEQUENCE - 1 };
        for wall in [1_517_864_400_999, 1_517_864_400_999, 1_517_864_400_000, 1_517_864_401_500] {
            let next = stamp.next(wall);
            assert!(next > stamp, "{next:?} after {stamp:?}");
            assert!(next.index() > stamp.index());
            assert!(next.sequence <= Stamp::MAX_SEQUENCE);
            stamp = next;
        }
        assert_eq!(stamp, Stamp { time: 1_517_864_401_500, sequence: 0 });
    }

    #[test]
    fn index_needs_more_than_a_double_can_hold() {
        let stamp = Stamp { time: 1_795_000_000_123, sequence: 7 };
        assert_eq!(stamp.index(), (1_795_000_000 << 32) | (123 << 22) | 7);
        assert!(stamp.index() > 1 << 53);
    }
}
