//! What a session is given.

use std::time::Duration;

use greeks_model::InstrumentId;
use secrecy::SecretString;

use super::ChunkLimits;
use crate::wire::Role;

/// What a session needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `protocol-implementation/version`.
    pub(crate) version: String,
    pub(crate) token: SecretString,
    pub(crate) step_timeout: Duration,
    /// Whether AUTH goes out when nobody has asked for it: not after a session that was lost, which may have come of that.
    pub(crate) uninvited: bool,
    pub(crate) keepalive: Duration,
    pub(crate) silence_margin: Duration,
    pub(crate) greeks_aggregation: Duration,
    pub(crate) underlying_aggregation: Duration,
    pub(crate) head_start: Duration,
    pub(crate) chunk: ChunkLimits,
    pub(crate) chunk_pause: Duration,
    pub(crate) silent_after: Duration,
    /// How long each channel may bring nothing before it is asked: that of Greeks, then that of underlyings.
    pub(crate) quiet_after: [Duration; 2],
    /// Marks every update: the token is of level "demo".
    pub(crate) delayed: bool,
    pub(crate) keep_payload: bool,
}

/// Something to subscribe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) symbol: String,
    pub(crate) role: Role,
    pub(crate) instrument: InstrumentId,
    /// An option whose last day is over: it is subscribed, and no event of it is waited for.
    pub(crate) expired: bool,
}
