//! The server's side of one DXLink connection: every rule of the protocol, no socket.

mod mischief;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::feed::{Contract, Feed, Output};
use super::messages::{self, Inbound, Item, Subscription, Unreadable};
use crate::config::{DataFormat, DxLinkConfig};
use crate::market::{Event, Hub, seconds};
use crate::tasty::faults::use_up;
use crate::tasty::state::Shared;
use crate::tasty::violations::Rule;

/// Subscriptions of one connection at most.
const MAX_SUBSCRIPTIONS: usize = 100_000;

/// The server has lost the session that belongs to the token, for a moment.
const SESSION_NOT_FOUND: &str = "com.dxfeed.mdd.dxlink.auth.AuthException: Session not found: api";

/// Between two looks at the clock of a connection that says nothing.
const SILENCE: Duration = Duration::from_secs(3_600);

/// Event types of dxFeed; those without data here are legal and silent.
const EVENT_TYPES: [&str; 17] = [
    "AnalyticOrder",
    "Candle",
    "Configuration",
    "Greeks",
    "Message",
    "OptionSale",
    "Order",
    "Profile",
    "Quote",
    "Series",
    "SpreadOrder",
    "Summary",
    "TheoPrice",
    "TimeAndSale",
    "Trade",
    "TradeETH",
    "Underlying",
];

/// How a session wants the connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    /// WebSocket close code.
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing received yet.
    New,
    /// SETUP answered; AUTH_STATE UNAUTHORIZED follows at this time.
    Greeted(Instant),
    /// Waiting for AUTH.
    Challenged,
    Authorized,
}

/// One connection.
pub(crate) struct Session {
    number: u64,
    shared: Arc<Shared>,
    state: State,
    channels: BTreeMap<u64, Feed>,
    /// Channels that were open once: late messages for them are ignored, not punished.
    closed_channels: BTreeSet<u64>,
    began: Instant,
    heard: Instant,
    spoke: Instant,
    /// The client wants to hear from the server within this time.
    patience: Duration,
    /// Of the token of the last AUTH, where its end is that of the connection.
    expiry: Option<Instant>,
    /// Nothing is sent any more.
    silent: bool,
    /// Messages of a flood so far.
    flooded: usize,
    pub(crate) out: Vec<Output>,
    pub(crate) close: Option<Close>,
}

impl Session {
    pub(crate) fn new(number: u64, shared: Arc<Shared>, now: Instant) -> Self {
        let patience = shared.config.dxlink.keepalive_timeout;
        Self {
            number,
            shared,
            state: State::New,
            channels: BTreeMap::new(),
            closed_channels: BTreeSet::new(),
            began: now,
            heard: now,
            spoke: now,
            patience,
            expiry: None,
            silent: false,
            flooded: 0,
            out: Vec::new(),
            close: None,
        }
    }

    fn config(&self) -> &DxLinkConfig {
        &self.shared.config.dxlink
    }

    fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    /// Takes a text message of the client.
    pub(crate) fn on_text(&mut self, text: &str, now: Instant) {
        self.heard = now;
        let surprise = self.shared.faults().connection.max_message_bytes;
        if surprise.is_some_and(|limit| text.len() > limit) {
            self.close = Some(Close { code: 1009, reason: "message too big" });
            return;
        }
        if text.len() > self.config().max_message_bytes {
            self.note(Rule::TooLarge, format!("a message of {} bytes", text.len()));
            self.close = Some(Close { code: 1009, reason: "message too big" });
            return;
        }
        match messages::read(text) {
            Ok(message) => self.on_message(message, now),
            Err(Unreadable(why)) => {
                self.note(Rule::InvalidMessage, why.clone());
                self.send(messages::error(0, "INVALID_MESSAGE", &why));
            }
        }
    }

    /// DXLink has no binary messages.
    pub(crate) fn on_binary(&mut self, now: Instant) {
        self.heard = now;
        self.note(Rule::Binary, "a binary message");
        self.close = Some(Close { code: 1003, reason: "text only" });
    }

    /// Takes what the market has emitted.
    pub(crate) fn on_events(&mut self, events: &[Event]) {
        if self.silent {
            return;
        }
        for feed in self.channels.values_mut().filter(|feed| feed.is_set_up()) {
            events.iter().for_each(|event| feed.offer(event));
        }
    }

    /// The bus has overrun this connection. Contracts that promise each event cannot be kept any more.
    pub(crate) fn on_overrun(&mut self) {
        for feed in self.channels.values_mut() {
            if feed.contract() == Contract::Stream {
                self.close = Some(Close { code: 1013, reason: "the client is too slow for STREAM" });
            }
            feed.catch_up(&self.shared.hub);
        }
    }

    /// The access of this connection has been taken away.
    pub(crate) fn on_revoked(&mut self) {
        self.send(messages::unauthorized());
        self.close = Some(Close { code: 1008, reason: "token expired" });
    }

    /// Does what is due by the clock.
    pub(crate) fn on_time(&mut self, now: Instant) {
        if self.silent {
            return self.out.clear();
        }
        if self.expiry.is_some_and(|expiry| now >= expiry) {
            self.expiry = None;
            self.on_revoked();
        }
        match self.state {
            State::Greeted(challenge_at) if now >= challenge_at => {
                self.send(messages::unauthorized());
                self.state = State::Challenged;
            }
            State::New | State::Challenged if now >= self.began + self.config().setup_timeout => {
                self.end_with_error("TIMEOUT", "no SETUP or AUTH in time");
            }
            _ => {}
        }
        let limit = self.config().keepalive_timeout;
        if self.state != State::New && now >= self.heard + limit {
            self.note(Rule::Keepalive, format!("silent for {limit:?}"));
            self.end_with_error("TIMEOUT", "no messages received in time");
        }
        let (max_rows, faults) = (self.config().max_rows, self.shared.faults());
        for feed in self.channels.values_mut() {
            feed.flush(now, max_rows, &faults.feed, &mut self.out);
        }
        if self.out.is_empty() && self.state != State::New && now >= self.spoke + self.patience / 2 {
            self.send(messages::keepalive());
        }
        if !self.out.is_empty() {
            self.spoke = now;
        }
    }

    /// When [`Session::on_time`] is to be called next.
    pub(crate) fn deadline(&self) -> Instant {
        if self.silent {
            return Instant::now() + SILENCE;
        }
        let alive = (self.heard + self.config().keepalive_timeout).min(self.spoke + self.patience / 2);
        let state = match self.state {
            State::New => return self.began + self.config().setup_timeout,
            State::Greeted(challenge_at) => challenge_at,
            State::Challenged => self.began + self.config().setup_timeout,
            State::Authorized => alive,
        };
        let due = self.channels.values().filter_map(Feed::due).chain(self.expiry);
        due.fold(alive.min(state), Instant::min)
    }

    pub(crate) fn greeks_subscribed(&self) -> u64 {
        self.channels.values().map(|feed| feed.greeks_subscribed() as u64).sum()
    }

    /// Events replaced by newer ones since the last call.
    pub(crate) fn take_conflated(&mut self) -> u64 {
        self.channels.values_mut().map(|feed| std::mem::take(&mut feed.conflated)).sum()
    }

    fn on_message(&mut self, message: Inbound, now: Instant) {
        match (message, self.state) {
            (Inbound::Unknown | Inbound::Keepalive, State::Greeted(_) | State::Challenged | State::Authorized) => {}
            (Inbound::Error { text }, _) => tracing::debug!(connection = self.number, text, "client reports an error"),
            (Inbound::Setup { keepalive_timeout }, State::New) => {
                self.patience = keepalive_timeout.map_or(Duration::from_secs(60), seconds);
                self.send_setup();
                if self.shared.faults().connection.authorized_at_once {
                    self.send(messages::authorized());
                    self.state = State::Authorized;
                } else {
                    self.state = State::Greeted(now + self.config().auth_state_delay);
                }
            }
            (Inbound::Setup { .. }, _) => self.refuse(0, Rule::SetupOrder, "SETUP was sent already"),
            (_, State::New) => {
                self.refuse(0, Rule::SetupOrder, "the first message must be SETUP");
                self.close = Some(Close { code: 1008, reason: "protocol violation" });
            }
            (Inbound::Auth { .. }, State::Greeted(_)) => {
                self.note(Rule::AuthBeforeState, "AUTH before AUTH_STATE UNAUTHORIZED");
                self.end_with_error("UNAUTHORIZED", SESSION_NOT_FOUND);
            }
            (Inbound::Auth { token }, _) => self.authorize(&token),
            (_, State::Greeted(_) | State::Challenged) => {
                self.refuse(0, Rule::BeforeAuthorized, "not authorized yet");
                self.close = Some(Close { code: 1008, reason: "protocol violation" });
            }
            (Inbound::ChannelRequest { channel, service, contract }, State::Authorized) => {
                self.open(channel, &service, contract.as_deref());
            }
            (Inbound::ChannelCancel { channel }, State::Authorized) => {
                if self.channels.remove(&channel).is_some() {
                    self.closed_channels.insert(channel);
                    self.send(messages::channel_closed(channel));
                } else if !self.closed_channels.contains(&channel) {
                    self.refuse(channel, Rule::ChannelNotOpen, "the channel is not open");
                }
            }
            (Inbound::FeedSetup { channel, setup }, State::Authorized) => self.set_up(channel, setup),
            (Inbound::FeedSubscription { channel, subscription }, State::Authorized) => {
                self.subscribe(channel, subscription);
            }
        }
    }

    /// A fresh token on a live connection is judged in the same way.
    fn authorize(&mut self, token: &str) {
        if self.shared.change_faults(|faults| use_up(&mut faults.connection.session_not_found)) {
            return self.end_with_error("UNAUTHORIZED", SESSION_NOT_FOUND);
        }
        if self.shared.change_faults(|faults| use_up(&mut faults.connection.unauthorized)) {
            return self.send(messages::unauthorized());
        }
        if let Some(expiry) = self.shared.tokens.quote_token_expiry(token) {
            self.expiry = self.shared.faults().connection.tokens_end_connections.then_some(expiry);
            self.state = State::Authorized;
            self.send(messages::authorized());
        } else {
            self.shared.counters.update(|stats| stats.refused += 1);
            self.send(messages::unauthorized());
            self.send(messages::error(0, "UNAUTHORIZED", "the token is not valid"));
            self.close = Some(Close { code: 1008, reason: "unauthorized" });
        }
    }

    fn open(&mut self, channel: u64, service: &str, contract: Option<&str>) {
        if channel.is_multiple_of(2) {
            return self.refuse(channel, Rule::ChannelNumber, "a client opens odd channels");
        }
        if self.channels.contains_key(&channel) {
            return self.refuse(channel, Rule::ChannelNumber, "the channel is open already");
        }
        if service != "FEED" {
            return self.refuse(channel, Rule::ChannelRequest, "the service is not offered");
        }
        let Some((name, contract)) = contract.and_then(|name| Some((name, Contract::from_name(name)?))) else {
            return self.refuse(channel, Rule::ChannelRequest, "the contract is missing or not offered");
        };
        self.channels.insert(channel, Feed::new(channel, contract));
        self.send(messages::channel_opened(channel, name));
    }

    fn set_up(&mut self, channel: u64, setup: messages::FeedSetup) {
        let shared = Arc::clone(&self.shared);
        let Some(feed) = self.feed(channel) else { return };
        let period = setup.accept_aggregation_period.unwrap_or(0.1);
        let format = match setup.accept_data_format.as_deref() {
            Some("COMPACT") => Some(DataFormat::Compact),
            Some("FULL") | None => Some(DataFormat::Full),
            Some(_) => None,
        };
        let fields = setup.accept_event_fields.unwrap_or_default();
        let known = fields.keys().all(|kind| EVENT_TYPES.contains(&kind.as_str()));
        let filled = fields.values().all(|names| !names.is_empty());
        match format {
            Some(format) if known && filled && (0.0..=3600.0).contains(&period) => {
                let (order, late) = (shared.config.dxlink.columns, shared.faults().feed.late_config);
                let config = feed.set_up(format, seconds(period), &fields, order, late);
                self.out.extend(config.map(Output::Text));
            }
            _ => self.refuse(channel, Rule::FeedSetup, "impossible format, period or event fields"),
        }
    }

    fn subscribe(&mut self, channel: u64, subscription: Subscription) {
        let shared = Arc::clone(&self.shared);
        let Some(feed) = self.feed(channel) else { return };
        let is_set_up = feed.is_set_up();
        let count = feed.len() + subscription.add.as_ref().map_or(0, Vec::len);
        if !is_set_up {
            return self.refuse(channel, Rule::FeedSetup, "FEED_SUBSCRIPTION before FEED_SETUP");
        }
        if let Some(fault) = fault(&subscription) {
            return self.refuse(channel, Rule::Subscription, fault);
        }
        if count > MAX_SUBSCRIPTIONS {
            return self.refuse(channel, Rule::Subscription, "too many subscriptions");
        }
        if subscription.reset == Some(true) {
            feed.reset();
        }
        for item in subscription.remove.iter().flatten() {
            feed.remove(&item.kind, &item.symbol, &shared.hub);
        }
        for item in subscription.add.iter().flatten() {
            feed.add(&item.kind, &item.symbol, &shared.hub);
        }
        let greeks = subscription.add.iter().flatten().filter(|item| item.kind == "Greeks");
        shared.note_greeks_subscriptions(greeks.map(|item| item.symbol.as_str()));
        self.hub().note_subscription();
    }

    /// The feed of an open channel; a message for any other is refused.
    fn feed(&mut self, channel: u64) -> Option<&mut Feed> {
        if !self.channels.contains_key(&channel) {
            self.refuse(channel, Rule::ChannelNotOpen, "the channel is not open");
        }
        self.channels.get_mut(&channel)
    }

    fn send(&mut self, text: String) {
        self.out.push(Output::Text(text));
    }

    fn note(&self, rule: Rule, detail: impl Into<String>) {
        self.shared.violations.add(self.number, rule, detail);
    }

    fn refuse(&mut self, channel: u64, rule: Rule, why: &str) {
        self.note(rule, format!("channel {channel}: {why}"));
        self.send(messages::error(channel, "BAD_ACTION", why));
    }

    fn end_with_error(&mut self, error: &str, why: &str) {
        self.send(messages::error(0, error, why));
        self.close = Some(Close { code: 1008, reason: "protocol violation" });
    }
}

/// What is wrong with a subscription.
fn fault(subscription: &Subscription) -> Option<&'static str> {
    let Subscription { reset, add, remove } = subscription;
    if reset.is_none() && add.is_none() && remove.is_none() {
        return Some("nothing to do");
    }
    if [add, remove].into_iter().flatten().any(Vec::is_empty) {
        return Some("add and remove hold at least one item");
    }
    let bad = |item: &Item| {
        if !EVENT_TYPES.contains(&item.kind.as_str()) {
            Some("unknown event type")
        } else if item.symbol.is_empty() {
            Some("empty symbol")
        } else if item.from_time.is_some() || item.source.is_some() {
            Some("fromTime and source belong to other contracts")
        } else {
            None
        }
    };
    add.iter().chain(remove).flatten().find_map(bad)
}
