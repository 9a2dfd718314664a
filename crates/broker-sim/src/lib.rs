//! Doubles of broker APIs on real sockets, with a market behind them: for tests, examples and demos without an account.
//!
//! [`TastySim`] is tastytrade: OAuth, accounts, positions, instruments and quote tokens over REST, and Greeks, quotes and
//! trades over DXLink; changes of positions on the account streamer.
//!
//! [`IbkrSim`] is a Client Portal gateway of Interactive Brokers: logins, brokerage sessions, accounts and positions over
//! REST, market data and executions on a websocket, all on one port, with a certificate as useless as the gateway's own.
//!
//! Both answer like the real ones where that is documented or known, and both are strict: whatever a client does wrong is
//! answered as a server would and noted in [`TastySim::violations`] and [`IbkrSim::violations`], so that a test can prove
//! a client right.
//!
//! Behind a double trades one of two markets ([`MarketConfig`]): an invented one from a seed, or a real chain from an
//! end-of-day file. Both compute their Greeks with `greeks-pricing`; none is a recording. Each double can have a market
//! of its own, or both stand on one [`SimMarket`]: then a contract that is held at both has one truth.
//!
//! What was sent is in the [`Ledger`], with the exact doubles, and in the [`IbkrLedger`], with what the printed texts of
//! all frames of a connection together mean: to be compared with what a program stored.
//!
//! # What the double of a gateway does that nobody expects
//!
//! - What is sent before `sts` has said `authenticated` is discarded.
//! - Frames carry what has changed, and the first ones lack the Greeks. They are text or binary.
//! - A subscription ends after ten minutes without a word; so does everything past the market data lines.
//! - A socket that has lost its session never gets it back, though heartbeats go on.
//! - Too many calls close the gateway for ten minutes.
//!
//! All times and limits are in [`IbkrProtocol`]; [`IbkrProtocol::divided_by`] makes minutes of a day.
//!
//! # Faults
//!
//! Everything that goes wrong in life, or is legal though no client expects it, can be had on purpose: [`Faults`] and
//! [`IbkrFaults`] last, [`Mischief`] and [`IbkrMischief`] happen once. The ledgers stay true under all of them. What
//! becomes of logins, sessions and the port is up to [`IbkrControl`].
//!
//! # Conventions of a replayed chain
//!
//! - Black-Scholes-Merton on the spot and the implied volatility of the file.
//! - The close is 16:00 in New York; an option expires at the first minute of its expiration date; a year has 365 days
//!   of 24 hours. So vendors of such files count: their vega divided by their gamma says so.
//! - Interest and dividends are recovered from the file ([`CarrySource::File`]) or given.
//! - A trading day is played from 9:30 to 16:00, and each close carries exactly the figures of the file.
//!
//! With a real file of 2018 the closes agree with the vendor's own Greeks for every liquid contract on every day: delta
//! and gamma to the four decimals printed, theta and vega to within 1e-5 of their value. `cargo run -p broker-sim --example chain_agreement -- FILE` repeats the comparison.
//!
//! # Positions never change by themselves
//!
//! There is no order endpoint. [`Control::open_position`] and [`Control::close_position`] stand for the trader; the
//! account streamer tells of both, unless [`Control::quiet_positions`] keeps it from that. [`IbkrControl`] has the same,
//! with executions on the websocket.

mod config;
mod counters;
mod error;
mod ibkr;
mod market;
mod service;
mod tasty;

pub use config::{
    ChainMarket, ColumnOrder, DataFormat, DxLinkConfig, MarketConfig, RestConfig, SimConfig, SimulatedMarket,
    StreamerConfig,
};
pub use error::SimError;
pub use ibkr::{
    FrameKind, IbkrControl, IbkrCustomer, IbkrDataFaults, IbkrEntry, IbkrFaults, IbkrFigures, IbkrLedger,
    IbkrLedgerView, IbkrMischief, IbkrPosition, IbkrProtocol, IbkrRestFaults, IbkrRule, IbkrSim, IbkrSimConfig,
    IbkrSocketFaults, IbkrStats, IbkrUnderlying, IbkrViolation, Pace, RowShape, UnknownFigure,
};
pub use market::{Account, Carry, CarrySource, GreekValues, Holding, Listing, SimMarket, SimPosition, Stamp};
pub use tasty::{
    ConnectionFaults, Control, Credentials, Disconnect, Escapes, Faults, FeedFaults, Figure, Ledger, LedgerEntry,
    LedgerView, Mischief, NumberStyle, RequestLine, RestFaults, Rule, ScriptedGreeks, ScriptedQuote, SetupTimeouts,
    Stats, StreamerSymbols, Substitute, TastySim, Violation, WrongAnswer, Wrongness,
};
