//! The brokerage session: how it fares, how it is opened, how it is kept.

use std::time::Duration;

use broker_net::json::double;
use broker_net::text::clean;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Call, Rest, body};
use crate::Error;

pub(super) const TICKLE: &str = "POST /tickle";
const STATUS: &str = "POST /iserver/auth/status";
pub(super) const INIT: &str = "POST /iserver/auth/ssodh/init";
const ACCOUNTS: &str = "GET /iserver/accounts";

/// While calls are held, a tickle goes out so long after the one answered last: without any, a brokerage session ends
/// after 5 to 6 minutes.
const SPARSE: Duration = Duration::from_secs(240);

/// Whether a call is about the session as such.
pub(super) fn is_of_session(call: &str) -> bool {
    matches!(call, TICKLE | STATUS | INIT)
}

/// The answer to a tickle.
#[derive(Clone, Debug)]
pub(crate) struct Tickle {
    /// The value of the websocket's cookie. Another one than before means another session; empty when it is not told.
    pub(crate) session: SecretString,
    /// How long the login lasts; not every answer tells.
    pub(crate) sso_expires: Option<Duration>,
    /// How the brokerage session fares; not every answer tells.
    pub(crate) auth: Option<AuthStatus>,
}

/// How the brokerage session fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthStatus {
    pub(crate) authenticated: bool,
    pub(crate) connected: bool,
    /// Another login of the same user holds the session, or wants it.
    pub(crate) competing: bool,
    /// The gateway's words on a failure; empty when there are none.
    pub(crate) reason: String,
}

impl AuthStatus {
    /// Whether data will flow.
    pub(crate) const fn is_healthy(&self) -> bool {
        self.authenticated && self.connected && !self.competing
    }
}

/// When tickles went out.
#[derive(Debug)]
pub(super) struct LastTickle {
    called: Instant,
    answered: Instant,
}

impl LastTickle {
    pub(super) const fn at(called: Instant) -> Self {
        Self { called, answered: called }
    }
}

impl Rest {
    /// Keeps the brokerage session alive, and tells the session's id. The gateway allows one call a second: whoever comes
    /// too early waits. While calls are held, whoever comes too early is refused.
    pub(crate) async fn tickle(&self) -> Result<Tickle, Error> {
        let mut last = self.last_tickle.lock().await;
        tokio::time::sleep_until(last.called + self.tickle_spacing).await;
        let (now, held) = (Instant::now(), self.http.held_until());
        let due = held.map(|until| until.min(last.answered + SPARSE)).max(self.tickles.held_until());
        let pause = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        if !pause.is_zero() {
            return Err(Error::RateLimited { call: TICKLE, pause });
        }
        let http = if held.is_some_and(|until| until > now) { &self.tickles } else { &self.http };
        // Before the call too: it counts even if a session that ends drops it.
        last.called = Instant::now();
        let answer = self.call_by(http, Call::post(TICKLE, &["tickle"]), &[], None::<&()>).await;
        last.called = Instant::now();
        if !matches!(answer, Err(Error::RateLimited { .. } | Error::Transport { .. })) {
            last.answered = last.called;
        }
        drop(last);
        read_tickle(&answer?)
    }

    /// How the brokerage session fares.
    pub(crate) async fn auth_status(&self) -> Result<AuthStatus, Error> {
        let path = ["iserver", "auth", "status"];
        let answer = match self.call(Call::post(STATUS, &path), &[], None::<&()>).await {
            // Documented as GET too, and the only way that some gateways know.
            Err(Error::Status { status: 400 | 404 | 405, .. }) => {
                self.call(Call::get(STATUS, &path), &[], None::<&()>).await
            }
            answer => answer,
        };
        read_status(STATUS, &answer?)
    }

    /// Asks for a brokerage session. With `compete`, another login of the same user loses its own.
    pub(crate) async fn init_session(&self, compete: bool) -> Result<AuthStatus, Error> {
        #[derive(Serialize)]
        struct Request {
            publish: bool,
            compete: bool,
        }
        let call = Call::post(INIT, &["iserver", "auth", "ssodh", "init"]);
        read_status(INIT, &self.call(call, &[], Some(&Request { publish: true, compete })).await?)
    }

    /// Lists the brokerage accounts, without which the gateway gives no market data.
    pub(crate) async fn brokerage_accounts(&self) -> Result<(), Error> {
        self.call(Call::get(ACCOUNTS, &["iserver", "accounts"]), &[], None::<&()>).await.map(|_| ())
    }
}

fn read_tickle(answer: &[u8]) -> Result<Tickle, Error> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        session: Option<&'a RawValue>,
        #[serde(borrow, rename = "ssoExpires")]
        sso_expires: Option<&'a RawValue>,
        #[serde(borrow)]
        iserver: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Iserver<'a> {
        #[serde(borrow, rename = "authStatus")]
        auth_status: Option<&'a RawValue>,
    }
    let answer: Answer<'_> = body::read(TICKLE, answer)?;
    let iserver = answer.iserver.and_then(|raw| serde_json::from_str::<Iserver<'_>>(raw.get()).ok());
    let auth = iserver.and_then(|it| it.auth_status).filter(|raw| tells_authenticated(raw));
    let millis = answer.sso_expires.and_then(double).filter(|millis| (0.0..1e12).contains(millis));
    Ok(Tickle {
        session: body::text(answer.session).unwrap_or_default().into(),
        sso_expires: millis.map(|millis| Duration::from_secs_f64(millis / 1000.0)),
        auth: auth.and_then(|raw| read_status(TICKLE, raw.get().as_bytes()).ok()),
    })
}

/// Whether it says at all how the session fares: what says nothing must not end one that streams.
fn tells_authenticated(raw: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Status<'a> {
        #[serde(borrow)]
        authenticated: Option<&'a RawValue>,
    }
    let status = serde_json::from_str::<Status<'_>>(raw.get());
    raw.get().starts_with('{') && status.is_ok_and(|it| body::flag(it.authenticated).is_some())
}

fn read_status(call: &'static str, answer: &[u8]) -> Result<AuthStatus, Error> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        authenticated: Option<&'a RawValue>,
        #[serde(borrow)]
        connected: Option<&'a RawValue>,
        #[serde(borrow)]
        competing: Option<&'a RawValue>,
        #[serde(borrow)]
        fail: Option<&'a RawValue>,
        #[serde(borrow)]
        message: Option<&'a RawValue>,
    }
    let answer: Answer<'_> = body::read(call, answer)?;
    let authenticated = body::flag(answer.authenticated).unwrap_or(false);
    let reason = body::text(answer.fail).or_else(|| body::text(answer.message)).unwrap_or_default();
    Ok(AuthStatus {
        authenticated,
        // Left out, it says nothing against what the other says.
        connected: body::flag(answer.connected).unwrap_or(authenticated),
        competing: body::flag(answer.competing).unwrap_or(false),
        reason: clean(&reason, &[]),
    })
}
