//! Betas of what is held, asked beside the stream.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{Driver, Job};
use crate::Error;
use crate::rest::BetaRow;

impl Driver<'_> {
    /// Asks what is due. Only while streaming, since no row depends on it, and not while events wait for room.
    pub(super) fn ask_for_betas(&mut self, now: Instant) {
        if !self.streaming || self.handover.has_own() {
            return;
        }
        let Some(names) = self.book.betas.ask(now.into_std()) else { return };
        let discoverer = Arc::clone(self.tools.discoverer);
        let asked = async move {
            let result = discoverer.rest().betas(&names).await;
            Job::Betas(names, result)
        };
        self.jobs.push(asked.boxed());
    }

    /// When [`Driver::ask_for_betas`] is due; what is due already waits for something else.
    pub(super) fn betas_due(&self, now: Instant) -> Option<Instant> {
        self.book.betas.due().map(Instant::from_std).filter(|due| self.streaming && *due > now)
    }

    /// No failure to read betas ends a session: whatever is behind it shows where it matters.
    pub(super) fn on_betas(&mut self, names: Vec<String>, result: Result<Vec<BetaRow>, Error>) {
        let events = self.book.betas.answer(names, result, self.tools.cx.now(), Instant::now().into_std());
        self.handover.extend(events);
    }
}
