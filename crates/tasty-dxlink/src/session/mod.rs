//! The rules of a DXLink connection: bytes and time in, messages and events out. No socket, no clock.
//!
//! SETUP goes first; AUTH only after AUTH_STATE UNAUTHORIZED (the server loses its session otherwise), or when that does
//! not come: the dxLink AsyncAPI has AUTH follow SETUP, and AUTH_STATE as its answer. Channels come only after AUTHORIZED,
//! FEED_SETUP and subscriptions as soon as a channel is open, since FEED_CONFIG may be postponed until there is data
//! (dxLink AsyncAPI). Subscriptions change only by the difference of wanted and sent, in paced chunks.
//! `reset` is never sent: a channel number is used once per connection, so no channel holds older state.

mod channel;
mod handshake;
mod head_start;
mod liveness;
mod pulse;
mod settings;
mod silence;
mod subscribing;
mod subscriptions;
mod update;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::Error;
use crate::wire::{self, Defect, EventKind, Feed, Message, Outgoing, Role, Tally};
use greeks_model::{InstrumentId, SourceEvent, UnixNanos};

use channel::{Channel, Purpose, State};
use head_start::HeadStart;
use liveness::Liveness;
use pulse::Pulse;
pub(crate) use settings::{Settings, Wanted};
use silence::SilenceWatch;
pub(crate) use subscriptions::ChunkLimits;
use update::to_update;

/// What the server has not said while this side did not read gets so much time more.
const GRACE_AFTER_PAUSE: Duration = Duration::from_secs(1);

/// What one frame was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Control,
    /// Rows, possibly none, wait in [`Session::next_event`].
    Data,
    Dropped(Defect),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Auth {
    /// The server has not said whether it wants AUTH.
    Unknown,
    /// It does, and AUTH has not been sent.
    Required,
    /// AUTH was sent though nobody had asked for it.
    Uninvited,
    /// So it was, and then the server said UNAUTHORIZED: an invitation that was under way, or a refusal.
    Doubted,
    Sent,
    Authorized,
}

/// The state of one connection. Has no `Debug`: its outputs hold the token.
pub(crate) struct Session {
    settings: Settings,
    feed: Feed,
    /// By [`SymbolId`].
    instruments: Vec<InstrumentId>,
    received_at: UnixNanos,
    next_row: usize,
    outputs: VecDeque<String>,
    setup_seen: bool,
    auth: Auth,
    /// When the server's next step of the handshake is overdue.
    step_due: Option<Instant>,
    /// When AUTH goes out though nobody has asked for it.
    uninvited_at: Option<Instant>,
    channels: [Channel; 2],
    next_channel: u64,
    next_chunk_at: Instant,
    head_start: HeadStart,
    /// Whether the server has spoken since the last subscription went out.
    answered: bool,
    liveness: Liveness,
    silence: SilenceWatch,
    lost_channel: Option<UnixNanos>,
    stall: Option<Stall>,
}

/// A channel that has brought nothing for too long and did not answer when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    /// Its place in [`Settings::quiet_after`].
    pub(crate) channel: usize,
    /// When its last event came.
    pub(crate) since: UnixNanos,
}

impl Session {
    /// A session on a connection just opened; SETUP is ready to go out.
    pub(crate) fn new(settings: Settings, now: Instant) -> Self {
        let seconds = settings.keepalive.as_secs_f64();
        let setup =
            Outgoing::Setup { version: &settings.version, keepalive: seconds, accept_keepalive: seconds }.to_text();
        let feed = Feed { keep_payload: settings.keep_payload, ..Feed::default() };
        let [greeks, underlyings] = settings.quiet_after.map(|after| Pulse::new(after, settings.step_timeout, now));
        Self {
            feed,
            instruments: Vec::new(),
            received_at: UnixNanos::EPOCH,
            next_row: 0,
            outputs: VecDeque::from([setup]),
            setup_seen: false,
            auth: Auth::Unknown,
            step_due: Some(now + settings.step_timeout),
            uninvited_at: None,
            channels: [Channel::new(Purpose::Greeks, greeks), Channel::new(Purpose::Underlyings, underlyings)],
            next_channel: 1,
            next_chunk_at: now,
            head_start: HeadStart::new(settings.head_start),
            answered: false,
            liveness: Liveness::new(settings.keepalive, settings.silence_margin, now),
            silence: SilenceWatch::new(settings.silent_after),
            lost_channel: None,
            stall: None,
            settings,
        }
    }

    /// Replaces what is to be subscribed.
    pub(crate) fn want(&mut self, wanted: &[Wanted], now: Instant) {
        let mut greeks = BTreeSet::new();
        let (mut underlyings, mut first, mut expired) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for item in wanted {
            let id = self.feed.symbols.intern(&item.symbol, item.role);
            if id.index() == self.instruments.len() {
                self.instruments.push(item.instrument);
            } else if self.instruments.get(id.index()) != Some(&item.instrument) {
                tracing::warn!(symbol = %item.symbol, "two contracts have the same streamer symbol; the first one keeps it");
            }
            match item.role {
                Role::Option => {
                    greeks.insert((EventKind::Greeks, id));
                    expired.extend(item.expired.then_some(id));
                }
                Role::Underlying | Role::Benchmark => {
                    underlyings.extend([(EventKind::Quote, id), (EventKind::Trade, id)]);
                    first.extend((item.role == Role::Underlying).then_some(id));
                }
            }
        }
        self.head_start.expect(first);
        let [options, others] = &mut self.channels;
        options.subscriptions.want(greeks);
        others.subscriptions.want(underlyings);
        for Channel { subscriptions, pulse, .. } in &mut self.channels {
            pulse.wanted(now, subscriptions, &expired);
        }
        self.silence.excuse(expired);
        self.answered = self.channels.iter().all(|channel| !channel.subscriptions.is_pending()) && self.answered;
        self.request_channels(now);
    }

    /// Takes one text frame.
    pub(crate) fn on_frame(&mut self, text: &str, now: Instant, received_at: UnixNanos) -> Result<Received, Error> {
        self.liveness.received(now);
        self.received_at = received_at;
        if !self.has_events() {
            self.next_row = 0;
            self.feed.clear_rows();
        }
        let waiting = self.feed.rows.len();
        let incoming = match wire::read(text, &mut self.feed) {
            Ok(incoming) => incoming,
            Err(defect) => return Ok(Received::Dropped(defect)),
        };
        self.answered = self.answered || self.everything_sent();
        let channel = incoming.channel;
        match incoming.message {
            Message::FeedData => {
                for row in &self.feed.rows {
                    self.silence.answered(row.symbol);
                    self.head_start.heard(row.symbol);
                }
                let channel = self.channels.iter_mut().find(|it| it.is_live(channel));
                if let (Some(Channel { subscriptions, pulse, .. }), Some(rows)) =
                    (channel, self.feed.rows.get(waiting..))
                {
                    pulse.rows(rows, now, received_at, subscriptions);
                }
                return Ok(Received::Data);
            }
            Message::Setup { keepalive, accept_keepalive } => {
                self.liveness.negotiate(keepalive, accept_keepalive);
                if !self.setup_seen {
                    self.setup_seen = true;
                    self.step_due = Some(now + self.settings.step_timeout);
                    self.uninvited_at = self.settings.uninvited.then(|| now + self.settings.step_timeout / 2);
                }
                self.authenticate(now);
            }
            Message::AuthState(state) => self.on_auth_state(state, now)?,
            Message::ChannelOpened => self.on_channel_opened(channel, now),
            Message::ChannelClosed => self.on_channel_closed(channel, now)?,
            Message::FeedConfig { event_fields } => {
                let unusable = event_fields.map_or(0, |fields| self.feed.configure(channel, fields));
                if unusable > 0 {
                    tracing::warn!(channel, unusable, "field lists that cannot be used; the former ones stay");
                }
            }
            Message::Error { code, text } => self.on_error(channel, &code, &text)?,
            Message::Keepalive | Message::Unknown => {}
        }
        Ok(Received::Control)
    }

    /// Does what is due at `now`. While `reading` is false the socket is not read on this side, and what the server has
    /// not said cannot be held against it.
    pub(crate) fn on_tick(&mut self, now: Instant, reading: bool) -> Result<(), Error> {
        if reading {
            self.authenticate_uninvited(now);
        } else {
            self.pause_judgement(now);
        }
        if let Some(step) = self.overdue_step(now) {
            self.say_timed_out(step);
            return Err(match self.auth {
                // Nothing has followed: it was a refusal.
                Auth::Doubted => Error::Unauthorized,
                _ => Error::StepTimeout { step, after: self.settings.step_timeout },
            });
        }
        if let Some(after) = self.liveness.dead(now) {
            self.say_timed_out("nothing received");
            return Err(Error::Silence { after });
        }
        if self.liveness.must_send(now) && self.outputs.is_empty() {
            self.outputs.push_back(Outgoing::Keepalive.to_text());
        }
        self.request_channels(now);
        self.silence.scan(now);
        self.judge_pulses(now, reading)
    }

    /// The next message to send, if one may go out now. It counts as sent.
    pub(crate) fn poll_output(&mut self, now: Instant) -> Option<String> {
        let text = self.outputs.pop_front().or_else(|| self.next_chunk(now))?;
        self.liveness.sent(now);
        Some(text)
    }

    /// What is left to say before the connection is closed; subscriptions are not.
    pub(crate) fn take_last_word(&mut self) -> Option<String> {
        self.outputs.pop_front()
    }

    /// When [`Session::on_tick`] or [`Session::poll_output`] has something to do at the latest.
    pub(crate) fn deadline(&self) -> Instant {
        let mut deadline = self.liveness.deadline();
        let mut sooner = |other: Instant| deadline = deadline.min(other);
        self.step_due.into_iter().chain(self.uninvited_at).for_each(&mut sooner);
        self.silence.next_scan().into_iter().for_each(&mut sooner);
        self.channels.iter().filter_map(|channel| channel.pulse.deadline()).for_each(&mut sooner);
        for channel in &self.channels {
            match channel.state {
                State::Requested { due } => sooner(due),
                State::Closed { retry_at } => sooner(retry_at),
                State::Open if channel.subscriptions.is_pending() => {
                    let held = self.head_start.ends().filter(|_| channel.purpose == Purpose::Greeks);
                    sooner(held.map_or(self.next_chunk_at, |ends| ends.max(self.next_chunk_at)));
                }
                State::Idle | State::Open => {}
            }
        }
        deadline
    }

    /// The next event of the frames taken so far.
    pub(crate) fn next_event(&mut self) -> Option<SourceEvent> {
        while let Some(row) = self.feed.rows.get_mut(self.next_row) {
            self.next_row += 1;
            let payload = row.payload.take();
            let Some(instrument) = self.instruments.get(row.symbol.index()) else { continue };
            let update = to_update(row, *instrument, self.received_at, self.settings.delayed);
            return Some(SourceEvent::Quote { update, payload });
        }
        None
    }

    /// Whether events wait in [`Session::next_event`].
    pub(crate) fn has_events(&self) -> bool {
        self.next_row < self.feed.rows.len()
    }

    /// How many events of each kind the last frame held.
    pub(crate) fn waiting_by_kind(&self) -> [(EventKind, u64); 3] {
        let mut counts = EventKind::ALL.map(|kind| (kind, 0));
        for row in self.feed.rows.iter().skip(self.next_row) {
            counts.iter_mut().filter(|(kind, _)| *kind == row.kind).for_each(|(_, count)| *count += 1);
        }
        counts
    }

    /// What the frames since the last call held that gave no event.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.feed.tally)
    }

    /// Whether the stream stands: authorised, everything subscribed, and the server alive since.
    pub(crate) fn is_streaming(&self) -> bool {
        let wanted = self.channels.iter().any(|channel| channel.subscriptions.is_wanted());
        self.everything_sent() && (self.answered || !wanted)
    }

    /// Whether the server has accepted the token.
    pub(crate) fn is_authorized(&self) -> bool {
        self.auth == Auth::Authorized
    }

    /// Whether the token has been sent and the server has not judged it.
    pub(crate) fn awaits_authorization(&self) -> bool {
        matches!(self.auth, Auth::Uninvited | Auth::Doubted | Auth::Sent)
    }

    /// Since when a channel may have missed events because the server closed it, if that happened since the last call.
    pub(crate) fn take_lost_channel(&mut self) -> Option<UnixNanos> {
        self.lost_channel.take()
    }

    /// Whether a channel that the server closed is not open again.
    pub(crate) fn has_lost_channel(&self) -> bool {
        self.channels.iter().any(Channel::is_lost)
    }

    /// The channel for whose sake the session has ended with [`Error::Stalled`].
    pub(crate) const fn stall(&self) -> Option<Stall> {
        self.stall
    }

    /// For how long each channel has brought events of its own accord.
    pub(crate) fn data_came_for(&self) -> [Duration; 2] {
        self.channels.each_ref().map(|channel| channel.pulse.came_for())
    }

    /// How many instruments are subscribed.
    pub(crate) fn subscribed_instruments(&self) -> usize {
        let sent = self.channels.iter().flat_map(|channel| channel.subscriptions.sent());
        // An underlying is subscribed twice, for its quotes and its trades.
        sent.filter(|(kind, _)| *kind != EventKind::Trade).count()
    }

    /// Subscriptions wanted and sent.
    pub(crate) fn subscription_counts(&self) -> (usize, usize) {
        self.channels.iter().fold((0, 0), |(wanted, sent), channel| {
            (wanted + channel.subscriptions.wanted_count(), sent + channel.subscriptions.sent().len())
        })
    }

    /// Options that were subscribed long ago and have never had an event.
    pub(crate) fn silent_options(&self) -> usize {
        self.silence.silent()
    }

    /// Symbols found silent since the last call. They are subscribed once more, which does no harm where they are active.
    pub(crate) fn take_newly_silent(&mut self) -> Vec<String> {
        let silent = self.silence.take_news();
        // The message that has subscribed them may have been refused or lost, which nothing tells.
        let [options, _] = &mut self.channels;
        options.subscriptions.repeat(silent.iter().map(|id| (EventKind::Greeks, *id)));
        silent.into_iter().map(|id| self.feed.symbols.text(id).to_owned()).collect()
    }

    fn judge_pulses(&mut self, now: Instant, reading: bool) -> Result<(), Error> {
        for (i, Channel { subscriptions, pulse, .. }) in self.channels.iter_mut().enumerate() {
            if let Some(after) = pulse.tick(now, reading, subscriptions) {
                self.stall = pulse.last_at().map(|since| Stall { channel: i, since });
                return Err(Error::Stalled { after });
            }
        }
        Ok(())
    }

    fn pause_judgement(&mut self, now: Instant) {
        self.liveness.received(now);
        let grace = now + GRACE_AFTER_PAUSE;
        if let Some(due) = &mut self.step_due {
            *due = grace.max(*due);
        }
        for channel in &mut self.channels {
            if let State::Requested { due } = &mut channel.state {
                *due = grace.max(*due);
            }
        }
    }
}

#[cfg(test)]
mod tests;
