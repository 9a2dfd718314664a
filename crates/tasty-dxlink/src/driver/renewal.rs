//! The quote token of the next session, fetched while this one still streams: only with it in hand is a healthy connection
//! given up.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::{Driver, Job};
use crate::Error;
use crate::rest::QuoteToken;

/// Between two attempts to have another token.
const PAUSE: Duration = Duration::from_secs(60);

/// When to ask for another token and when to leave without.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// `None` while an answer is awaited.
    ask_at: Option<Instant>,
    leave_at: Instant,
    next: Option<QuoteToken>,
}

impl Renewal {
    /// That of a session with `token`, of which no more than `most` is used if that can be helped.
    pub(crate) fn new(token: &QuoteToken, most: Duration) -> Self {
        Self { ask_at: Some(token.renew_at(most)), leave_at: token.leave_at(), next: None }
    }

    fn must_ask(&mut self, now: Instant) -> bool {
        self.next.is_none() && self.ask_at.take_if(|at| now >= *at).is_some()
    }

    /// `None`: there is none yet.
    fn answered(&mut self, token: Option<QuoteToken>, now: Instant, pause: Duration) {
        self.ask_at = Some(now + pause);
        self.next = token;
    }

    fn is_over(&self, now: Instant) -> bool {
        self.next.is_some() || now >= self.leave_at
    }

    pub(super) fn due(&self) -> Instant {
        self.ask_at.map_or(self.leave_at, |at| at.min(self.leave_at))
    }
}

impl Driver<'_> {
    /// Asks for another token when that is due; whether the session is to end for its sake.
    pub(super) fn renew(&mut self, now: Instant) -> bool {
        if self.renewal.is_over(now) {
            let at_hand = self.renewal.next.is_some();
            tracing::info!(at_hand, "the quote token is about to end; a new session takes a new one");
            return true;
        }
        if self.renewal.must_ask(now) {
            let (discoverer, at) = (Arc::clone(self.tools.discoverer), self.tools.cx.now());
            let asked = async move { Job::Token(Box::new(discoverer.rest().quote_token(at).await)) };
            self.jobs.push(asked.boxed());
        }
        false
    }

    /// No failure ends the session as long as its own token lives.
    pub(super) fn on_token(&mut self, result: Result<QuoteToken, Error>) {
        let now = Instant::now();
        let (token, pause) = match result {
            // The customer's token, and the API hands out no other yet.
            Ok(token) if token.secret.expose_secret() == self.tools.token.secret.expose_secret() => (None, PAUSE),
            Ok(token) => (Some(token), PAUSE),
            Err(error) => {
                let error_text = &error as &dyn std::error::Error;
                tracing::warn!(error = error_text, "no new quote token yet; the stream goes on with the one in force");
                let told = match error {
                    Error::RateLimited { retry_after, .. } => retry_after.unwrap_or_default(),
                    _ => Duration::ZERO,
                };
                (None, PAUSE.max(told))
            }
        };
        self.renewal.answered(token, now, pause);
    }

    /// The token that the session was left for, if there is one.
    pub(crate) fn take_next_token(&mut self) -> Option<QuoteToken> {
        self.renewal.next.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_the_next_token_in_hand_or_just_before_its_own_ends() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let token = QuoteToken::for_tests(begin, Duration::from_secs(7200));
        let most = Duration::from_secs(5400);
        let mut renewal = Renewal::new(&token, most);
        assert_eq!(renewal.due(), at(5400), "no more of it is used than is allowed");
        assert!(!renewal.must_ask(at(5399)) && renewal.must_ask(at(5400)));
        assert!(!renewal.must_ask(at(5401)) && !renewal.is_over(at(5401)), "asked once, and no answer yet");
        assert_eq!(renewal.due(), at(7080));
        renewal.answered(None, at(5410), PAUSE);
        assert_eq!(renewal.due(), at(5470));
        assert!(!renewal.is_over(at(7079)) && renewal.is_over(at(7080)), "two minutes before its end");
        assert!(renewal.must_ask(at(5470)));
        renewal.answered(Some(token.clone()), at(5471), PAUSE);
        assert!(renewal.is_over(at(5471)) && !renewal.must_ask(at(9999)));
        let unlimited = Renewal::new(&token, Duration::from_secs(86_400));
        assert_eq!(unlimited.due(), at(6600), "ten minutes before its end");
    }
}
