//! Accounts at the broker and what they hold.

use std::collections::HashSet;

use greeks_model::{Contract, Decimal, OptionType};

use super::config::IbkrSimConfig;
use super::contracts::Directory;
use crate::SimError;
use crate::config::MarketConfig;
use crate::market::{Holding, Listing, Place, business_day_before, class_of, more};

/// One row of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct IbkrPosition {
    /// The account that holds it.
    pub account: String,
    /// The contract's number.
    pub conid: i64,
    /// The number of what an option is written on.
    pub underlying_conid: Option<i64>,
    /// What is held.
    pub holding: Holding,
    /// Signed: negative when short; 0 in rows that stay for a day after the position was closed or expired.
    pub quantity: i64,
}

impl IbkrPosition {
    /// The option contract, if it is one.
    #[must_use]
    pub const fn listing(&self) -> Option<&Listing> {
        match &self.holding {
            Holding::Option(listing) => Some(listing),
            Holding::Stock(_) => None,
        }
    }

    /// The contract, if it is an option's.
    #[must_use]
    pub fn contract(&self) -> Option<&Contract> {
        self.listing().map(|listing| &listing.contract)
    }

    /// Whether it is an open option position: what a client has to stream.
    #[must_use]
    pub const fn is_open_option(&self) -> bool {
        self.quantity != 0 && self.listing().is_some()
    }
}

/// All accounts of one customer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub(crate) accounts: Vec<String>,
    pub(crate) advisor: Option<String>,
    pub(crate) positions: Vec<IbkrPosition>,
}

impl Book {
    /// The accounts, filled; and the contracts that the market has to begin to quote.
    pub(crate) fn fill(
        config: &IbkrSimConfig,
        place: &Place,
        directory: &mut Directory,
    ) -> Result<(Self, Vec<Listing>), SimError> {
        let customer = &config.customer;
        if customer.accounts.is_empty() {
            return Err(SimError::Config("a customer has at least one account".to_owned()));
        }
        let count = customer.accounts.len();
        // The first contract is in two accounts, on opposite sides.
        let twice = count > 1 && customer.positions > 0;
        let wanted = count * customer.positions - usize::from(twice);
        let (mut listings, fresh) = contracts(config, place, wanted)?;
        let mut book = Self {
            accounts: customer.accounts.clone(),
            advisor: customer.advisor.clone(),
            positions: Vec::with_capacity(wanted + 3 * count),
        };
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let expired = yesterday(place);
        let first = if twice { listings.first().cloned() } else { None };
        for (index, listing) in listings.drain(..).enumerate() {
            let size = rng.i64(1..=12);
            let quantity = if rng.bool() { size } else { -size };
            let turn = if twice && index > 0 { index + 1 } else { index };
            book.hold(directory, place, turn % count, &listing, quantity)?;
            if let (0, Some(first)) = (index, &first) {
                book.hold(directory, place, 1, first, -quantity.signum() * rng.i64(1..=9))?;
            }
        }
        for account in 0..count {
            book.stock(directory, account);
            if let Some(expired) = &expired {
                book.hold(directory, place, account, expired, 0)?;
            }
        }
        Ok((book, fresh))
    }

    pub(crate) fn knows(&self, account: &str) -> bool {
        self.advisor.as_deref() == Some(account) || self.accounts.iter().any(|known| known == account)
    }

    pub(crate) fn find(&mut self, account: &str, contract: &Contract) -> Option<&mut IbkrPosition> {
        self.positions.iter_mut().find(|row| row.account == account && row.contract() == Some(contract))
    }

    fn hold(
        &mut self,
        directory: &mut Directory,
        place: &Place,
        account: usize,
        listing: &Listing,
        quantity: i64,
    ) -> Result<(), SimError> {
        let conid = directory.option(listing, &place.hub).ok_or_else(too_many)?;
        let Some(account) = self.accounts.get(account).cloned() else { return Ok(()) };
        self.positions.push(IbkrPosition {
            account,
            conid,
            underlying_conid: directory.get(conid).and_then(|instrument| instrument.underlying()),
            holding: Holding::Option(Box::new(listing.clone())),
            quantity,
        });
        Ok(())
    }

    /// 200 shares of what the account's first option on a stock is written on.
    fn stock(&mut self, directory: &Directory, account: usize) {
        let Some(account) = self.accounts.get(account).cloned() else { return };
        let underlyings =
            self.positions.iter().filter(|row| row.account == account).filter_map(|row| row.underlying_conid);
        let found = underlyings.filter_map(|conid| directory.get(conid)).find(|under| under.asset_class() == "STK");
        if let Some((conid, symbol)) = found.map(|under| (under.conid, under.ticker())) {
            let holding = Holding::Stock(symbol);
            self.positions.push(IbkrPosition { account, conid, underlying_conid: None, holding, quantity: 200 });
        }
    }
}

/// `wanted` contracts, and those of them that the market does not quote yet.
fn contracts(config: &IbkrSimConfig, place: &Place, wanted: usize) -> Result<(Vec<Listing>, Vec<Listing>), SimError> {
    let mut seen = HashSet::new();
    let quoted = place.book.positions.iter().filter_map(|position| position.listing());
    let quoted: Vec<&Listing> = quoted.filter(|listing| seen.insert(&listing.contract)).collect();
    let simulated = matches!(place.config, MarketConfig::Simulated(_));
    // A replay has no other contracts than those of its file.
    let share = if simulated { config.customer.shared.min(wanted) } else { wanted };
    let mut listings: Vec<Listing> = quoted.iter().take(share).map(|listing| (*listing).clone()).collect();
    let missing = wanted - listings.len();
    let fresh = if simulated && missing > 0 {
        let taken = quoted.iter().map(|listing| listing.contract.clone());
        more(config.seed ^ 0x1b, place.opened, missing, taken)?
    } else {
        Vec::new()
    };
    listings.extend(fresh.iter().cloned());
    Ok((listings, fresh))
}

/// A contract that expired on the business day before.
fn yesterday(place: &Place) -> Option<Listing> {
    let day = business_day_before(place.opened);
    let contract = Contract::osi("SPXW", day, OptionType::Put, Decimal::from(6000)).ok()?;
    class_of(&contract).map(|(_, listing)| listing)
}

fn too_many() -> SimError {
    SimError::Config("too many symbols".to_owned())
}
