//! Doubles of broker APIs on real sockets, with a market behind them: for tests, examples and demos without an account.
//!
//! [`TastySim`] is tastytrade: OAuth, accounts, positions, instruments and quote tokens over REST, and Greeks, quotes and
//! trades over DXLink; changes of positions on the account streamer. It answers like production where that is documented, and it is strict: whatever a client does
//! wrong is answered as a server would and noted in [`TastySim::violations`], so that a test can prove a client right.
//!
//! Behind it trades one of two markets ([`MarketConfig`]): an invented one from a seed, or a real chain from an
//! end-of-day file. Both compute their Greeks with `greeks-pricing`; none is a recording.
//!
//! What was sent is in the [`Ledger`], with the exact doubles, to be compared with what a program stored.
//!
//! # Faults
//!
//! Everything that goes wrong in life, or is legal though no client expects it, can be had on purpose: [`Faults`] last,
//! [`Mischief`] happens once. The ledger stays true under all of them.
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
//! account streamer tells of both, unless [`Control::quiet_positions`] keeps it from that.

mod config;
mod counters;
mod error;
mod ibkr;
mod market;
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
