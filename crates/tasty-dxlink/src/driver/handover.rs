//! What the session has to give, for the way out that all drivers share.

use broker_net::handover::Producer;
use greeks_model::SourceEvent;

use crate::session::Session;

impl Producer for Session {
    fn has_events(&self) -> bool {
        Self::has_events(self)
    }

    fn next_event(&mut self) -> Option<SourceEvent> {
        Self::next_event(self)
    }
}
