//! The rules of a Client Portal websocket: bytes and time in, messages and events out. No socket, no clock.
//!
//! Nothing is sent before `sts authenticated:true`: the gateway would discard it without a word. One that knows the login
//! and still has not said so after a while is taken for authenticated, as REST has found it. A subscription ends
//! silently after 10 minutes, so each is sent again in time, for ever; one without frames is asked for again earlier,
//! with doubling pauses. At most one message goes out every `subscribe_spacing`. Frames hold what has changed, and each
//! becomes one event as it is: what stays is the business of whoever takes the events (IBKR, "Web API v1, WebSockets").

mod budget;
mod clock;
mod line;
mod lines;
mod liveness;
mod report;
mod settings;
mod stillness;
mod update;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use broker_net::text::clean;
use greeks_model::{SourceEvent, UnixNanos};
use secrecy::{ExposeSecret, SecretString};

use crate::Error;
use crate::wire::{self, Conid, Defect, Frame, Incoming, Outgoing, Status, System};

use clock::Clock;
use lines::Lines;
use liveness::Liveness;
use update::to_update;

pub(crate) use report::{Counts, Report, Signals, Tally};
pub(crate) use settings::{Role, Settings, Wanted};

/// Of more notices between two looks only the first are kept.
pub(crate) const MAX_NOTICES: usize = 16;

/// A refusal comes so soon after what it is about.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// What one frame was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Control,
    Heartbeat,
    /// Market data of a wanted contract; an event may wait in [`Session::next_event`].
    Data,
    Dropped(Defect),
}

/// Whether the gateway was told the id of its session. It has that from the cookie; one that waits for it all the same is
/// told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdAnswer {
    Unasked,
    Due,
    Given,
}

/// The state of one connection.
///
/// Times inside are those of its [`Clock`], which the driver's become on entry.
#[derive(Debug)]
pub(crate) struct Session {
    spacing: Duration,
    keep_payload: bool,
    executions: bool,
    clock: Clock,
    liveness: Liveness,
    lines: Lines,
    /// Used again for every frame.
    frame: Frame,
    events: VecDeque<SourceEvent>,
    signals: Signals,
    tally: Tally,
    authenticated: bool,
    /// Whether the gateway itself has said so.
    confirmed: bool,
    /// Of the gateway's session, as in the cookie.
    id: SecretString,
    id_answer: IdAnswer,
    executions_asked: bool,
    /// When the next message may go out.
    free_at: Instant,
    /// Since when subscriptions are refused for want of the accounts.
    refused_since: Option<Instant>,
    /// Whether the gateway has spoken since the last new subscription went out.
    answered: bool,
}

impl Session {
    /// A session on a connection just opened, in a brokerage session that is healthy and has this id.
    pub(crate) fn new(settings: Settings, id: SecretString, now: Instant) -> Self {
        Self {
            liveness: Liveness::new(&settings, now),
            lines: Lines::new(&settings, now),
            spacing: settings.subscribe_spacing,
            keep_payload: settings.keep_payload,
            executions: settings.executions,
            clock: Clock::new(),
            frame: Frame::default(),
            events: VecDeque::new(),
            signals: Signals::default(),
            tally: Tally::default(),
            authenticated: false,
            confirmed: false,
            id,
            id_answer: IdAnswer::Unasked,
            executions_asked: false,
            free_at: now,
            refused_since: None,
            answered: false,
        }
    }

    /// Replaces what is to be subscribed, most important first.
    pub(crate) fn want(&mut self, wanted: &[Wanted]) {
        self.lines.want(wanted);
        self.answered &= self.lines.all_sent();
    }

    /// Takes one frame, text or binary.
    pub(crate) fn on_frame(&mut self, bytes: &[u8], now: Instant, received_at: UnixNanos) -> Result<Received, Error> {
        let now = self.take_time(now, received_at);
        let incoming = match wire::read(bytes, &mut self.frame) {
            Ok(incoming) => incoming,
            Err(defect) => return Ok(Received::Dropped(defect)),
        };
        self.answered |= self.authenticated && self.lines.all_sent();
        match incoming {
            Incoming::MarketData => return Ok(self.on_market_data(bytes, now, received_at)),
            Incoming::System(System::Heartbeat) => return Ok(Received::Heartbeat),
            Incoming::Status(status) => self.on_status(status, now)?,
            // The first one comes ahead of the status and tells what is known.
            Incoming::Act => self.signals.accounts_changed |= self.authenticated,
            Incoming::Execution => self.signals.executions = true,
            Incoming::Notice(words) => self.notice(&words),
            Incoming::Error { text, conid } => self.on_error(&text, conid, now),
            Incoming::WaitingForSession if self.confirmed => self.notice("waiting for session"),
            Incoming::WaitingForSession if self.id_answer == IdAnswer::Unasked => self.id_answer = IdAnswer::Due,
            Incoming::Unknown => self.tally.unknown_topics += 1,
            Incoming::System(System::Success) => self.liveness.login_known(now),
            Incoming::WaitingForSession | Incoming::Tic | Incoming::Echo | Incoming::Empty => {}
        }
        Ok(Received::Control)
    }

    /// Does what is due at `now`. While `reading` is false the socket is not read on this side, and what the gateway has
    /// not said cannot be held against it.
    pub(crate) fn on_tick(&mut self, now: Instant, reading: bool) -> Result<(), Error> {
        let now = self.clock.at(now);
        if !reading {
            self.liveness.pause(now);
            self.lines.pause(now);
        }
        if !self.authenticated && self.liveness.is_presumed(now) {
            tracing::info!("the gateway knows the login and does not say authenticated; subscribing all the same");
            self.authenticate(now);
        }
        self.liveness.check(now)?;
        self.expire(now);
        match self.lines.stalled(now).filter(|_| self.authenticated) {
            Some(after) => Err(Error::Stalled { after }),
            None => Ok(()),
        }
    }

    /// The next message to send, if one may go out now. It counts as sent.
    pub(crate) fn poll_output(&mut self, now: Instant) -> Option<String> {
        let now = self.clock.at(now);
        if now < self.free_at {
            return None;
        }
        if self.id_answer == IdAnswer::Due {
            self.id_answer = IdAnswer::Given;
            self.free_at = now + self.spacing;
            return Some(wire::session_answer(&self.id));
        }
        if !self.authenticated {
            return None;
        }
        let message = if self.are_executions_due() {
            self.executions_asked = true;
            Outgoing::Executions
        } else if self.liveness.take_tic(now) {
            Outgoing::Tic
        } else {
            // A renewal would wipe out that it came too late.
            self.expire(now);
            let had_all = self.lines.all_sent();
            let message = self.lines.next(now)?;
            self.note_loss();
            self.answered &= had_all;
            message
        };
        self.free_at = now + self.spacing;
        Some(message.to_text())
    }

    /// When [`Session::on_tick`] or [`Session::poll_output`] has something to do at the latest.
    pub(crate) fn deadline(&self) -> Instant {
        let mut deadline = self.liveness.deadline();
        if self.id_answer == IdAnswer::Due {
            deadline = deadline.min(self.free_at);
        }
        if self.authenticated {
            deadline = self.lines.stalled_at().map_or(deadline, |at| deadline.min(at));
            let tic_at = self.liveness.tic_at().max(self.free_at);
            let executions_at = self.are_executions_due().then_some(self.free_at);
            let others = [Some(tic_at), executions_at, self.lines.next_at(self.free_at), self.lines.expiry_at()];
            deadline = others.into_iter().flatten().fold(deadline, Instant::min);
        }
        self.clock.to_driver(deadline)
    }

    /// What is left to say before the connection is closed, one message a call: executions end, and every subscription.
    /// Without authentication there is nothing: it would be discarded.
    pub(crate) fn take_last_word(&mut self) -> Option<String> {
        if !self.authenticated {
            return None;
        }
        if std::mem::take(&mut self.executions_asked) {
            return Some(Outgoing::NoExecutions.to_text());
        }
        self.lines.take_last().map(|conid| Outgoing::Unsubscribe(conid).to_text())
    }

    /// The brokerage accounts have been listed again: what may have been refused without them is asked for anew.
    pub(crate) fn primed(&mut self, now: Instant) {
        let now = self.clock.at(now);
        let since = self.refused_since.take().and_then(|at| at.checked_sub(ANSWERED_WITHIN));
        self.lines.ask_again(since, now);
    }

    /// From the first market data to the last.
    pub(crate) fn data_came_for(&self) -> Duration {
        self.lines.data_came_for()
    }

    /// The next event of the frames taken so far.
    pub(crate) fn next_event(&mut self) -> Option<SourceEvent> {
        self.events.pop_front()
    }

    /// Whether events wait in [`Session::next_event`].
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// What has come up since the last call. Ask after a frame and after a tick.
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
        let stands = || self.lines.has_had_data() || (self.lines.all_sent() && self.answered);
        self.authenticated && (!self.lines.is_wanted() || stands())
    }

    /// How the subscriptions stand.
    pub(crate) fn report(&mut self) -> Report {
        self.lines.report()
    }

    /// Contracts found silent since the last call.
    pub(crate) fn take_newly_silent(&mut self) -> Vec<Conid> {
        self.lines.take_newly_silent()
    }

    /// Notes that a frame has come; gives the session's time.
    fn take_time(&mut self, now: Instant, received_at: UnixNanos) -> Instant {
        let before = self.clock.at(now);
        let now = self.clock.at_frame(now, received_at);
        self.liveness.received(now);
        if now > before {
            // A sleeping machine does not listen.
            self.lines.pause(now);
            self.expire(now);
        }
        now
    }

    fn expire(&mut self, now: Instant) {
        let expired = self.lines.expire(now, &self.clock);
        self.lose(expired);
    }

    /// Subscriptions may have ended before their time.
    fn note_loss(&mut self) {
        let since = self.lines.take_lost().and_then(|at| self.clock.wall(at));
        self.lose(since);
    }

    fn lose(&mut self, since: Option<UnixNanos>) {
        let Some(since) = since else { return };
        self.signals.lost = Some(self.signals.lost.map_or(since, |known| known.min(since)));
    }

    fn on_market_data(&mut self, bytes: &[u8], now: Instant, received_at: UnixNanos) -> Received {
        if let Some(words) = self.frame.error.take() {
            self.on_error(&words, self.frame.conid, now);
        }
        let Some(heard) = self.frame.conid.and_then(|conid| self.lines.heard(conid, &self.frame, now)) else {
            self.tally.unknown_contracts += 1;
            return Received::Control;
        };
        self.note_loss();
        self.tally.odd_values += u64::from(self.frame.odd_values);
        if let Some(update) = to_update(&self.frame, heard.role, heard.instrument, heard.availability, received_at) {
            let payload = self.keep_payload.then(|| String::from_utf8_lossy(bytes).trim().into());
            self.events.push_back(SourceEvent::Quote { update, payload });
        }
        Received::Data
    }

    /// Each key stands for itself: what a status leaves out has not changed.
    fn on_status(&mut self, status: Status, now: Instant) -> Result<(), Error> {
        self.signals.competing |= status.competing == Some(true);
        for words in [&status.message, &status.fail] {
            self.notice(words);
        }
        if status.connected == Some(false) {
            self.notice("the gateway is not connected to IBKR");
        }
        match status.authenticated {
            Some(true) => {
                if !self.authenticated {
                    self.authenticate(now);
                } else if !self.confirmed {
                    // What was said before may have been discarded. Subscriptions without an answer repeat themselves.
                    self.executions_asked = false;
                }
                self.confirmed = true;
            }
            // It is never said when a lost session is back.
            Some(false) => {
                self.authenticated = false;
                return Err(Error::Unauthenticated);
            }
            None => {}
        }
        Ok(())
    }

    fn authenticate(&mut self, now: Instant) {
        self.authenticated = true;
        self.liveness.authenticated(now);
    }

    fn on_error(&mut self, words: &str, conid: Option<Conid>, now: Instant) {
        self.tally.errors += 1;
        if wants_accounts(words) {
            self.refused_since.get_or_insert(now);
            self.signals.unprimed = true;
        }
        match conid {
            Some(conid) => self.notice(&format!("error for contract {conid}: {words}")),
            None => self.notice(&format!("error: {words}")),
        }
    }

    const fn are_executions_due(&self) -> bool {
        self.executions && !self.executions_asked
    }

    fn notice(&mut self, words: &str) {
        if !words.is_empty() && self.signals.notices.len() < MAX_NOTICES {
            // An error may repeat what was sent.
            self.signals.notices.push(clean(words, &[self.id.expose_secret()]));
        }
    }
}

/// "No accounts", or as REST says it, "Please query /accounts first".
fn wants_accounts(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    words.contains("no accounts") || words.contains("accounts first")
}

#[cfg(test)]
mod tests;
