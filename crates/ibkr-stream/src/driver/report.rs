//! What a driver says of its state.

use greeks_model::SessionState;
use tokio::time::Instant;

use super::Driver;
use crate::conditions::Conditions;
use crate::discovery::Shortfall;
use crate::session::{Counts, Report};

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Told {
    conditions: Option<Conditions>,
    counts: Option<Counts>,
    frozen: usize,
    /// When options that have quotes and no Greeks are told; Greeks come later than quotes.
    greekless_at: Option<Instant>,
}

impl Told {
    /// When something is told that time alone brings.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.greekless_at.filter(|at| *at > now)
    }
}

impl Driver<'_> {
    pub(super) fn announce(&mut self, now: Instant) {
        // Judged in every round, told or not: its deadline moves on by that.
        let slow = self.handover.is_slow(now);
        if !self.has_streamed() {
            if !self.session.is_streaming() {
                return;
            }
            self.streaming_since = Some(self.tools.cx.now());
        }
        let report = self.session.report();
        let conditions = Conditions {
            book: self.book.faults(),
            accounts_not_told: self.tools.shortfall == Shortfall::NotTold,
            accounts_not_found: match &self.tools.shortfall {
                Shortfall::NotFound(accounts) => accounts.len(),
                Shortfall::None | Shortfall::NotTold => 0,
            },
            without_greeks: self.without_greeks(&report, now),
            tickle_failing: self.tickler.is_failing(),
            rest_limited: self.tickler.is_limited(now),
            slow,
            ..Conditions::of(&report.options, &report.underlyings)
        };
        self.tell_frozen(&report);
        if self.told.conditions == Some(conditions) {
            return;
        }
        self.told.conditions = Some(conditions);
        let reason = conditions.to_string();
        let state = if reason.is_empty() { SessionState::Connected } else { SessionState::Degraded { reason } };
        if let Err(error) = self.tools.cx.set_state(state) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the state could not be announced");
        }
    }

    pub(super) fn note_silence(&mut self) {
        let silent = self.session.take_newly_silent();
        if !silent.is_empty() {
            // How many they are is told with the state: without a market data line there can be thousands.
            tracing::debug!(contracts = ?silent, "subscribed contracts give no data; asking again");
        }
    }

    pub(super) fn report_subscriptions(&mut self) {
        let counts = self.session.report().total();
        if self.told.counts == Some(counts) {
            return;
        }
        self.told.counts = Some(counts);
        self.tools.meter.subscriptions(counts);
        self.tools.cx.activity().set_subscriptions(counts.sent);
    }

    fn without_greeks(&mut self, report: &Report, now: Instant) -> usize {
        if report.options.without_greeks == 0 {
            self.told.greekless_at = None;
            return 0;
        }
        let at = *self.told.greekless_at.get_or_insert(now + self.tools.config.quiet_after);
        if now >= at { report.options.without_greeks } else { 0 }
    }

    /// Outside trading hours all data is frozen: worth a line in the log, no fault.
    fn tell_frozen(&mut self, report: &Report) {
        let frozen = report.total().frozen;
        if (frozen == 0) != (self.told.frozen == 0) {
            tracing::info!(contracts = frozen, "data is frozen, as outside trading hours, or no longer so");
        }
        self.told.frozen = frozen;
    }
}
