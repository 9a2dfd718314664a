//! What a socket says and when: pure but for the clocks it is told and the state it shares.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::line::{Frame, Line, Surroundings};
use super::print::Known;
use super::request::{self, Request};
use super::trouble::Trouble;
use super::{Cookie, Output};
use crate::ibkr::config::{IbkrProtocol, Pace};
use crate::ibkr::login::State;
use crate::ibkr::rest::act_args;
use crate::ibkr::state::Shared;
use crate::ibkr::violations::IbkrRule;
use crate::market::{Event, SymbolId};

/// Lines that a client may ask for on one socket.
const MAX_LINES: usize = 5_000;

/// Where a socket is in its life.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// `system` follows at this time.
    Opened(Instant),
    /// `act` follows.
    Greeted(Instant),
    /// `sts` follows.
    Described(Instant),
    /// Authenticated in this brokerage session.
    Live(u64),
    /// Never authenticated, and never will be.
    Refused,
    /// Authenticated once.
    Lost,
}

pub(super) struct Session {
    pub(super) number: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) out: Vec<Output>,
    pub(super) close: Option<u16>,
    /// Nothing is said any more.
    pub(super) silent: bool,
    /// Nothing is said at present.
    muted: bool,
    pub(super) trouble: Trouble,
    cookie: Cookie,
    stage: Stage,
    lines: HashMap<i64, Line>,
    by_symbol: HashMap<SymbolId, i64>,
    ever: HashSet<i64>,
    executions: bool,
    heartbeat: Option<Instant>,
    tic: Instant,
    tic_noted: bool,
    messages: VecDeque<Instant>,
}

impl Session {
    pub(super) fn new(number: u64, shared: Arc<Shared>, cookie: Cookie, now: Instant) -> Self {
        let mut session = Self {
            number,
            cookie,
            stage: Stage::Opened(now + shared.config.protocol.welcome_delay),
            shared,
            out: Vec::new(),
            close: None,
            silent: false,
            muted: false,
            trouble: Trouble::default(),
            lines: HashMap::new(),
            by_symbol: HashMap::new(),
            ever: HashSet::new(),
            executions: false,
            heartbeat: None,
            tic: now,
            tic_noted: false,
            messages: VecDeque::new(),
        };
        session.open(now);
        session
    }

    /// Who has no session is told to wait for one; whoever did not go by REST first is not let in.
    fn open(&mut self, now: Instant) {
        let state = self.shared.login.now();
        if self.shared.change_faults(|faults| crate::tasty::use_up(&mut faults.socket.close_at_once)) {
            self.close = Some(1000);
        } else if self.cookie != Cookie::Good {
            self.say(&json!({ "message": "waiting for session" }));
            self.stage = Stage::Described(now + self.protocol().status_delay);
        } else if state.authenticated(now) && !state.primed {
            self.note(IbkrRule::Unprimed, "a socket before /iserver/accounts");
            self.close = Some(1000);
        }
    }

    pub(super) fn on_text(&mut self, text: &str, now: Instant) {
        self.count_message(now);
        match self.stage {
            Stage::Live(_) => {}
            // What comes after a loss was sent before the client could know.
            Stage::Lost => return,
            _ => return self.note(IbkrRule::BeforeStatus, head(text)),
        }
        match request::read(text) {
            Request::Tic => {
                self.tic = now;
                self.shared.counters.update(|stats| stats.tics += 1);
                let time = Timestamp::now().as_millisecond();
                self.say(&json!({ "topic": "tic", "alive": true, "id": "7f1d", "lastAccessed": time }));
            }
            Request::Echo => {
                self.tic = now;
                self.out.push(Output::text("ech+hb".to_owned()));
            }
            Request::Subscribe { conid, fields } => self.subscribe(conid, &fields, now),
            Request::Unsubscribe { conid } => {
                if !self.ever.contains(&conid) {
                    self.note(IbkrRule::NotSubscribed, head(text));
                }
                self.end_line(conid);
            }
            Request::Executions(on) => self.executions = on,
            Request::Unserved => {}
            Request::Wrong { rule, why } => self.note(rule, format!("{why}: {}", head(text))),
            Request::Unknown => {
                self.note(IbkrRule::UnknownTopic, head(text));
                let head: String = text.chars().take(3).collect();
                self.say(&json!({ "error": format!("Topic unknown '{head}'") }));
            }
        }
    }

    /// Whether a socket may still stream is decided elsewhere; it hears of a loss, never of the return.
    pub(super) fn on_state(&mut self, state: &State, now: Instant) {
        let Stage::Live(epoch) = self.stage else { return };
        if state.authenticated(now) && state.epoch == epoch {
            return;
        }
        self.stage = Stage::Lost;
        self.end_all();
        self.shared.counters.update(|stats| stats.authenticated -= 1);
        self.say(&json!({ "topic": "sts", "args": { "authenticated": false } }));
        if state.competing {
            self.say(&json!({ "topic": "sts", "args": { "competing": true } }));
        }
    }

    pub(super) fn on_events(&mut self, events: &[Event], now: Instant) {
        let shared = Arc::clone(&self.shared);
        let faults = shared.faults();
        let around = surroundings(&shared, &faults);
        let at_once = around.pace == Pace::EveryEvent && !faults.data.stopped && !self.is_mute();
        for event in events {
            let Some(conid) = self.by_symbol.get(&event.symbol).copied() else { continue };
            let Some(line) = self.lines.get_mut(&conid) else { continue };
            line.on_event(event);
            if at_once && line.is_open(now) {
                self.send_frame(conid, true, &around, now);
            }
        }
    }

    /// The socket fell behind: what matters is what holds now.
    pub(super) fn on_lag(&mut self) {
        for line in self.lines.values_mut() {
            line.refresh(Known::of(&self.shared.place.hub, &line.instrument));
        }
    }

    pub(super) fn on_execution(&mut self, text: &Arc<str>) {
        if self.executions && matches!(self.stage, Stage::Live(_)) {
            self.out.push(Output::text(text.to_string()));
        }
    }

    /// Everything that time brings.
    pub(super) fn on_time(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let faults = shared.faults();
        self.muted = faults.socket.silent;
        self.welcome(faults.socket.no_status, now);
        if let Some(due) = self.heartbeat.filter(|due| *due <= now) {
            let next = due + self.protocol().heartbeat;
            self.heartbeat = Some(if next <= now { now + self.protocol().heartbeat } else { next });
            if !faults.socket.no_heartbeats && !self.is_mute() {
                self.shared.counters.update(|stats| stats.heartbeats += 1);
                self.say(&json!({ "topic": "system", "hb": Timestamp::now().as_millisecond() }));
            }
        }
        if matches!(self.stage, Stage::Live(_)) && !self.tic_noted && now > self.tic + self.protocol().tic_limit {
            self.tic_noted = true;
            self.note(IbkrRule::Tic, "no tic");
        }
        self.expire(now);
        if !faults.data.stopped && !self.is_mute() {
            let around = surroundings(&shared, &faults);
            let due: Vec<i64> =
                self.lines.iter().filter(|(_, line)| line.is_due(now)).map(|(conid, _)| *conid).collect();
            due.into_iter().for_each(|conid| self.send_frame(conid, false, &around, now));
        }
        let garbage = self.trouble.garbage(faults.socket.garbage, now, &mut self.out);
        if garbage > 0 {
            self.shared.counters.update(|stats| stats.garbage += garbage);
        }
    }

    /// Whether what is said goes nowhere. Market data are then not made at all, so that the ledger knows what the other
    /// side knows.
    pub(super) const fn is_mute(&self) -> bool {
        self.silent || self.muted
    }

    /// The first frames, in their order.
    fn welcome(&mut self, no_status: bool, now: Instant) {
        match self.stage {
            Stage::Opened(at) if at <= now => {
                self.say(&json!({ "topic": "system", "success": "user123", "isFT": false, "isPaper": true }));
                self.heartbeat = Some(now + self.protocol().heartbeat);
                self.stage = Stage::Greeted(now + self.protocol().welcome_delay);
            }
            Stage::Greeted(at) if at <= now => {
                let args = act_args(&self.shared);
                self.say(&json!({ "topic": "act", "args": args }));
                self.stage = Stage::Described(now + self.protocol().status_delay);
            }
            Stage::Described(at) if at <= now && !no_status => self.tell_status(now),
            _ => {}
        }
    }

    fn tell_status(&mut self, now: Instant) {
        let state = self.shared.login.now();
        let good = self.cookie == Cookie::Good && state.authenticated(now);
        self.heartbeat.get_or_insert(now + self.shared.config.protocol.heartbeat);
        self.say(&json!({ "topic": "sts", "args": { "authenticated": good } }));
        let server = good.then_some("JifZ18045");
        for (key, value) in [
            ("competing", json!(state.competing)),
            ("message", json!("")),
            ("fail", json!("")),
            ("serverName", json!(server)),
            ("serverVersion", json!(server.map(|_| "Build 10.44.1d"))),
            ("username", json!("user123")),
        ] {
            self.say(&json!({ "topic": "sts", "args": { key: value } }));
        }
        self.tic = now;
        self.stage = if good { Stage::Live(state.epoch) } else { Stage::Refused };
        self.shared.counters.update(|stats| stats.authenticated += u64::from(good));
    }

    fn subscribe(&mut self, conid: i64, fields: &[u16], now: Instant) {
        let shared = Arc::clone(&self.shared);
        self.ever.insert(conid);
        shared.place.hub.note_subscription();
        if let Some(line) = self.lines.get_mut(&conid) {
            let joined = !line.live && shared.lines.take(conid);
            line.live |= joined;
            line.ask(fields, &shared.config.protocol, now);
            shared.counters.update(|stats| {
                stats.renewed += 1;
                stats.lines += u64::from(joined);
            });
            return;
        }
        let Some(instrument) = shared.instrument(conid).filter(|_| self.lines.len() < MAX_LINES) else {
            return self.note(IbkrRule::UnknownContract, format!("smd+{conid}"));
        };
        let live = shared.lines.take(conid);
        let symbol = instrument.symbol;
        let known = Known::of(&shared.place.hub, &instrument);
        let mut line = Line::new(instrument, known, live, now);
        line.ask(fields, &shared.config.protocol, now);
        self.by_symbol.insert(symbol, conid);
        self.lines.insert(conid, line);
        shared.counters.update(|stats| {
            stats.lines += u64::from(live);
            stats.over_budget += u64::from(!live);
        });
    }

    fn send_frame(&mut self, conid: i64, always: bool, around: &Surroundings<'_>, now: Instant) {
        let Some(line) = self.lines.get_mut(&conid) else { return };
        let before = line.streaming;
        let Some(Frame { text, entry }) = line.frame(now, always, around) else { return };
        let began = line.streaming && !before;
        let underlying = line.instrument.underlying().and_then(|under| self.lines.get(&under));
        let underlying = underlying.map(|under| under.prices).unwrap_or_default();
        let entry = entry.map(|mut entry| {
            entry.connection = self.number;
            entry.underlying = underlying;
            Box::new(entry)
        });
        if began {
            self.shared.counters.update(|stats| stats.streaming += 1);
        }
        let text = self.trouble.disguise(text, &around.faults.socket, &mut self.out);
        self.out.push(Output::Frame { text, entry, market: true });
    }

    fn expire(&mut self, now: Instant) {
        let ended: Vec<i64> =
            self.lines.iter().filter(|(_, line)| line.has_ended(now)).map(|(conid, _)| *conid).collect();
        if !ended.is_empty() {
            self.shared.counters.update(|stats| stats.expired += ended.len() as u64);
            ended.into_iter().for_each(|conid| self.end_line(conid));
        }
    }

    fn end_line(&mut self, conid: i64) {
        let Some(line) = self.lines.remove(&conid) else { return };
        self.by_symbol.remove(&line.instrument.symbol);
        if line.live {
            self.shared.lines.free(conid);
        }
        self.shared.counters.update(|stats| {
            stats.lines -= u64::from(line.live);
            stats.streaming -= u64::from(line.streaming);
        });
    }

    fn end_all(&mut self) {
        let all: Vec<i64> = self.lines.keys().copied().collect();
        all.into_iter().for_each(|conid| self.end_line(conid));
    }

    fn count_message(&mut self, now: Instant) {
        let protocol = &self.shared.config.protocol;
        let (second, limit) = (protocol.second, protocol.socket_messages);
        while self.messages.front().is_some_and(|at| *at + second <= now) {
            self.messages.pop_front();
        }
        self.messages.push_back(now);
        if self.messages.len() > limit {
            self.messages.clear();
            self.note(IbkrRule::MessagePace, format!("more than {limit} messages in {second:?}"));
        }
    }

    pub(super) fn say(&mut self, value: &Value) {
        self.out.push(Output::text(value.to_string()));
    }

    pub(super) fn note(&self, rule: IbkrRule, detail: impl Into<String>) {
        self.shared.violations.add(self.number, rule, detail);
    }

    fn protocol(&self) -> &IbkrProtocol {
        &self.shared.config.protocol
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end_all();
        let live = matches!(self.stage, Stage::Live(_));
        self.shared.counters.update(|stats| stats.authenticated -= u64::from(live));
    }
}

fn surroundings<'a>(shared: &'a Shared, faults: &'a crate::ibkr::faults::IbkrFaults) -> Surroundings<'a> {
    Surroundings { pace: shared.config.pace, decimals: shared.config.decimals, faults }
}

/// Enough of a message to know it by.
fn head(text: &str) -> String {
    text.chars().take(80).collect()
}
