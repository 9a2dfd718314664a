//! What a double does wrong on purpose, or does differently because the protocol lets it.
//!
//! [`Faults`] lasts: it is set at the start ([`SimConfig::faults`](crate::SimConfig::faults)) or changed at any time
//! ([`Control::change_faults`](crate::Control::change_faults)). [`Mischief`] happens once, to the connections that are
//! open ([`Control::inflict`](crate::Control::inflict)). Neither makes the ledger lie: it holds the rows of valid
//! messages, with the very doubles that were printed; garbage, ragged rows and noise carry nothing that counts.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{ColumnOrder, DataFormat};
use crate::market::GreekValues;

/// Everything that is out of the ordinary; nothing by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Of the REST half.
    pub rest: RestFaults,
    /// Of DXLink connections as such.
    pub connection: ConnectionFaults,
    /// Of the data.
    pub feed: FeedFaults,
}

/// Faults of REST.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RestFaults {
    /// Looked through in order; the first that fits a request and has not been used up is its answer.
    pub answers: Vec<WrongAnswer>,
    /// Which positions have a `streamer-symbol`.
    pub streamer_symbols: StreamerSymbols,
    /// How numbers of positions are written.
    pub numbers: NumberStyle,
    /// The `level` of quote tokens is `demo`: delayed data.
    pub delayed_level: bool,
    /// Life of quote tokens, in place of [`RestConfig::quote_token_ttl`](crate::RestConfig::quote_token_ttl).
    pub quote_token_ttl: Option<Duration>,
}

/// An answer that a client did not hope for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongAnswer {
    /// Requests whose path contains this; `/oauth/token`, `/instruments/`.
    pub path: String,
    /// So many requests; [`u32::MAX`] for good.
    pub times: u32,
    /// What they get.
    pub how: Wrongness,
}

/// How a REST answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrongness {
    /// This status with an error envelope, as the service itself answers.
    Status(u16),
    /// This status with a page of HTML, as the proxy before it answers.
    Html(u16),
    /// 429 with `Retry-After` in seconds.
    TooMany(u32),
    /// The right answer, but so much later.
    Late(Duration),
}

/// Which positions have a `streamer-symbol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamerSymbols {
    /// Every other one.
    #[default]
    Some,
    /// None, as in older production answers.
    None,
    /// All.
    All,
}

/// How numbers of positions are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumberStyle {
    /// Now as text, now as numbers.
    #[default]
    Mixed,
    /// All as text.
    Text,
    /// All as numbers.
    Number,
}

/// Faults of DXLink connections as such.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionFaults {
    /// A connection is accepted, and so much later the upgrade is looked at.
    pub slow_accept: Duration,
    /// Frames of garbage per second on each connection.
    pub garbage: f64,
    /// So many upgrades are answered with 502.
    pub refuse_upgrades: u32,
    /// The time-outs in the server's SETUP.
    pub setup_timeouts: SetupTimeouts,
    /// AUTHORIZED follows SETUP at once: a server without authorization.
    pub authorized_at_once: bool,
    /// So many AUTHs are answered with `Session not found: api`, as happens under load.
    pub session_not_found: u32,
    /// So many AUTHs are answered with UNAUTHORIZED, however good the token.
    pub unauthorized: u32,
    /// Larger messages end the connection with 1009, and that is no violation: a client cannot know this limit.
    pub max_message_bytes: Option<usize>,
    /// Messages come in frames of at most so many bytes.
    pub fragment: Option<NonZeroU32>,
    /// A connection is told UNAUTHORIZED and closed when the token of its last AUTH expires.
    pub tokens_end_connections: bool,
}

/// The time-outs in the server's SETUP. What the double itself bears is
/// [`DxLinkConfig::keepalive_timeout`](crate::DxLinkConfig::keepalive_timeout) all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum SetupTimeouts {
    /// Both, as configured.
    #[default]
    Configured,
    /// Neither.
    Absent,
    /// These seconds, fractions and zero included.
    Seconds(f64),
}

/// Faults and legal surprises in data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeedFaults {
    /// FEED_SETUP is answered only when there is data.
    pub late_config: bool,
    /// Before every n-th data message its types get new columns, each by a FEED_CONFIG that names no other type, and
    /// one without `eventFields` follows.
    pub reorder_every: Option<NonZeroU32>,
    /// Before every n-th data message COMPACT becomes FULL and the other way round.
    pub switch_format_every: Option<NonZeroU32>,
    /// Whether the switch is announced by FEED_CONFIG.
    pub announce_switch: bool,
    /// Rows of different types alternate within one message.
    pub mix_types: bool,
    /// `data` comes first in a message and `type` last; fields of FULL rows in changing order.
    pub shuffle_keys: bool,
    /// How symbols are written.
    pub escapes: Escapes,
    /// Numbers without a fraction are written without a point.
    pub whole_numbers: bool,
    /// Before every n-th data message something unknown: a message type, a message for a channel that nobody opened;
    /// and every n-th data message has an unknown event type and an unknown field.
    pub noise_every: Option<NonZeroU32>,
    /// Before every n-th COMPACT message one whose rows do not divide.
    pub ragged_every: Option<NonZeroU32>,
    /// Before every n-th data message one that cannot be read.
    pub garbage_every: Option<NonZeroU32>,
    /// Figures that are replaced, in every n-th Greeks row.
    pub substitutes: Vec<Substitute>,
    /// Streamer symbols that never answer.
    pub mute: BTreeSet<String>,
}

/// Replaces one figure in every n-th Greeks row; the ledger holds what was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Substitute {
    /// Which.
    pub figure: Figure,
    /// By what: NaN, infinities and whole numbers are the interesting ones.
    pub value: f64,
    /// How often.
    pub every: NonZeroU32,
}

/// A figure of a Greeks event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the event's fields")]
pub enum Figure {
    Price,
    Volatility,
    Delta,
    Gamma,
    Theta,
    Rho,
    Vega,
}

impl Figure {
    pub(crate) const fn set(self, values: &mut GreekValues, value: f64) {
        let place = match self {
            Self::Price => &mut values.price,
            Self::Volatility => &mut values.volatility,
            Self::Delta => &mut values.delta,
            Self::Gamma => &mut values.gamma,
            Self::Theta => &mut values.theta,
            Self::Rho => &mut values.rho,
            Self::Vega => &mut values.vega,
        };
        *place = value;
    }
}

/// How symbols are written; every way is the same string to JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escapes {
    /// As they are.
    #[default]
    None,
    /// `\/` for `/`.
    Slash,
    /// `\u002f`: everything but letters and digits.
    Unicode,
}

/// Something that happens once, to every open DXLink connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Mischief {
    /// FEED_CONFIG with the columns of every type in this order.
    Columns(ColumnOrder),
    /// Data changes to this format.
    Format {
        /// To which.
        format: DataFormat,
        /// Whether FEED_CONFIG says so.
        announced: bool,
    },
    /// SETUP again.
    Setup,
    /// CHANNEL_CLOSED for every channel, though nobody asked.
    CloseChannels,
    /// ERROR with this code, on every channel or on the connection (channel 0).
    Error {
        /// Whether on the channels.
        on_channels: bool,
        /// TIMEOUT, UNAUTHORIZED, INVALID_MESSAGE, BAD_ACTION, UNKNOWN or anything else.
        code: String,
    },
    /// A text message, word for word.
    Text(String),
    /// One valid FEED_DATA of at least so many bytes, full of rows for the Greeks that are subscribed; in the ledger.
    Burst {
        /// Size.
        bytes: usize,
    },
    /// One valid FEED_DATA of at least so many bytes without any Greeks: too much for clients with a limit, nothing to
    /// those without.
    Oversized {
        /// Size.
        bytes: usize,
    },
    /// Nothing is sent any more, keepalives included, while the socket stays open.
    Silence,
    /// The first half of a data message, then a reset.
    CutMidMessage,
}

/// Whether the `n`-th of something is one of every `every`.
pub(crate) fn hits(every: Option<NonZeroU32>, n: u64) -> bool {
    every.is_some_and(|every| n.is_multiple_of(u64::from(every.get())))
}

/// Uses up one of `left`.
pub(crate) const fn use_up(left: &mut u32) -> bool {
    let any = *left > 0;
    if any && *left < u32::MAX {
        *left -= 1;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_run_out_and_maximum_does_not() {
        let mut two = 2;
        assert_eq!([(); 3].map(|()| use_up(&mut two)), [true, true, false]);
        let mut ever = u32::MAX;
        assert!(use_up(&mut ever) && ever == u32::MAX);
        let third = NonZeroU32::new(3);
        assert_eq!((0..7).filter(|n| hits(third, *n)).collect::<Vec<_>>(), [0, 3, 6]);
        assert!(!hits(None, 0));
    }

    #[test]
    fn each_figure_is_its_own() {
        let all =
            [Figure::Price, Figure::Volatility, Figure::Delta, Figure::Gamma, Figure::Theta, Figure::Rho, Figure::Vega];
        let mut values = GreekValues::unsolved(f64::NAN);
        for (figure, value) in all.into_iter().zip([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) {
            figure.set(&mut values, value);
        }
        let expected =
            GreekValues { price: 1.0, volatility: 2.0, delta: 3.0, gamma: 4.0, theta: 5.0, rho: 6.0, vega: 7.0 };
        assert_eq!(values, expected);
    }
}
