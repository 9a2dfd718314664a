//! Positions followed beside the stream: reads by REST, and the account streamer that says when.

use std::sync::Arc;

use broker_net::refresh::Outcome;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Driver, FAREWELL, Job};
use crate::Error;
use crate::account::{Link, LinkSettings, Signal};
use crate::discovery::Findings;

/// The account streamer as its driver sees it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Since when it tells no changes; `None` while it does, or when there is none.
    down_since: Option<Instant>,
    /// Whether its loss has been told.
    complained: bool,
    /// Whether a job waits for its next signal.
    listening: bool,
    stop: CancellationToken,
}

impl Driver<'_> {
    /// Begins to listen to the account streamer, if there is one.
    pub(super) fn watch_accounts(&mut self) {
        let config = self.tools.config;
        let Some(url) = self.tools.account_streamer else { return };
        let settings = LinkSettings {
            url: url.clone(),
            accounts: self.tools.accounts.clone(),
            user_agent: config.user_agent.clone(),
            heartbeat: config.account_heartbeat,
            step_timeout: config.step_timeout,
        };
        if settings.accounts.is_empty() {
            return;
        }
        self.watch.down_since = Some(Instant::now());
        let (discoverer, tls) = (Arc::clone(self.tools.discoverer), Arc::clone(self.tools.tls));
        self.listen(Link::new(settings, discoverer, tls, self.watch.stop.clone()));
    }

    /// Starts the reads that are due. While events wait for room none starts: its events would have to wait as well.
    pub(super) fn start_reads(&mut self, now: Instant) {
        while !self.handover.has_own() {
            let Some(account) = self.refresher.start(now.into_std()) else { return };
            let look = Arc::clone(self.tools.discoverer).look(account, self.tools.cx.clone());
            self.jobs.push(look.map(Job::Read).boxed());
        }
    }

    /// When [`Driver::start_reads`] or the state of the account streamer is due.
    pub(super) fn positions_due(&self, now: Instant) -> Option<Instant> {
        let read = self.refresher.deadline().filter(|_| !self.handover.has_own()).map(Instant::from_std);
        let outage = self.outage_due().filter(|due| *due > now);
        read.into_iter().chain(outage).min()
    }

    /// Whether the account streamer has been lost for long enough to be told.
    pub(super) fn lacks_account_streamer(&self, now: Instant) -> bool {
        self.outage_due().is_some_and(|due| now >= due)
    }

    pub(super) fn on_job(&mut self, job: Job) -> Result<(), Error> {
        match job {
            Job::Read(findings) => self.on_findings(findings),
            Job::Signal(link, signal) => self.on_signal(*link, signal),
            Job::Accounts(result) => {
                self.on_accounts(result);
                Ok(())
            }
            Job::Betas(names, result) => {
                self.on_betas(names, result);
                Ok(())
            }
            Job::Token(result) => {
                self.on_token(*result);
                Ok(())
            }
        }
    }

    /// Lets the account streamer go, in good order if that is possible in time. Reads under way are dropped.
    pub(super) fn leave_account_streamer(&mut self) -> impl Future<Output = ()> + use<> {
        self.watch.stop.cancel();
        let mut jobs = std::mem::take(&mut self.jobs);
        let listening = self.watch.listening;
        let stopped = async move {
            while let Some(job) = jobs.next().await {
                if matches!(job, Job::Signal(..)) {
                    return;
                }
            }
        };
        async move {
            if listening && timeout(FAREWELL, stopped).await.is_err() {
                tracing::debug!("the account streamer was left without a good-bye");
            }
        }
    }

    fn listen(&mut self, link: Link) {
        self.watch.listening = true;
        self.jobs.push(link.next().map(|(link, signal)| Job::Signal(Box::new(link), signal)).boxed());
    }

    fn on_signal(&mut self, link: Link, signal: Signal) -> Result<(), Error> {
        self.watch.listening = false;
        let now = Instant::now();
        match signal {
            Signal::Heard { acknowledged, touched, unknown, malformed } => {
                self.tools.meter.account(unknown, malformed);
                if acknowledged {
                    tracing::info!(accounts = self.tools.accounts.len(), "the account streamer tells of changes");
                    self.watch.down_since = None;
                    self.watch.complained = false;
                    // It tells nothing of what was before.
                    self.refresher.touch_all(now.into_std());
                }
                for account in &touched {
                    tracing::debug!(%account, "positions have changed");
                    self.refresher.notice(account, now.into_std());
                }
            }
            // Refused here, refused everywhere: no use in trying again.
            Signal::Lost { error: error @ Error::CredentialsRejected { .. }, .. } => return Err(error),
            Signal::Lost { error, pause } => {
                self.tools.meter.account_lost();
                self.watch.down_since.get_or_insert(now);
                let error = &error as &dyn std::error::Error;
                if std::mem::replace(&mut self.watch.complained, true) {
                    tracing::debug!(error, ?pause, "account streamer lost again");
                } else {
                    tracing::warn!(error, ?pause, "account streamer lost; positions are polled meanwhile");
                }
            }
            Signal::Stopped => return Ok(()),
        }
        self.listen(link);
        Ok(())
    }

    fn on_findings(&mut self, findings: Findings) -> Result<(), Error> {
        let now = Instant::now();
        let outcome = match &findings.result {
            Ok(_) => Outcome::Read,
            Err(Error::RateLimited { retry_after: Some(pause), .. }) => Outcome::Limited(*pause),
            Err(_) => Outcome::Failed,
        };
        self.refresher.done(&findings.account, outcome, now.into_std());
        let events = self.book.update(vec![findings], self.tools.cx)?;
        self.handover.extend(events);
        self.book.betas.hold(self.book.beta_names(), now.into_std());
        self.session.want(&self.book.wanted(), now.into_std());
        self.report_subscriptions();
        Ok(())
    }

    fn outage_due(&self) -> Option<Instant> {
        self.watch.down_since.map(|since| since + self.tools.config.account_outage_after)
    }
}
