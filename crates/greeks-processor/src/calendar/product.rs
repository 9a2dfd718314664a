//! Which hours a contract has.

use greeks_model::Contract;

/// A kind of option with hours of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Product {
    /// On a stock or a fund: 9:30 to 16:00 in New York.
    EquityOption,
    /// On an index or a broad fund: 9:30 to 16:15.
    IndexOption,
    /// On SPX, XSP or VIX: like an index, and from 20:15 of the evening before to 9:25 as well.
    CboeGlobal,
    /// On a future of CME: nearly the clock round from Sunday 18:00 to Friday 17:00.
    FuturesOption,
}

/// Option roots that trade in the global hours of Cboe.
const GLOBAL: [&str; 5] = ["SPX", "SPXW", "VIX", "VIXW", "XSP"];

/// Option roots that trade until 16:15: indices, and the funds that Cboe lists with them.
const UNTIL_QUARTER_PAST: [&str; 48] = [
    "DJX", "MRUT", "MXEA", "MXEF", "NDX", "NDXP", "OEX", "RUT", "RUTW", "XEO", "XND", // indices
    "DBA", "DBB", "DBC", "DIA", "EEM", "EFA", "IWM", "IWN", "IWO", "IWV", "KBE", "KRE", "MDY", "MOO", "OEF", "QQQ",
    "SPY", "SVXY", "UNG", "UUP", "UVXY", "VIXM", "VIXY", "VXX", "VXZ", "XHB", "XLB", "XLE", "XLF", "XLI", "XLK", "XLP",
    "XLU", "XLV", "XLY", "XME", "XRT",
];

/// Option roots that settle by the opening prices of their last day and are not traded on it (tastytrade, "Cash-Settled
/// Indexes Options Specifications"). Their weeklies have roots of their own.
const SETTLED_AT_THE_OPEN: [&str; 6] = ["DJX", "NDX", "RUT", "SPX", "VIX", "VIXW"];

/// Whether a contract settles by opening prices: its last trading day is the one before it expires.
pub(crate) fn settles_at_the_open(contract: &Contract) -> bool {
    contract.future().is_none() && SETTLED_AT_THE_OPEN.contains(&contract.root())
}

impl Product {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::EquityOption, Self::IndexOption, Self::CboeGlobal, Self::FuturesOption];

    /// The kind of a contract, by its option root.
    #[must_use]
    pub fn of(contract: &Contract) -> Self {
        let root = contract.root();
        if contract.future().is_some() {
            Self::FuturesOption
        } else if GLOBAL.contains(&root) {
            Self::CboeGlobal
        } else if UNTIL_QUARTER_PAST.contains(&root) {
            Self::IndexOption
        } else {
            Self::EquityOption
        }
    }
}
