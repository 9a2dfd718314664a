//! Positions and accounts followed beside the stream: reads by REST, periodic and when something tells of a change.

use std::sync::Arc;

use broker_net::refresh::Outcome;
use futures_util::FutureExt;
use greeks_model::{AccountId, SessionEnd, SourceEvent};
use tokio::time::Instant;

use super::{Driver, Job};
use crate::Error;
use crate::discovery::{Chosen, Findings, Shortfall};

impl Driver<'_> {
    /// Starts the reads that are due. While events wait for room none starts: its events would have to wait as well.
    pub(super) fn start_reads(&mut self, now: Instant) {
        if self.is_short() && now >= self.list_again_at {
            self.list_accounts(now);
        }
        while let Some(account) = self.executions.take_due(now) {
            self.refresher.touch(&account, now.into_std());
        }
        while !self.handover.has_own() {
            let Some(account) = self.refresher.start(now.into_std()) else { return };
            let past_cache = self.executions.begin(&account);
            let (discoverer, cx) = (Arc::clone(self.tools.discoverer), self.tools.cx.clone());
            let read = match past_cache {
                true => discoverer.look_afresh(account, cx).boxed(),
                false => discoverer.look(account, cx).boxed(),
            };
            self.jobs.push(read.map(Job::Read).boxed());
        }
    }

    /// Whether accounts that were to be streamed are not.
    fn is_short(&self) -> bool {
        self.tools.shortfall != Shortfall::None
    }

    /// When [`Driver::start_reads`] is due.
    pub(super) fn positions_due(&self) -> Option<Instant> {
        let read = self.refresher.deadline().filter(|_| !self.handover.has_own()).map(Instant::from_std);
        let list = (self.is_short() && !self.listing).then_some(self.list_again_at);
        read.into_iter().chain(self.executions.deadline()).chain(list).min()
    }

    pub(super) fn on_findings(&mut self, findings: Findings, now: Instant) {
        let outcome = match &findings.result {
            Ok(_) => Outcome::Read,
            Err(Error::RateLimited { pause, .. }) => Outcome::Limited(*pause),
            Err(_) => Outcome::Failed,
        };
        if let Err(error) = &findings.result {
            self.doubt(error, now);
        }
        self.refresher.done(&findings.account, outcome, now.into_std());
        let events = self.book.update(vec![findings], self.tools.cx);
        for event in &events {
            if let SourceEvent::Positions(snapshot) = event {
                self.executions.read(snapshot, now);
            }
        }
        self.handover.extend(events);
        self.session.want(&self.book.wanted());
    }

    /// The gateway has told of its accounts: whether they are still those of this session.
    pub(super) fn list_accounts(&mut self, now: Instant) {
        self.refresher.touch_all(now.into_std());
        self.list_again_at = now + self.tools.config.position_poll;
        if std::mem::replace(&mut self.listing, true) {
            return;
        }
        let (discoverer, config) = (Arc::clone(self.tools.discoverer), self.tools.config.clone());
        self.jobs.push(async move { Job::Accounts(discoverer.accounts_anew(&config).await) }.boxed());
    }

    pub(super) fn on_accounts(&mut self, outcome: Result<Chosen, Error>, now: Instant) -> Option<SessionEnd> {
        self.listing = false;
        match outcome {
            Ok(accounts) if same(&accounts.ids, &self.tools.accounts) => {
                self.tools.shortfall = accounts.shortfall;
                None
            }
            Ok(accounts) => {
                tracing::info!(accounts = accounts.ids.len(), "the accounts of the login have changed; beginning anew");
                Some(SessionEnd::Closed)
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the accounts could not be listed");
                self.doubt(&error, now);
                None
            }
        }
    }

    /// A call has failed: one that tells something of the session lets the tickle judge it at once.
    pub(super) fn doubt(&mut self, error: &Error, now: Instant) {
        match error {
            Error::RateLimited { pause, .. } => self.tickler.hold(*pause, now),
            Error::LoginRequired { .. } | Error::NoBrokerageSession { .. } => self.tickler.hurry(now),
            _ => {}
        }
    }
}

/// Whether both list the same accounts, in whatever order.
fn same(a: &[AccountId], b: &[AccountId]) -> bool {
    a.len() == b.len() && a.iter().all(|account| b.contains(account))
}
