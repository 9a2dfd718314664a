//! What is wrong with a session that streams, in words.

use std::fmt;

use broker_net::text::Clauses;

use crate::book::BookFaults;
use crate::session::Counts;

/// What it means that not all accounts were told.
pub(crate) const ACCOUNTS_NOT_TOLD: &str =
    "the gateway does not tell all sub-accounts of the advisor: name the accounts to stream in the configuration";

/// What field 6509 means when it begins with O.
pub(crate) const NOT_ACKNOWLEDGED: &str = "IBKR gives this user no market data over its API before the user has signed the \
     Market Data API Acknowledgement: do so in the Client Portal, under Settings, Market Data Subscriptions";

/// What an operator should know of a session that streams.
///
/// Frozen data is not among it: outside trading hours all data is frozen, on good days as well. It is flagged on each
/// value and told in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) book: BookFaults,
    /// Sub-accounts of an advisor.
    pub(crate) accounts_not_told: bool,
    /// Configured.
    pub(crate) accounts_not_found: usize,
    /// No permission for the data of so many options and underlyings.
    pub(crate) not_permitted: Pair,
    /// The user has not agreed to the terms of API market data.
    pub(crate) not_acknowledged: bool,
    pub(crate) over_budget: usize,
    pub(crate) silent: Pair,
    pub(crate) delayed: usize,
    /// For long.
    pub(crate) without_greeks: usize,
    pub(crate) tickle_failing: bool,
    pub(crate) rest_limited: bool,
    pub(crate) slow: bool,
}

/// Counts of options and of underlyings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) options: usize,
    pub(crate) underlyings: usize,
}

impl Pair {
    pub(crate) const fn new(options: usize, underlyings: usize) -> Self {
        Self { options, underlyings }
    }

    const fn is_zero(self) -> bool {
        self.options == 0 && self.underlyings == 0
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.options, self.underlyings) {
            (options, 0) => write!(f, "{options} option(s)"),
            (0, underlyings) => write!(f, "{underlyings} underlying(s)"),
            (options, underlyings) => write!(f, "{options} option(s) and {underlyings} underlying(s)"),
        }
    }
}

impl Conditions {
    /// Those that subscriptions give.
    pub(crate) const fn of(options: &Counts, underlyings: &Counts) -> Self {
        Self {
            book: BookFaults { failed_accounts: 0, not_streamed: 0 },
            accounts_not_told: false,
            accounts_not_found: 0,
            not_permitted: Pair::new(options.not_permitted, underlyings.not_permitted),
            not_acknowledged: options.not_acknowledged + underlyings.not_acknowledged > 0,
            over_budget: options.over_budget + underlyings.over_budget,
            silent: Pair::new(options.silent, underlyings.silent),
            delayed: options.delayed + underlyings.delayed,
            without_greeks: 0,
            tickle_failing: false,
            rest_limited: false,
            slow: false,
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut clauses = Clauses::new(f);
        let BookFaults { failed_accounts, not_streamed } = self.book;
        clauses.say(self.accounts_not_told, format_args!("{ACCOUNTS_NOT_TOLD}"))?;
        clauses.say(
            self.accounts_not_found > 0,
            format_args!("{} configured account(s) are not among those of this login", self.accounts_not_found),
        )?;
        clauses
            .say(failed_accounts > 0, format_args!("positions of {failed_accounts} account(s) could not be read"))?;
        clauses.say(not_streamed > 0, format_args!("{not_streamed} option position(s) are not understood"))?;
        clauses.say(
            !self.not_permitted.is_zero(),
            format_args!("no market data permission for {}: subscribe to it at IBKR", self.not_permitted),
        )?;
        clauses.say(self.not_acknowledged, format_args!("{NOT_ACKNOWLEDGED}"))?;
        clauses.say(
            self.over_budget > 0,
            format_args!("{} contract(s) are not streamed: no market data line is left for them", self.over_budget),
        )?;
        clauses.say(!self.silent.is_zero(), format_args!("{} give no data", self.silent))?;
        clauses.say(self.delayed > 0, format_args!("quotes of {} contract(s) are delayed", self.delayed))?;
        clauses.say(
            self.without_greeks > 0,
            format_args!(
                "{} option(s) have quotes and no Greeks, which need live data of option and underlying",
                self.without_greeks
            ),
        )?;
        clauses
            .say(self.tickle_failing, format_args!("the gateway does not answer: the session cannot be kept alive"))?;
        clauses.say(
            self.rest_limited,
            format_args!("the gateway limits the rate of calls: positions are not read for a while"),
        )?;
        clauses.say(self.slow, format_args!("events are not taken as fast as they come"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told() {
        let none = Conditions::default();
        assert_eq!(none.to_string(), "");
        assert_eq!(Conditions { silent: Pair::new(2, 0), ..none }.to_string(), "2 option(s) give no data");
        assert_eq!(Conditions { silent: Pair::new(0, 1), ..none }.to_string(), "1 underlying(s) give no data");
        let all = Conditions {
            book: BookFaults { failed_accounts: 1, not_streamed: 3 },
            accounts_not_told: true,
            accounts_not_found: 2,
            not_permitted: Pair::new(1, 1),
            not_acknowledged: true,
            over_budget: 7,
            silent: Pair::new(2, 1),
            delayed: 4,
            without_greeks: 5,
            tickle_failing: true,
            rest_limited: true,
            slow: true,
        };
        assert_eq!(all.to_string().split("; ").count(), 13, "{all}");
    }

    #[test]
    fn frozen_data_alone_is_no_fault() {
        let frozen = Counts { wanted: 3, sent: 3, live: 3, frozen: 3, ..Counts::default() };
        assert_eq!(Conditions::of(&frozen, &frozen).to_string(), "");
        let missing = Counts { not_permitted: 1, delayed: 2, silent: 1, over_budget: 1, ..frozen };
        let conditions = Conditions::of(&missing, &frozen);
        assert_eq!((conditions.not_permitted, conditions.silent), (Pair::new(1, 0), Pair::new(1, 0)));
        assert_eq!((conditions.over_budget, conditions.delayed), (1, 2));
        assert!(!conditions.not_acknowledged);
        let unsigned = Counts { not_acknowledged: 1, ..frozen };
        assert!(
            Conditions::of(&unsigned, &frozen).not_acknowledged && Conditions::of(&frozen, &unsigned).not_acknowledged
        );
    }
}
