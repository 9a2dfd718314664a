//! From the server's SETUP to its consent, and what it may say against it.

use std::time::Instant;

use broker_net::text::clean;
use secrecy::ExposeSecret;

use super::channel::{Channel, State};
use super::{Auth, Session};
use crate::Error;
use crate::wire::{self, AuthState, Outgoing};

impl Session {
    pub(super) fn on_auth_state(&mut self, state: AuthState, now: Instant) -> Result<(), Error> {
        match (state, self.auth) {
            (AuthState::Authorized, Auth::Authorized) | (AuthState::Other, _) => Ok(()),
            (AuthState::Authorized, _) => {
                self.auth = Auth::Authorized;
                self.authenticate(now);
                Ok(())
            }
            // The first one only says that a token is wanted.
            (AuthState::Unauthorized, Auth::Unknown) => {
                self.auth = Auth::Required;
                self.authenticate(now);
                Ok(())
            }
            (AuthState::Unauthorized, Auth::Required) => Ok(()),
            (AuthState::Unauthorized, Auth::Uninvited) => {
                self.auth = Auth::Doubted;
                Ok(())
            }
            (AuthState::Unauthorized, Auth::Doubted | Auth::Sent | Auth::Authorized) => Err(Error::Unauthorized),
        }
    }

    /// Goes on once the server's SETUP and its AUTH_STATE are both known, in whichever order they came.
    pub(super) fn authenticate(&mut self, now: Instant) {
        if !self.setup_seen {
            return;
        }
        match self.auth {
            Auth::Required => {
                self.auth = Auth::Sent;
                self.send_auth(now);
            }
            Auth::Authorized => {
                (self.step_due, self.uninvited_at) = (None, None);
                self.head_start.authorized(now);
                self.request_channels(now);
            }
            Auth::Unknown | Auth::Uninvited | Auth::Doubted | Auth::Sent => {}
        }
    }

    /// Half of the time for an invitation is over: the server may be one that waits for AUTH.
    pub(super) fn authenticate_uninvited(&mut self, now: Instant) {
        if self.auth == Auth::Unknown && self.uninvited_at.is_some_and(|at| now >= at) {
            tracing::debug!("no AUTH_STATE: AUTH goes out without it");
            self.auth = Auth::Uninvited;
            self.send_auth(now);
        }
    }

    fn send_auth(&mut self, now: Instant) {
        (self.step_due, self.uninvited_at) = (Some(now + self.settings.step_timeout), None);
        let token = self.settings.token.expose_secret();
        self.outputs.push_back(Outgoing::Auth { token: wire::Secret(token) }.to_text());
    }

    pub(super) fn on_error(&mut self, channel: u64, code: &str, text: &str) -> Result<(), Error> {
        let secrets = [self.settings.token.expose_secret()];
        let (code, text) = (clean(code, &secrets), clean(text, &secrets));
        let streaming = channel == 0 && self.auth == Auth::Authorized;
        match code.as_str() {
            // Before authorisation the server can lose track of the session it has just opened (seen in production).
            // Its words are the only sign of it, since the code says no more than UNKNOWN or UNAUTHORIZED.
            _ if !streaming && channel == 0 && text.contains("Session not found") => Err(Error::SessionNotFound),
            "UNAUTHORIZED" if channel == 0 => Err(Error::Unauthorized),
            "TIMEOUT" | "UNSUPPORTED_PROTOCOL" if channel == 0 => Err(Error::Streamer { code, text }),
            _ if channel == 0 && !streaming => Err(Error::Streamer { code, text }),
            _ if self.channels.iter().any(|it| it.is_requested(channel)) => Err(Error::Streamer { code, text }),
            _ => {
                tracing::warn!(channel, code, text, "the streamer reported an error");
                Ok(())
            }
        }
    }

    pub(super) fn overdue_step(&self, now: Instant) -> Option<&'static str> {
        if self.step_due.is_some_and(|due| now >= due) {
            return Some(match (self.setup_seen, self.auth) {
                (false, _) => "SETUP",
                (true, Auth::Unknown | Auth::Required) => "AUTH_STATE",
                (true, Auth::Uninvited | Auth::Doubted | Auth::Sent | Auth::Authorized) => "answer to AUTH",
            });
        }
        let overdue = |channel: &Channel| matches!(channel.state, State::Requested { due } if now >= due);
        self.channels.iter().any(overdue).then_some("CHANNEL_OPENED")
    }

    pub(super) fn say_timed_out(&mut self, what: &'static str) {
        self.outputs.push_back(Outgoing::TimedOut { text: what }.to_text());
    }
}
