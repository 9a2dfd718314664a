//! Accounts and what they hold.

use greeks_model::{Contract, Decimal};
use jiff::{SignedDuration, Timestamp};

use super::listing::Listing;

/// When positions that are held from the start were last changed: 2025-09-16T20:00:05.004Z.
pub(crate) const LONG_HELD: Timestamp = Timestamp::constant(1_758_052_805, 4_000_000);

/// The step of times in documents.
const MILLISECOND: SignedDuration = SignedDuration::from_millis(1);

/// A brokerage account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// As the broker writes it.
    pub number: String,
    /// The holder's own name for it.
    pub nickname: String,
    /// Closed accounts are still listed, but hold nothing.
    pub closed: bool,
}

/// What a position is in.
#[derive(Clone, Debug, PartialEq)]
pub enum Holding {
    /// An option contract.
    Option(Box<Listing>),
    /// A stock, by its symbol.
    Stock(String),
}

/// One row of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct SimPosition {
    /// [`Account::number`].
    pub account: String,
    /// What is held.
    pub holding: Holding,
    /// Signed: negative when short, 0 once closed.
    pub quantity: i64,
    /// When that became so.
    pub updated: Timestamp,
}

impl SimPosition {
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

    /// Money per 1.00 of price and one unit.
    #[must_use]
    pub fn multiplier(&self) -> Decimal {
        self.listing().map_or(Decimal::ONE, |listing| listing.multiplier)
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
    pub(crate) accounts: Vec<Account>,
    pub(crate) positions: Vec<SimPosition>,
}

impl Book {
    /// Two open accounts, and a closed one as most customers have.
    pub(crate) fn new() -> Self {
        let account = |number: &str, nickname: &str, closed| Account {
            number: number.to_owned(),
            nickname: nickname.to_owned(),
            closed,
        };
        Self {
            accounts: vec![
                account("5WT00001", "Individual", false),
                account("5WT00002", "Roth IRA", false),
                account("5WT00003", "Old joint", true),
            ],
            positions: Vec::new(),
        }
    }

    pub(crate) fn account(&self, number: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.number == number)
    }

    /// Adds a position, or sets the quantity of the one the account has in the same contract.
    pub(crate) fn set(&mut self, account: &str, listing: Listing, quantity: i64, updated: Timestamp) {
        match self.find(account, &listing.contract) {
            Some(position) => {
                position.quantity = quantity;
                // Two changes within a millisecond, or over a clock that was set back, are still told apart.
                position.updated = updated.max(position.updated.saturating_add(MILLISECOND).unwrap_or(updated));
            }
            None => self.add(account, listing, quantity, updated),
        }
    }

    /// Adds a position in a contract that the account does not have.
    pub(crate) fn add(&mut self, account: &str, listing: Listing, quantity: i64, updated: Timestamp) {
        let holding = Holding::Option(Box::new(listing));
        self.positions.push(SimPosition { account: account.to_owned(), holding, quantity, updated });
    }

    pub(crate) fn find(&mut self, account: &str, contract: &Contract) -> Option<&mut SimPosition> {
        self.positions.iter_mut().find(|position| {
            position.account == account && position.listing().is_some_and(|listing| listing.contract == *contract)
        })
    }
}
