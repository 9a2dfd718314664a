//! The brokerage session: a login at the gateway alone gives no market data.
//!
//! Three things fail apart: the login (SSO session) that a person makes with a browser, the brokerage session that the
//! gateway opens with it, of which a user has one over all of IBKR's platforms, and the websocket. This room judges the
//! first two; what it finds decides whether there is any use in dialling.

use greeks_model::SessionEnd;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep};

use crate::rest::{AuthStatus, Rest, Tickle};
use crate::{Error, IbkrConfig};

/// A brokerage session that is open, and primed for market data.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The id of the gateway's session before anything else was asked.
    session: SecretString,
    /// Whether it had to be asked for.
    pub(crate) initialised: bool,
}

/// The gateway's session as a websocket knows it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The value of the websocket's cookie.
    pub(crate) session: SecretString,
    /// Whether another id means another session. A gateway that gives out a new one with each answer tells nothing by it.
    lasting: bool,
}

impl Identity {
    #[cfg(test)]
    pub(crate) fn for_test(session: &str) -> Self {
        Self { session: session.into(), lasting: true }
    }

    /// Whether `tickle` tells of another session than the one the websocket was opened in.
    pub(crate) fn is_replaced(&self, tickle: &Tickle) -> bool {
        let told = tickle.session.expose_secret();
        self.lasting && !told.is_empty() && self.session.expose_secret() != told
    }
}

/// Opens the brokerage session unless it is open, and primes it for market data. It is asked for at most once, and taken
/// from another login only with `compete`.
///
/// While nobody is logged in, one call tells so and no other is made.
pub(crate) async fn open(rest: &Rest, config: &IbkrConfig, compete: bool) -> Result<Opened, Error> {
    let tickle = rest.tickle().await?;
    let mut opening = Opening { rest, config, compete, initialised: false };
    opening.establish(tickle.auth).await?;
    match rest.brokerage_accounts().await {
        // The status was that of a session that is gone.
        Err(Error::NoBrokerageSession { .. }) if !opening.initialised => {
            opening.establish(Some(AuthStatus::default())).await?;
            rest.brokerage_accounts().await?;
        }
        primed => primed?,
    }
    Ok(Opened { session: tickle.session, initialised: opening.initialised })
}

/// The session id of this moment, for the websocket's cookie: a login or a new brokerage session changes it.
pub(crate) async fn identify(rest: &Rest, opened: &Opened, compete: bool) -> Result<Identity, Error> {
    let tickle = rest.tickle().await?;
    if let Some(fault) = tickle.auth.as_ref().and_then(|status| fault(status, compete)) {
        return Err(fault);
    }
    let same = tickle.session.expose_secret() == opened.session.expose_secret();
    Ok(Identity { session: tickle.session, lasting: same || opened.initialised })
}

/// What a look at the brokerage session means for a websocket that streams in it.
pub(crate) fn judge(identity: &Identity, tickle: &Tickle, compete: bool) -> Result<Option<SessionEnd>, Error> {
    if let Some(fault) = tickle.auth.as_ref().and_then(|status| fault(status, compete)) {
        return Err(fault);
    }
    if identity.is_replaced(tickle) {
        tracing::info!("the gateway has a new session; the websocket is opened anew in it");
        return Ok(Some(SessionEnd::Closed));
    }
    Ok(None)
}

/// Why data will not flow, in a session that was healthy. With `compete` the next session takes it back.
fn fault(status: &AuthStatus, compete: bool) -> Option<Error> {
    match status {
        _ if status.is_healthy() => None,
        _ if status.competing && !compete => Some(competing(status)),
        _ => Some(Error::Unauthenticated),
    }
}

struct Opening<'a> {
    rest: &'a Rest,
    config: &'a IbkrConfig,
    compete: bool,
    initialised: bool,
}

impl Opening<'_> {
    /// Waits until the brokerage session is open; asks for it when it is not.
    async fn establish(&mut self, known: Option<AuthStatus>) -> Result<(), Error> {
        if let Some(status) = known.filter(|status| !status.is_healthy()) {
            self.init(&status).await?;
        }
        let deadline = Instant::now() + self.config.init_timeout;
        loop {
            let status = self.status().await?;
            if status.is_healthy() {
                return Ok(());
            }
            if !self.initialised {
                self.init(&status).await?;
                continue;
            }
            if self.is_taken(&status) {
                return Err(competing(&status));
            }
            if Instant::now() + self.config.init_poll >= deadline {
                return Err(Error::NoBrokerageSession { reason: words(&status, "not authenticated") });
            }
            sleep(self.config.init_poll).await;
        }
    }

    async fn status(&self) -> Result<AuthStatus, Error> {
        match self.rest.auth_status().await {
            // Without a brokerage session some gateways do not even tell that there is none.
            Err(Error::NoBrokerageSession { reason }) => Ok(AuthStatus { reason, ..AuthStatus::default() }),
            other => other,
        }
    }

    async fn init(&mut self, status: &AuthStatus) -> Result<(), Error> {
        // It is ours and another login wants it. Without leave to compete there is nothing to ask for.
        if status.authenticated && self.is_taken(status) {
            return Err(competing(status));
        }
        self.initialised = true;
        tracing::info!(compete = self.compete, reason = status.reason, "asking for a brokerage session");
        // While another login holds the session this is how to learn that it does not any more: without `compete` it
        // takes nothing from anybody.
        let answer = match self.rest.init_session(self.compete).await {
            // "failed to generate sso dh token", for hours in some nights: no fault of one call, to be repeated at once.
            Err(Error::Status { reason, .. }) => return Err(Error::NoBrokerageSession { reason }),
            answer => answer?,
        };
        if self.is_taken(&answer) { Err(competing(&answer)) } else { Ok(()) }
    }

    /// Whether another login has the session and is to keep it.
    fn is_taken(&self, status: &AuthStatus) -> bool {
        // "Force compete capability must be used together with compete flag"
        let told = || status.reason.to_ascii_lowercase().contains("compete");
        !self.compete && !status.is_healthy() && (status.competing || told())
    }
}

fn competing(status: &AuthStatus) -> Error {
    Error::Competing { reason: words(status, "competing") }
}

fn words(status: &AuthStatus, otherwise: &str) -> String {
    if status.reason.is_empty() { otherwise.to_owned() } else { status.reason.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickle(session: &str, auth: Option<AuthStatus>) -> Tickle {
        Tickle { session: session.into(), sso_expires: None, auth }
    }

    fn status(authenticated: bool, connected: bool, competing: bool) -> AuthStatus {
        AuthStatus { authenticated, connected, competing, ..AuthStatus::default() }
    }

    #[test]
    fn a_stream_ends_when_its_session_is_no_longer_ours() {
        let identity = Identity { session: "a".into(), lasting: true };
        let judged = |auth, compete| judge(&identity, &tickle("a", auth), compete);
        assert!(matches!(judged(None, false), Ok(None)));
        assert!(matches!(judged(Some(status(true, true, false)), false), Ok(None)));
        for lost in [status(false, true, false), status(true, false, false), status(false, false, false)] {
            assert!(matches!(judged(Some(lost), false), Err(Error::Unauthenticated)));
        }
        for taken in [status(true, true, true), status(false, false, true)] {
            assert!(matches!(judged(Some(taken.clone()), false), Err(Error::Competing { .. })));
            assert!(matches!(judged(Some(taken), true), Err(Error::Unauthenticated)));
        }
    }

    #[test]
    fn another_session_id_means_something_where_ids_last() {
        for (lasting, expected) in [(true, Some(SessionEnd::Closed)), (false, None)] {
            let identity = Identity { session: "a".into(), lasting };
            assert_eq!(judge(&identity, &tickle("b", None), false).unwrap(), expected);
            for same in ["a", ""] {
                assert_eq!(judge(&identity, &tickle(same, None), false).unwrap(), None, "{same}");
            }
        }
    }
}
