//! What a session is given.

use std::time::Duration;

use greeks_model::InstrumentId;

use crate::wire::Conid;

/// What a session needs to know; the durations are those of [`IbkrConfig`](crate::IbkrConfig).
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) step_timeout: Duration,
    pub(crate) tic_every: Duration,
    pub(crate) heartbeat_timeout: Duration,
    pub(crate) renew_after: Duration,
    pub(crate) subscription_life: Duration,
    pub(crate) first_frame_after: Duration,
    pub(crate) quiet_after: Duration,
    pub(crate) stalled_after: Duration,
    pub(crate) subscribe_spacing: Duration,
    /// Market data lines that may be used, of options and underlyings together.
    pub(crate) lines: Option<usize>,
    pub(crate) keep_payload: bool,
    /// Whether to subscribe to executions.
    pub(crate) executions: bool,
}

/// Something to subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) conid: Conid,
    pub(crate) role: Role,
    pub(crate) instrument: InstrumentId,
}

/// What a contract is subscribed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Option {
        /// Subscribed ahead of the option, if it is among the wanted.
        underlying: Option<Conid>,
    },
    Underlying,
}
