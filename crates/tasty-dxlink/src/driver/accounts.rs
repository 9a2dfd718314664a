//! Whose positions are streamed, asked again beside the stream: accounts are opened and closed while it lasts.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt;
use greeks_model::AccountId;
use tokio::time::Instant;

use super::{Driver, Job};
use crate::discovery::{Accounts, masked};
use crate::{Error, TastyConfig};

/// When to ask, and what was answered.
#[derive(Debug)]
pub(super) struct Roll {
    /// `None` while an answer is awaited.
    ask_at: Option<Instant>,
    /// An answer that lacks an account of this session.
    doubted: Option<BTreeSet<AccountId>>,
    /// Whether other accounts are to be streamed than those of this session.
    changed: bool,
}

impl Roll {
    /// That of a session with these accounts. Where there are none, or they are remembered, asking does not wait longer
    /// than a look at positions does.
    pub(super) fn new(accounts: &[AccountId], are_new: bool, config: &TastyConfig, now: Instant) -> Self {
        let soon = accounts.is_empty() || !are_new;
        let pause = if soon { config.accounts_poll.min(config.position_poll) } else { config.accounts_poll };
        Self { ask_at: Some(now + pause), doubted: None, changed: false }
    }

    pub(super) const fn has_changed(&self) -> bool {
        self.changed
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.ask_at
    }
}

impl Driver<'_> {
    /// Asks when that is due.
    pub(super) fn ask_for_accounts(&mut self, now: Instant) {
        if self.roll.ask_at.take_if(|at| now >= *at).is_none() {
            return;
        }
        let (discoverer, config) = (Arc::clone(self.tools.discoverer), self.tools.config.clone());
        let asked = async move { Job::Accounts(discoverer.accounts(&config).await) };
        self.jobs.push(asked.boxed());
    }

    /// No failure changes anything: whatever is behind it shows where it matters. That an account is missing is believed
    /// when it is said twice, since much would be lost by a mistake.
    pub(super) fn on_accounts(&mut self, result: Result<Accounts, Error>) {
        let config = self.tools.config;
        let (usual, soon) = (config.accounts_poll, config.accounts_poll.min(config.position_poll));
        let ours: BTreeSet<AccountId> = self.tools.accounts.iter().cloned().collect();
        let pause = match result {
            Ok(found) => {
                let theirs: BTreeSet<AccountId> = found.ids.iter().cloned().collect();
                let doubted = self.roll.doubted.take();
                if theirs == ours {
                    if ours.is_empty() { soon } else { usual }
                } else if ours.is_subset(&theirs) || doubted.as_ref() == Some(&theirs) {
                    let (before, now) = (masked(&self.tools.accounts), masked(&found.ids));
                    tracing::info!(before, now, "other accounts are open; a new session begins with them");
                    self.roll.changed = true;
                    usual
                } else {
                    tracing::debug!("an account is missing from the list; it is read again");
                    self.roll.doubted = Some(theirs);
                    soon
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the accounts could not be read again");
                usual
            }
        };
        self.roll.ask_at = Some(Instant::now() + pause);
    }
}
