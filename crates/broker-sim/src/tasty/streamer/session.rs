//! The server's side of one account streamer connection: every rule of it, no socket.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::messages::{self, Notice, Request};
use crate::tasty::state::Shared;
use crate::tasty::violations::Rule;

/// Other subscriptions that the streamer offers; they are acknowledged and say nothing here.
const SILENT_ACTIONS: [&str; 3] = ["public-watchlists-subscribe", "quote-alerts-subscribe", "user-message-subscribe"];

/// One connection.
pub(super) struct Session {
    number: u64,
    shared: Arc<Shared>,
    id: String,
    began: Instant,
    /// When the last message was accepted.
    heard: Instant,
    accounts: BTreeSet<String>,
    notices: u64,
    pub(super) out: Vec<String>,
    pub(super) close: Option<&'static str>,
}

impl Session {
    pub(super) fn new(number: u64, shared: Arc<Shared>, now: Instant) -> Self {
        Self {
            number,
            shared,
            id: format!("{:08x}", fastrand::u32(..)),
            began: now,
            heard: now,
            accounts: BTreeSet::new(),
            notices: 0,
            out: Vec::new(),
            close: None,
        }
    }

    /// Whether a `connect` has succeeded.
    pub(super) fn is_connected(&self) -> bool {
        !self.accounts.is_empty()
    }

    pub(super) fn on_text(&mut self, text: &str, now: Instant) {
        let request: Request = match serde_json::from_str(text) {
            Ok(request) => request,
            Err(error) => {
                self.note(Rule::InvalidMessage, error.to_string());
                self.close = Some("invalid message");
                return;
            }
        };
        if !self.may_enter(&request) {
            return;
        }
        match request.action.as_str() {
            "connect" => self.connect(&request, now),
            _ if !self.is_connected() => {
                self.note(Rule::StreamerConnect, format!("{} before connect", request.action));
                self.refuse(&request, "connect-not-completed");
            }
            "heartbeat" => {
                self.shared.counters.update(|stats| stats.streamer_heartbeats += 1);
                self.accept(&request, now);
            }
            action if SILENT_ACTIONS.contains(&action) => self.accept(&request, now),
            action => {
                self.note(Rule::InvalidMessage, format!("action {action:?}"));
                self.refuse(&request, "unknown action");
            }
        }
    }

    /// Whether the token is that of the Authorization header, and good now.
    fn may_enter(&mut self, request: &Request) -> bool {
        let token = request.auth_token.as_ref().and_then(Value::as_str).and_then(|token| token.strip_prefix("Bearer "));
        let Some(token) = token else {
            self.note(Rule::StreamerToken, format!("{} without `Bearer <token>`", request.action));
            self.refuse(request, "failed");
            return false;
        };
        let good = self.shared.tokens.access_token_is_good(token);
        if !good {
            // Tokens expire: that is no mistake, but nothing is gained by such a message.
            self.shared.counters.update(|stats| stats.refused += 1);
            self.refuse(request, "failed");
        }
        good
    }

    /// A later `connect` replaces the accounts of the former.
    fn connect(&mut self, request: &Request, now: Instant) {
        let accounts = request.accounts();
        let known = |number: &String| self.shared.book().account(number).is_some_and(|account| !account.closed);
        if accounts.is_empty() || !accounts.iter().all(known) {
            self.note(Rule::StreamerConnect, "connect without accounts, or with one that is not open");
            return self.refuse(request, "failed");
        }
        self.accounts = accounts.into_iter().collect();
        self.accept(request, now);
    }

    fn accept(&mut self, request: &Request, now: Instant) {
        self.heard = now;
        self.out.push(messages::ok(request, &self.id));
    }

    fn refuse(&mut self, request: &Request, why: &str) {
        self.out.push(messages::refusal(request, &self.id, why));
    }

    /// Tells of a change, if it is in an account of this connection. Every other one comes as a batch.
    pub(super) fn on_notice(&mut self, notice: &Notice) {
        if self.accounts.contains(&notice.account) {
            self.notices += 1;
            self.out.extend(notice.messages(self.notices.is_multiple_of(2)));
        }
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        if now < self.deadline() {
            return;
        }
        if self.is_connected() {
            let limit = self.shared.config.streamer.heartbeat_timeout;
            self.note(Rule::Heartbeat, format!("no accepted message for {limit:?}"));
            self.close = Some("no heartbeat");
        } else {
            self.close = Some("no connect");
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        let config = &self.shared.config.streamer;
        if self.is_connected() { self.heard + config.heartbeat_timeout } else { self.began + config.connect_timeout }
    }

    pub(super) fn note(&self, rule: Rule, detail: impl Into<String>) {
        self.shared.violations.add(self.number, rule, detail);
    }
}
