//! What a double of a gateway counts.

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IbkrStats {
    /// REST requests answered, upgrades included.
    pub rest_requests: u64,
    /// Answers 401.
    pub unauthorized: u64,
    /// Answers 429.
    pub too_many: u64,
    /// Tickles while logged in.
    pub tickles: u64,
    /// Brokerage sessions opened.
    pub brokerage_sessions: u64,
    /// `ssodh/init` with `compete`, whether or not anybody was there to be thrown out.
    pub compete_requests: u64,
    /// Brokerage sessions that threw out another platform.
    pub competed: u64,
    /// Sockets accepted.
    pub connections: u64,
    /// Sockets that are open now.
    pub open: u64,
    /// Sockets that are open and authenticated.
    pub authenticated: u64,
    /// Sockets that the client closed in good order.
    pub closed_by_client: u64,
    /// Market data subscriptions that are alive now, over all sockets, those past the lines left out.
    pub lines: u64,
    /// Of them options whose Greeks have been sent.
    pub streaming: u64,
    /// Subscriptions that ended of age.
    pub expired: u64,
    /// Subscriptions that got no line.
    pub over_budget: u64,
    /// Subscriptions renewed.
    pub renewed: u64,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// `tic` answered.
    pub tics: u64,
    /// Market data frames sent.
    pub frames: u64,
    /// Of them such as carry a Greek, the implied volatility or the price of an option: as many as the ledger has.
    pub greek_frames: u64,
    /// Frames of garbage sent.
    pub garbage: u64,
    /// Greeks events that the market emitted since this double was there.
    pub greeks_emitted: u64,
    /// Whether the market has come to its end: a replay does.
    pub market_finished: bool,
}
