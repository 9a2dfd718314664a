//! What one market data frame says.

use super::conid::Conid;
use super::number::Decorated;

/// One market data frame. It is used again for every frame, so that none costs an allocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    pub(crate) conid: Option<Conid>,
    /// `_updated`, in milliseconds since the epoch; the server's clock.
    pub(crate) updated: Option<i64>,
    pub(crate) availability: Option<Availability>,
    pub(crate) values: Values,
    /// Values that were of no known form; they read as unknown.
    pub(crate) odd_values: u32,
    /// An error that came together with data.
    pub(crate) error: Option<String>,
}

/// The fields that are asked for. `None`: not part of the frame, nothing has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Values {
    pub(crate) last: Option<Decorated>,
    pub(crate) bid: Option<Decorated>,
    pub(crate) ask: Option<Decorated>,
    pub(crate) mark: Option<Decorated>,
    pub(crate) delta: Option<Decorated>,
    pub(crate) gamma: Option<Decorated>,
    pub(crate) theta: Option<Decorated>,
    pub(crate) vega: Option<Decorated>,
    pub(crate) implied_volatility: Option<Decorated>,
}

/// The name of one of [`Values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Last,
    Bid,
    Ask,
    Mark,
    Delta,
    Gamma,
    Theta,
    Vega,
    ImpliedVolatility,
}

impl Field {
    /// The field with this tag (IBKR, "Market Data Fields").
    pub(super) fn from_tag(tag: &[u8]) -> Option<Self> {
        Some(match tag {
            b"31" => Self::Last,
            b"84" => Self::Bid,
            b"86" => Self::Ask,
            b"7635" => Self::Mark,
            b"7308" => Self::Delta,
            b"7309" => Self::Gamma,
            b"7310" => Self::Theta,
            b"7311" => Self::Vega,
            b"7633" => Self::ImpliedVolatility,
            _ => return None,
        })
    }
}

impl Values {
    pub(super) const fn field_mut(&mut self, field: Field) -> &mut Option<Decorated> {
        match field {
            Field::Last => &mut self.last,
            Field::Bid => &mut self.bid,
            Field::Ask => &mut self.ask,
            Field::Mark => &mut self.mark,
            Field::Delta => &mut self.delta,
            Field::Gamma => &mut self.gamma,
            Field::Theta => &mut self.theta,
            Field::Vega => &mut self.vega,
            Field::ImpliedVolatility => &mut self.implied_volatility,
        }
    }

    /// Whether the frame has any of them.
    pub(crate) fn any(&self) -> bool {
        let Self { last, bid, ask, mark, delta, gamma, theta, vega, implied_volatility } = self;
        [last, bid, ask, mark, delta, gamma, theta, vega, implied_volatility].into_iter().any(Option::is_some)
    }
}

/// The first letter of field 6509: how good the data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    Live,
    Delayed,
    Frozen,
    FrozenDelayed,
    NotSubscribed,
    /// The user has not agreed to IBKR's terms for market data over the API.
    NotAcknowledged,
}

impl Availability {
    /// `None` for letters that do not say.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        Some(match text.trim().chars().next()? {
            'R' | 'S' => Self::Live,
            'D' => Self::Delayed,
            'Z' => Self::Frozen,
            'Y' => Self::FrozenDelayed,
            'N' => Self::NotSubscribed,
            'O' => Self::NotAcknowledged,
            _ => return None,
        })
    }

    pub(crate) const fn is_delayed(self) -> bool {
        matches!(self, Self::Delayed | Self::FrozenDelayed)
    }

    pub(crate) const fn is_frozen(self) -> bool {
        matches!(self, Self::Frozen | Self::FrozenDelayed)
    }
}
