//! How the subscriptions stand, for people.

use greeks_model::UnixNanos;

/// What the frames since the last look asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// An order was filled: positions have changed.
    pub(crate) executions: bool,
    /// The accounts of the login have changed.
    pub(crate) accounts_changed: bool,
    /// Subscriptions are refused until the brokerage accounts have been listed again.
    pub(crate) unprimed: bool,
    /// Another login of the same user takes the brokerage session.
    pub(crate) competing: bool,
    /// Since when frames may be missing because a subscription outlived its life: a gap.
    pub(crate) lost: Option<UnixNanos>,
    /// What IBKR wants the user to know: bulletins, notices, errors. At most [`MAX_NOTICES`](super::MAX_NOTICES).
    pub(crate) notices: Vec<String>,
}

/// What came that gave no event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Values of no known form: stored as unknown.
    pub(crate) odd_values: u64,
    /// Market data of contracts nobody asked for, late frames after an unsubscription for instance.
    pub(crate) unknown_contracts: u64,
    /// Frames of topics this client does not know.
    pub(crate) unknown_topics: u64,
    /// Frames that report an error.
    pub(crate) errors: u64,
}

/// How the subscriptions stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) options: Counts,
    pub(crate) underlyings: Counts,
}

/// Contracts, of those wanted now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) wanted: usize,
    /// Subscribed.
    pub(crate) sent: usize,
    /// Subscribed and answered.
    pub(crate) live: usize,
    /// Not subscribed because no market data line is left.
    pub(crate) over_budget: usize,
    /// Subscribed long ago, and without a frame for long although asked again.
    pub(crate) silent: usize,
    /// Options that have had frames but no Greek yet.
    pub(crate) without_greeks: usize,
    /// Without permission for their market data (6509 `N`).
    pub(crate) not_permitted: usize,
    /// Without the user's agreement to the terms of API market data (6509 `O`).
    pub(crate) not_acknowledged: usize,
    /// With delayed data (6509 `D` or `Y`).
    pub(crate) delayed: usize,
    /// With frozen data (6509 `Z` or `Y`).
    pub(crate) frozen: usize,
}

impl Report {
    /// Options and underlyings together.
    pub(crate) const fn total(&self) -> Counts {
        let (a, b) = (&self.options, &self.underlyings);
        Counts {
            wanted: a.wanted + b.wanted,
            sent: a.sent + b.sent,
            live: a.live + b.live,
            over_budget: a.over_budget + b.over_budget,
            silent: a.silent + b.silent,
            without_greeks: a.without_greeks + b.without_greeks,
            not_permitted: a.not_permitted + b.not_permitted,
            not_acknowledged: a.not_acknowledged + b.not_acknowledged,
            delayed: a.delayed + b.delayed,
            frozen: a.frozen + b.frozen,
        }
    }
}
