//! What a double of a gateway does wrong on purpose, or does differently because nothing forbids it.
//!
//! [`IbkrFaults`] last, [`IbkrMischief`] happens once to the sockets that are open. The ledger stays true under all of
//! them.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::tasty::WrongAnswer;

/// Everything that is out of the ordinary; nothing by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IbkrFaults {
    /// Of REST.
    pub rest: IbkrRestFaults,
    /// Of connections and sockets as such.
    pub socket: IbkrSocketFaults,
    /// Of market data.
    pub data: IbkrDataFaults,
}

/// Faults of REST.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IbkrRestFaults {
    /// Looked through in order; the first that fits a request and has not been used up is its answer.
    pub answers: Vec<WrongAnswer>,
    /// Pages of positions never end: past the last one it comes again.
    pub endless_pages: bool,
    /// Fields of positions that need not be there are null, or missing.
    pub null_fields: bool,
    /// Which shape rows of positions have.
    pub rows: RowShape,
    /// `tickle` and `auth/status` leave out what they can.
    pub terse: bool,
}

/// Shapes of rows of positions; both occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowShape {
    /// Now the one, now the other.
    #[default]
    Mixed,
    /// Few fields; of a contract hardly more than its description.
    Short,
    /// With ticker, strike as text, multiplier and dates.
    Long,
}

/// Faults of connections and sockets as such.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IbkrSocketFaults {
    /// A connection is accepted, and so much later the TLS handshake begins.
    pub slow_accept: Duration,
    /// An upgrade is answered so much later.
    pub slow_upgrade: Duration,
    /// So many upgrades are answered with 502.
    pub refuse_upgrades: u32,
    /// So many sockets are closed with 1000 as soon as they are open.
    pub close_at_once: u32,
    /// Sockets never get a `sts` frame.
    pub no_status: bool,
    /// No heartbeats.
    pub no_heartbeats: bool,
    /// Nothing at all is sent.
    pub silent: bool,
    /// Frames of garbage per second on each socket.
    pub garbage: f64,
    /// Before every n-th market data frame one without contract and data.
    pub empty_every: Option<NonZeroU32>,
    /// Before every n-th market data frame one of an unknown topic, and fields nobody has heard of in that frame.
    pub unknown_every: Option<NonZeroU32>,
}

/// Faults and legal surprises of market data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IbkrDataFaults {
    /// No market data; heartbeats go on.
    pub stopped: bool,
    /// The market is closed: last prices are the previous close and say so with a C; Greeks are frozen.
    pub closed: bool,
    /// Contracts whose trading is halted: their last price says so with an H.
    pub halted: BTreeSet<i64>,
    /// Contracts that never answer.
    pub mute: BTreeSet<i64>,
    /// Contracts for which the market data subscription is missing: a frame says so, and that is all.
    pub not_permitted: BTreeSet<i64>,
    /// Contracts that have prices but no Greeks, as without data of their underlying.
    pub without_greeks: BTreeSet<i64>,
    /// In place of real time: `DPB`, `Z`, `Y`.
    pub availability: Option<String>,
    /// Commas between the thousands of prices too.
    pub commas: bool,
    /// How a figure that is unknown is written.
    pub unknown: UnknownFigure,
    /// Implied volatility without its percent sign.
    pub bare_volatility: bool,
    /// `conid` as text, and no `conidEx`.
    pub conid_as_text: bool,
}

/// How a figure that has become unknown is written: an implied volatility without a solution, and the Greeks of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFigure {
    /// Now `""`, now `"-"`, now `"N/A"`.
    #[default]
    Blank,
    /// Not at all: the figure of before stands.
    Absent,
}

/// Something that happens once, to every open socket.
#[derive(Clone, Debug, PartialEq)]
pub enum IbkrMischief {
    /// A text frame, word for word.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
    /// A text frame with a byte that is not UTF-8, inside the text of a notice.
    NotUtf8,
    /// A text frame of so many bytes, which is a valid bulletin.
    Oversized {
        /// How many.
        bytes: usize,
    },
    /// `ntf` with this text.
    Notice(String),
    /// `blt` with this text.
    Bulletin(String),
    /// A frame with nothing but `error`.
    Error(String),
    /// `act` again, with the accounts of now.
    Accounts,
    /// Nothing is sent any more on this socket, while it stays open.
    Silence,
    /// The head of a frame and half of its body, then a reset.
    CutMidMessage,
    /// Close with this code.
    Close(u16),
}
