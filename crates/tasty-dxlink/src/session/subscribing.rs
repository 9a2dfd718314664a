//! Channels from request to closure, and the subscriptions that go out on them.

use std::time::Instant;

use super::channel::{Channel, Purpose, State};
use super::{Auth, Session};
use crate::Error;
use crate::wire::{EventKind, Outgoing};

impl Session {
    pub(super) fn request_channels(&mut self, now: Instant) {
        if !self.setup_seen || self.auth != Auth::Authorized {
            return;
        }
        for channel in &mut self.channels {
            let due = match channel.state {
                State::Idle => channel.subscriptions.is_wanted(),
                State::Closed { retry_at } => now >= retry_at,
                State::Requested { .. } | State::Open => false,
            };
            if due {
                channel.number = self.next_channel;
                channel.state = State::Requested { due: now + self.settings.step_timeout };
                // Clients use odd numbers.
                self.next_channel += 2;
                self.feed.open(channel.number);
                self.outputs.push_back(Outgoing::ChannelRequest { channel: channel.number }.to_text());
            }
        }
    }

    pub(super) fn on_channel_opened(&mut self, number: u64, now: Instant) {
        let Some(channel) = self.channels.iter_mut().find(|channel| channel.is_requested(number)) else { return };
        channel.state = State::Open;
        self.next_chunk_at = self.next_chunk_at.max(now);
        let aggregation_period = match channel.purpose {
            Purpose::Greeks => self.settings.greeks_aggregation,
            Purpose::Underlyings => self.settings.underlying_aggregation,
        }
        .as_secs_f64();
        let kinds = channel.purpose.kinds();
        self.outputs.push_back(Outgoing::FeedSetup { channel: number, aggregation_period, kinds }.to_text());
    }

    /// The server may close a channel on its own; it is asked for again under a new number.
    pub(super) fn on_channel_closed(&mut self, number: u64, now: Instant) -> Result<(), Error> {
        let Some(channel) = self.channels.iter_mut().find(|channel| channel.is_live(number)) else { return Ok(()) };
        self.feed.close(number);
        self.silence.forget(channel.subscriptions.sent().iter().map(|(_, symbol)| *symbol));
        self.answered = false;
        // The stream was whole at least up to the frame that says so.
        self.lost_channel = Some(self.received_at);
        let pause = channel.closed(now)?;
        tracing::warn!(channel = number, ?pause, "the streamer closed a channel; asking for it again");
        Ok(())
    }

    pub(super) fn next_chunk(&mut self, now: Instant) -> Option<String> {
        if now < self.next_chunk_at {
            return None;
        }
        let greeks_wait = self.head_start.ends().is_some_and(|ends| now < ends);
        let may_send = |channel: &&mut Channel| {
            let waits = greeks_wait && channel.purpose == Purpose::Greeks;
            channel.state == State::Open && channel.subscriptions.is_pending() && !waits
        };
        let channel = self.channels.iter_mut().find(may_send)?;
        let chunk = channel.subscriptions.next_chunk(&self.feed.symbols, self.settings.chunk)?;
        for (kind, symbol) in &chunk.add {
            if *kind == EventKind::Greeks {
                self.silence.subscribed(self.feed.symbols.find(symbol), now);
            }
        }
        for (kind, symbol) in &chunk.remove {
            if *kind == EventKind::Greeks {
                self.silence.forget(self.feed.symbols.find(symbol));
            }
        }
        channel.pulse.sent(now, &channel.subscriptions);
        self.next_chunk_at = now + self.settings.chunk_pause;
        self.answered = false;
        Some(Outgoing::FeedSubscription { channel: channel.number, chunk: &chunk }.to_text())
    }

    pub(super) fn everything_sent(&self) -> bool {
        let settled = |channel: &Channel| match channel.state {
            State::Open => !channel.subscriptions.is_pending(),
            State::Idle => !channel.subscriptions.is_wanted(),
            State::Requested { .. } | State::Closed { .. } => false,
        };
        self.setup_seen && self.auth == Auth::Authorized && self.channels.iter().all(settled)
    }
}
