//! The rules of a Client Portal websocket: bytes and time in, messages and events out. No socket, no clock.

mod report;
mod settings;

use std::collections::VecDeque;
use std::time::Instant;

use greeks_model::{SourceEvent, UnixNanos};

use crate::Error;
use crate::wire::{Conid, Defect};

pub(crate) use report::{Counts, Report, Signals, Tally};
pub(crate) use settings::{Role, Settings, Wanted};

/// More notices than these between two looks are counted only.
pub(crate) const MAX_NOTICES: usize = 16;

/// What one frame was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Control,
    Heartbeat,
    /// Market data of a wanted contract; an event may wait in [`Session::next_event`].
    Data,
    Dropped(Defect),
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    settings: Settings,
    events: VecDeque<SourceEvent>,
    signals: Signals,
    tally: Tally,
    report: Report,
    newly_silent: Vec<Conid>,
    authenticated: bool,
    last_frame: Instant,
}

impl Session {
    /// A session on a connection just opened. Nothing may be sent before the gateway says that it is authenticated.
    pub(crate) fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            events: VecDeque::new(),
            signals: Signals::default(),
            tally: Tally::default(),
            report: Report::default(),
            newly_silent: Vec::new(),
            authenticated: false,
            last_frame: now,
        }
    }

    /// Replaces what is to be subscribed, most important first.
    pub(crate) fn want(&mut self, wanted: &[Wanted], _now: Instant) {
        self.report.options.wanted = wanted.len();
    }

    /// Takes one frame, text or binary.
    pub(crate) fn on_frame(&mut self, _bytes: &[u8], now: Instant, _at: UnixNanos) -> Result<Received, Error> {
        self.last_frame = now;
        Ok(Received::Control)
    }

    /// Does what is due at `now`. While `reading` is false the socket is not read on this side, and what the gateway has
    /// not said cannot be held against it.
    pub(crate) fn on_tick(&mut self, now: Instant, reading: bool) -> Result<(), Error> {
        if !reading {
            self.last_frame = now;
        }
        Ok(())
    }

    /// The next message to send, if one may go out now. It counts as sent.
    pub(crate) fn poll_output(&mut self, _now: Instant) -> Option<String> {
        None
    }

    /// When [`Session::on_tick`] or [`Session::poll_output`] has something to do at the latest.
    pub(crate) fn deadline(&self) -> Instant {
        self.last_frame + self.settings.heartbeat_timeout
    }

    /// What is left to say before the connection is closed, one message a call: every subscription ends.
    pub(crate) fn take_last_word(&mut self) -> Option<String> {
        None
    }

    /// The next event of the frames taken so far.
    pub(crate) fn next_event(&mut self) -> Option<SourceEvent> {
        self.events.pop_front()
    }

    /// Whether events wait in [`Session::next_event`].
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// What the frames since the last call asked for.
    pub(crate) fn take_signals(&mut self) -> Signals {
        std::mem::take(&mut self.signals)
    }

    /// What the frames since the last call held that gave no event.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Whether the gateway has said that this connection is authenticated.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Whether the stream stands: authenticated, and data flows or all is subscribed and the gateway alive since.
    pub(crate) fn is_streaming(&self) -> bool {
        self.authenticated
    }

    /// How the subscriptions stand.
    pub(crate) fn report(&mut self) -> Report {
        self.report
    }

    /// Contracts found silent since the last call.
    pub(crate) fn take_newly_silent(&mut self) -> Vec<Conid> {
        std::mem::take(&mut self.newly_silent)
    }
}
