//! What is wrong with a session that streams, in words.

use std::fmt;

use broker_net::text::Clauses;

use crate::book::BookFaults;

/// What an operator should know of a session that streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conditions<'a> {
    pub(crate) delayed: bool,
    /// There is nothing to stream for.
    pub(crate) no_account: bool,
    /// Configured accounts that are not open, masked.
    pub(crate) missing_accounts: &'a str,
    pub(crate) book: BookFaults,
    pub(crate) silent: usize,
    pub(crate) channel_lost: bool,
    pub(crate) slow: bool,
    /// For longer than it takes to come back.
    pub(crate) account_streamer_lost: bool,
}

impl fmt::Display for Conditions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut clauses = Clauses::new(f);
        let BookFaults { failed_accounts, not_streamed } = self.book;
        clauses.say(self.delayed, format_args!("quotes are delayed: the quote token is of level demo"))?;
        clauses.say(self.no_account, format_args!("no account of these credentials is open"))?;
        let missing = self.missing_accounts;
        clauses.say(!missing.is_empty(), format_args!("configured account(s) {missing} are not open"))?;
        clauses
            .say(failed_accounts > 0, format_args!("positions of {failed_accounts} account(s) could not be read"))?;
        clauses.say(not_streamed > 0, format_args!("{not_streamed} option position(s) cannot be streamed"))?;
        clauses.say(self.silent > 0, format_args!("{} subscribed option(s) never had an event", self.silent))?;
        clauses.say(self.channel_lost, format_args!("the streamer closed a channel; it is being opened again"))?;
        clauses.say(self.slow, format_args!("events are not taken as fast as they come"))?;
        clauses.say(
            self.account_streamer_lost,
            format_args!("the account streamer cannot be reached; positions are polled"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told() {
        let none = Conditions {
            delayed: false,
            no_account: false,
            missing_accounts: "",
            book: BookFaults::default(),
            silent: 0,
            channel_lost: false,
            slow: false,
            account_streamer_lost: false,
        };
        assert_eq!(none.to_string(), "");
        assert_eq!(Conditions { silent: 2, ..none }.to_string(), "2 subscribed option(s) never had an event");
        let book = BookFaults { failed_accounts: 1, not_streamed: 3 };
        let all = Conditions {
            delayed: true,
            no_account: true,
            missing_accounts: "··0077",
            book,
            silent: 1,
            channel_lost: true,
            slow: true,
            account_streamer_lost: true,
        };
        // Two of them have such a mark in them.
        assert_eq!(all.to_string().split("; ").count(), 11, "{all}");
    }
}
