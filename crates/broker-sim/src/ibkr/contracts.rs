//! Numbers of contracts, and what the broker says about each.

use std::collections::HashMap;
use std::sync::Arc;

use greeks_model::{Decimal, Future};
use jiff::civil::Date;

use crate::market::{Hub, Listing, SymbolId, future_expiry, underlying_streamer};

/// A contract at the broker.
#[derive(Clone, Debug)]
pub(crate) struct Instrument {
    pub(crate) conid: i64,
    /// Of its events.
    pub(crate) symbol: SymbolId,
    pub(crate) what: What,
    /// Decimals of its prices.
    pub(crate) decimals: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Option {
        listing: Box<Listing>,
        key: Arc<str>,
        underlying: i64,
    },
    /// A stock or an index.
    Spot {
        ticker: String,
        index: bool,
    },
    Future {
        future: Future,
        multiplier: Decimal,
    },
}

impl Instrument {
    pub(crate) const fn listing(&self) -> Option<&Listing> {
        match &self.what {
            What::Option { listing, .. } => Some(listing),
            _ => None,
        }
    }

    /// The underlying of an option.
    pub(crate) const fn underlying(&self) -> Option<i64> {
        match self.what {
            What::Option { underlying, .. } => Some(underlying),
            _ => None,
        }
    }

    pub(crate) fn asset_class(&self) -> &'static str {
        match &self.what {
            What::Option { listing, .. } if listing.contract.future().is_some() => "FOP",
            What::Option { .. } => "OPT",
            What::Spot { index: true, .. } => "IND",
            What::Spot { .. } => "STK",
            What::Future { .. } => "FUT",
        }
    }

    /// The symbol as the broker shows it: its own aliases of currencies, and that of the underlying for options.
    pub(crate) fn ticker(&self) -> String {
        match &self.what {
            What::Option { listing, .. } => match listing.contract.future() {
                Some(future) => alias(future.product()).to_owned(),
                None => spot_ticker(&listing.underlying),
            },
            What::Spot { ticker, .. } => ticker.clone(),
            What::Future { future, .. } => alias(future.product()).to_owned(),
        }
    }

    /// `ESZ6`, `AAPL  261218C00232500`, `EW4X6 P5000`.
    pub(crate) fn local_symbol(&self) -> String {
        match &self.what {
            What::Option { listing, .. } => match &listing.option_code {
                Some(code) => format!("{code} {}{}", listing.contract.option_type(), listing.contract.strike()),
                None => listing.contract.to_string(),
            },
            What::Spot { ticker, .. } => ticker.clone(),
            What::Future { future, .. } => {
                format!("{}{}{}", future.product(), future.month().letter(), future.year() % 10)
            }
        }
    }

    /// `SPY    JAN2025 440 C [SPY   250117C00440000 100]`; a bare symbol for what is no option.
    pub(crate) fn description(&self) -> String {
        let Some(listing) = self.listing() else { return self.local_symbol() };
        let contract = &listing.contract;
        let month = contract.expiration().strftime("%b%Y").to_string().to_uppercase();
        let (strike, right) = (contract.strike(), contract.option_type());
        format!("{:<6} {month} {strike} {right} [{} {}]", self.ticker(), self.local_symbol(), listing.multiplier)
    }

    pub(crate) fn last_day(&self) -> Option<Date> {
        match &self.what {
            What::Option { listing, .. } => Some(listing.contract.expiration()),
            What::Spot { .. } => None,
            What::Future { future, .. } => future_expiry(future),
        }
    }

    pub(crate) fn multiplier(&self) -> Option<Decimal> {
        match &self.what {
            What::Option { listing, .. } => Some(listing.multiplier),
            What::Spot { .. } => None,
            What::Future { multiplier, .. } => Some(*multiplier),
        }
    }
}

/// The broker calls currencies by their names.
fn alias(product: &str) -> &str {
    match product {
        "6E" => "EUR",
        "6J" => "JPY",
        other => other,
    }
}

fn spot_ticker(symbol: &str) -> String {
    symbol.replace('/', " ")
}

/// Every contract that has a number.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    by_conid: HashMap<i64, Arc<Instrument>>,
    by_name: HashMap<String, i64>,
}

impl Directory {
    pub(crate) fn get(&self, conid: i64) -> Option<&Arc<Instrument>> {
        self.by_conid.get(&conid)
    }

    /// Numbers an option and what it is written on. `None` when the market's table of symbols is full.
    pub(crate) fn option(&mut self, listing: &Listing, hub: &Hub) -> Option<i64> {
        let key = listing.contract.to_string();
        if let Some(conid) = self.by_name.get(&key) {
            return Some(*conid);
        }
        let name = underlying_streamer(listing);
        let (what, product) = match listing.contract.future() {
            Some(future) => {
                (What::Future { future: future.clone(), multiplier: listing.multiplier }, future.product().to_owned())
            }
            None => {
                let (ticker, index) = (spot_ticker(&listing.underlying), listing.underlying == "SPX");
                (What::Spot { ticker, index }, String::new())
            }
        };
        let decimals = match product.as_str() {
            "6J" => 7,
            "6E" => 5,
            _ => 2,
        };
        let symbol = hub.intern(&name)?;
        let underlying = self.add(&name, symbol, what, decimals);
        let symbol = hub.intern(&listing.streamer_symbol)?;
        let what = What::Option { listing: Box::new(listing.clone()), key: key.as_str().into(), underlying };
        Some(self.add(&key, symbol, what, decimals))
    }

    fn add(&mut self, name: &str, symbol: SymbolId, what: What, decimals: usize) -> i64 {
        if let Some(conid) = self.by_name.get(name) {
            return *conid;
        }
        let mut conid = number(name);
        while self.by_conid.contains_key(&conid) {
            conid += 1;
        }
        self.by_name.insert(name.to_owned(), conid);
        self.by_conid.insert(conid, Arc::new(Instrument { conid, symbol, what, decimals }));
        conid
    }
}

/// The number of a contract: always the same for the same name.
fn number(name: &str) -> i64 {
    match name {
        "AAPL" => 265_598,
        "SPX" => 416_904,
        _ => {
            let hash = name
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            100_000_000 + i64::try_from(hash % 800_000_000).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::class_of;

    fn described(key: &str) -> (Directory, i64) {
        let (_, listing) = class_of(&key.parse().unwrap()).unwrap();
        let mut directory = Directory::default();
        let conid = directory.option(&listing, &Hub::new()).unwrap();
        (directory, conid)
    }

    #[test]
    fn contracts_are_described_as_the_broker_does() {
        for (key, class, description, underlying, under_class) in [
            ("AAPL  261218C00232500", "OPT", "AAPL   DEC2026 232.5 C [AAPL  261218C00232500 100]", "AAPL", "STK"),
            ("SPXW  261124P06650000", "OPT", "SPX    NOV2026 6650 P [SPXW  261124P06650000 100]", "SPX", "IND"),
            ("/ESZ26 261127P5000", "FOP", "ES     NOV2026 5000 P [EW4X6 P5000 50]", "ESZ6", "FUT"),
            ("/6EZ26 261204C1.105", "FOP", "EUR    DEC2026 1.105 C [1EUZ6 C1.105 125000]", "6EZ6", "FUT"),
            ("BRKB  261218C00480000", "OPT", "BRK B  DEC2026 480 C [BRKB  261218C00480000 100]", "BRK B", "STK"),
        ] {
            let (directory, conid) = described(key);
            let option = directory.get(conid).unwrap();
            assert_eq!((option.asset_class(), option.description().as_str()), (class, description));
            let under = directory.get(option.underlying().unwrap()).unwrap();
            assert_eq!((under.local_symbol().as_str(), under.asset_class()), (underlying, under_class));
        }
    }

    #[test]
    fn numbers_are_stable_and_differ() {
        let (_, first) = described("/ESZ26 261127P5000");
        let (_, again) = described("/ESZ26 261127P5000");
        let (_, other) = described("/ESZ26 261127P5005");
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert!((100_000_000..=900_000_000).contains(&first));
    }
}
