//! What a driver says of its state.

use greeks_model::SessionState;
use tokio::time::Instant;

use super::Driver;
use crate::conditions::Conditions;
use crate::rest::Level;

impl Driver<'_> {
    pub(super) fn announce(&mut self, now: Instant) {
        // Judged in every round, told or not: its deadline moves on by that.
        let slow = self.handover.is_slow(now);
        self.streaming = self.streaming || self.session.is_streaming();
        if !self.streaming {
            return;
        }
        let conditions = Conditions {
            delayed: self.tools.token.level == Level::Demo,
            no_account: self.tools.accounts.is_empty(),
            missing_accounts: self.tools.missing_accounts,
            book: self.book.faults(),
            silent: self.session.silent_options(),
            channel_lost: self.session.has_lost_channel(),
            slow,
            account_streamer_lost: self.lacks_account_streamer(now),
        };
        if self.conditions == Some(conditions) {
            return;
        }
        self.conditions = Some(conditions);
        let reason = conditions.to_string();
        let state = if reason.is_empty() { SessionState::Connected } else { SessionState::Degraded { reason } };
        if let Err(error) = self.tools.cx.set_state(state) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the state could not be announced");
        }
    }

    pub(super) fn report_subscriptions(&self) {
        let (wanted, sent) = self.session.subscription_counts();
        self.tools.meter.subscriptions(wanted, sent, self.session.silent_options());
        self.tools.cx.activity().set_subscriptions(self.session.subscribed_instruments());
    }
}
