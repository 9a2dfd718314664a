//! The rules of a connection to the account streamer: texts and time in, texts and touched accounts out. No socket, no
//! clock.
//!
//! `connect` goes first and nothing else before it is acknowledged; then heartbeats, each with a token in force, each
//! to be answered.

use std::time::{Duration, Instant};

use broker_net::text::clean;
use greeks_model::AccountId;
use secrecy::{ExposeSecret, SecretString};

use super::wire::{self, Action, Outgoing, Told};
use crate::Error;

/// What a connection is given.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) accounts: Vec<AccountId>,
    /// Names this client: `product/version`.
    pub(super) source: String,
    pub(super) heartbeat: Duration,
    /// How long an answer may take.
    pub(super) answer_within: Duration,
}

/// What one message means for the positions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The accounts have just been taken: from here on changes are told.
    pub(super) acknowledged: bool,
    /// Accounts to read again.
    pub(super) touched: Vec<AccountId>,
    pub(super) unknown: u64,
    pub(super) malformed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opened,
    Connecting,
    Live,
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    action: Action,
    request_id: u64,
    due: Instant,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Session {
    settings: Settings,
    phase: Phase,
    requests: u64,
    awaited: Option<Awaited>,
    next_heartbeat: Instant,
}

impl Session {
    /// A session on a connection just opened.
    pub(super) const fn new(settings: Settings, now: Instant) -> Self {
        Self { settings, phase: Phase::Opened, requests: 0, awaited: None, next_heartbeat: now }
    }

    /// Whether something is to be said, for which a token is needed.
    pub(super) fn must_speak(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Opened => true,
            Phase::Connecting => false,
            Phase::Live => self.awaited.is_none() && now >= self.next_heartbeat,
        }
    }

    /// The next message, with this access token. It counts as sent.
    pub(super) fn speak(&mut self, token: &SecretString, now: Instant) -> String {
        let numbers: Vec<&str> = self.settings.accounts.iter().map(AccountId::as_str).collect();
        let (action, value): (_, &[&str]) = match self.phase {
            Phase::Opened => (Action::Connect, &numbers),
            Phase::Connecting | Phase::Live => (Action::Heartbeat, &[]),
        };
        if self.phase == Phase::Opened {
            self.phase = Phase::Connecting;
        }
        self.requests += 1;
        self.next_heartbeat = now + self.settings.heartbeat;
        let due = now + self.settings.answer_within;
        self.awaited = Some(Awaited { action, request_id: self.requests, due });
        let auth_token = format!("Bearer {}", token.expose_secret());
        let source = &self.settings.source;
        Outgoing { action, value, auth_token: &auth_token, request_id: self.requests, source }.to_text()
    }

    /// Takes one text message.
    pub(super) fn on_text(&mut self, text: &str) -> Result<Heard, Error> {
        let Told { answer, touched, touched_unnamed, unknown, malformed } = wire::read(text);
        let mut heard = Heard { unknown, malformed, ..Heard::default() };
        heard.touched = match touched_unnamed {
            true => self.settings.accounts.clone(),
            // Others are not streamed.
            false => touched.into_iter().filter(|account| self.settings.accounts.contains(account)).collect(),
        };
        let Some(answer) = answer else { return Ok(heard) };
        if !answer.ok {
            return Err(self.refusal(&answer.action, &answer.text));
        }
        let Some(awaited) = self.awaited else { return Ok(heard) };
        // An answer without a number is to what was said last: only one thing is ever unanswered.
        let same = answer.request_id.is_none_or(|id| id == awaited.request_id);
        if same && (answer.action.is_empty() || answer.action == awaited.action.name()) {
            self.awaited = None;
            if self.phase == Phase::Connecting {
                self.phase = Phase::Live;
                heard.acknowledged = true;
            }
        }
        Ok(heard)
    }

    /// Finds out whether an answer is overdue.
    pub(super) fn on_tick(&self, now: Instant) -> Result<(), Error> {
        match self.awaited {
            Some(Awaited { action, due, .. }) if now >= due => {
                let step = match action {
                    Action::Connect => "acknowledgement of the account streamer",
                    Action::Heartbeat => "answer to a heartbeat by the account streamer",
                };
                Err(Error::StepTimeout { step, after: self.settings.answer_within })
            }
            _ => Ok(()),
        }
    }

    /// When [`Session::must_speak`] or [`Session::on_tick`] has something to say at the latest.
    pub(super) fn deadline(&self) -> Instant {
        self.awaited.map_or(self.next_heartbeat, |awaited| awaited.due)
    }

    fn refusal(&self, action: &str, text: &str) -> Error {
        // The streamer's words can hold account numbers.
        let numbers: Vec<&str> = self.settings.accounts.iter().map(AccountId::as_str).collect();
        Error::AccountStreamer { action: clean(action, &numbers), text: clean(text, &numbers) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTED: &str = r#"{"status":"ok","action":"connect","web-socket-session-id":"5b6e2799","value":["5WT00001","5WT00002"],"request-id":1}"#;

    fn settings() -> Settings {
        Settings {
            accounts: ["5WT00001", "5WT00002"].map(|number| AccountId::new(number).unwrap()).into(),
            source: "greekd/0.1.0".into(),
            heartbeat: Duration::from_secs(20),
            answer_within: Duration::from_secs(10),
        }
    }

    fn live() -> (Session, Instant) {
        let now = Instant::now();
        let mut session = Session::new(settings(), now);
        session.speak(&"canary".into(), now);
        assert!(session.on_text(CONNECTED).unwrap().acknowledged);
        (session, now)
    }

    #[test]
    fn connect_goes_first_and_alone() {
        let now = Instant::now();
        let mut session = Session::new(settings(), now);
        assert!(session.must_speak(now));
        assert_eq!(
            session.speak(&"x".into(), now),
            r#"{"action":"connect","value":["5WT00001","5WT00002"],"auth-token":"Bearer x","request-id":1,"source":"greekd/0.1.0"}"#
        );
        let later = now + Duration::from_secs(100);
        assert!(!session.must_speak(later), "no heartbeat before the acknowledgement");
        for text in
            ["x", r#"{"status":"ok","action":"heartbeat"}"#, r#"{"status":"ok","action":"connect","request-id":9}"#]
        {
            assert!(!session.on_text(text).unwrap().acknowledged, "{text}");
        }
        assert!(session.on_text(CONNECTED).unwrap().acknowledged);
        assert!(!session.on_text(CONNECTED).unwrap().acknowledged, "once");
    }

    #[test]
    fn heartbeats_go_out_in_time_and_must_be_answered() {
        let (mut session, mut now) = live();
        for request in 2..5 {
            assert_eq!(session.deadline(), now + Duration::from_secs(20));
            assert!(!session.must_speak(now + Duration::from_millis(19_999)));
            now += Duration::from_secs(20);
            assert!(session.must_speak(now));
            let text = session.speak(&format!("token-{request}").into(), now);
            assert_eq!(
                text,
                format!(
                    r#"{{"action":"heartbeat","auth-token":"Bearer token-{request}","request-id":{request},"source":"greekd/0.1.0"}}"#
                )
            );
            assert!(!session.must_speak(now));
            let heard = session.on_text(&format!(r#"{{"status":"ok","action":"heartbeat","request-id":"{request}"}}"#));
            assert_eq!(heard.unwrap(), Heard::default());
            session.on_tick(now + Duration::from_secs(19)).unwrap();
        }
        now += Duration::from_secs(20);
        session.speak(&"x".into(), now);
        // Neither notices nor answers to something else are one.
        session.on_text(r#"{"status":"ok","action":"heartbeat","request-id":4}"#).unwrap();
        session.on_text(r#"{"type":"Order","data":{"account-number":"5WT00001"}}"#).unwrap();
        assert_eq!(session.deadline(), now + Duration::from_secs(10));
        session.on_tick(now + Duration::from_millis(9_999)).unwrap();
        assert!(matches!(session.on_tick(now + Duration::from_secs(10)), Err(Error::StepTimeout { .. })));
    }

    #[test]
    fn a_connect_without_answer_is_given_up() {
        let now = Instant::now();
        let mut session = Session::new(settings(), now);
        session.on_tick(now + Duration::from_secs(60)).unwrap();
        session.speak(&"x".into(), now);
        assert!(matches!(session.on_tick(now + Duration::from_secs(10)), Err(Error::StepTimeout { .. })));
    }

    #[test]
    fn refusals_end_the_connection_and_tell_no_account() {
        for action in ["connect", "heartbeat", ""] {
            let (mut session, _) = live();
            let text = format!(r#"{{"status":"error","action":"{action}","message":"no 5WT00001 for you"}}"#);
            let error = session.on_text(&text).unwrap_err();
            assert!(matches!(error, Error::AccountStreamer { .. }));
            assert!(error.to_string().contains("no *** for you"), "{error}");
        }
    }

    #[test]
    fn only_streamed_accounts_are_touched() {
        let (mut session, _) = live();
        let mut touched = |text: &str| {
            let heard = session.on_text(text).unwrap();
            heard.touched.iter().map(|account| account.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            touched(
                r#"{"results":[{"type":"Order","data":{"account-number":"5WT00002"}},{"type":"Order","data":{"account-number":"5WT00009"}}]}"#
            ),
            ["5WT00002"]
        );
        assert_eq!(touched(r#"{"type":"Order","data":{}}"#), ["5WT00001", "5WT00002"]);
        assert_eq!(touched(r#"{"type":"AccountBalance","data":{"account-number":"5WT00002"}}"#), [""; 0]);
    }
}
