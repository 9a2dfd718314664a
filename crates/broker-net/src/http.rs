//! HTTP calls at a pace, whole answers within limits of time and size.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use greeks_model::UnixNanos;
use greeks_model::jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{self, HeaderMap};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::tls::{is_certificate_fault, is_refused};

/// How long a connection is kept that nothing is asked on.
const IDLE: Duration = Duration::from_secs(30);

/// The nested chain of a large index has a few MiB, a book of 100,000 positions in one document some tens.
pub const MAX_BODY_BYTES: usize = 64 << 20;
/// The longest that a `Retry-After` is believed.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// How to call.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// Limit for one call, from dialling to the last byte.
    pub timeout: Duration,
    /// Limit for dialling, TLS included.
    pub connect_timeout: Duration,
    /// Time in which one call is earned.
    pub spacing: Duration,
    /// Calls that may start at once after a pause; zero counts as one.
    pub burst: u32,
}

/// A client of one HTTP server.
///
/// Redirects are not followed and proxies of the environment are not used: what a request carries goes to the host it
/// names and nowhere else. Calls start in the order they were asked for, at most `burst + elapsed / spacing` in any
/// stretch of time.
#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    timeout: Duration,
    spacing: Duration,
    /// How far the bucket may be overdrawn: the pauses that `burst` calls may leave out.
    tolerance: Duration,
    /// When the bucket will be full again. Locked by the one whose turn it is while it waits: the lock is the queue.
    full_at: Mutex<Instant>,
    held_until: StdMutex<Option<Instant>>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The delay that `Retry-After` asks for, at most [`LONGEST_RETRY_AFTER`].
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no whole answer. Its text holds no path and no query. Clients of brokers are to say what each means to
/// them, so a new one is to break them.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nothing listens at the address.
    #[error("the connection was refused")]
    Refused {
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The other side's certificate was not accepted.
    #[error("the certificate is not trusted")]
    UntrustedPeer {
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The server could not be reached, or did not answer in time.
    #[error("no answer")]
    Transport {
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is larger than any real one.
    #[error("the answer is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The call was not started: see [`Http::hold`].
    #[error("no call is made for {remaining:?}")]
    Held {
        /// For how long.
        remaining: Duration,
    },
}

impl Http {
    /// A client that trusts what `tls` trusts.
    ///
    /// # Errors
    /// When the TLS configuration or the user agent cannot be used.
    pub fn new(config: &HttpConfig, tls: &Arc<rustls::ClientConfig>) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(rustls::ClientConfig::clone(tls))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(&config.user_agent)
            .connect_timeout(config.connect_timeout)
            // Servers close idle connections, many after 60 s: a call must not meet that moment.
            .pool_idle_timeout(IDLE)
            .timeout(config.timeout)
            .build()?;
        Ok(Self {
            client,
            timeout: config.timeout,
            spacing: config.spacing,
            tolerance: config.spacing.saturating_mul(config.burst.saturating_sub(1)),
            full_at: Mutex::new(Instant::now()),
            held_until: StdMutex::default(),
        })
    }

    /// A request that asks for JSON, to be filled and given to [`Http::send`].
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url).header(header::ACCEPT, "application/json")
    }

    /// Sends a request in its turn and reads the whole answer.
    ///
    /// # Errors
    /// [`HttpError`]. Any status is an answer.
    ///
    /// # Cancel safety
    /// A call that is dropped while it waits uses up nothing.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, HttpError> {
        self.wait_for_turn().await?;
        let mut response = request.timeout(self.timeout).send().await.map_err(transport)?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(HttpError::BodyTooLarge { limit: MAX_BODY_BYTES });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, retry_after, body })
    }

    /// No call starts before `until`: neither one that waits already, nor a new one. They fail at once with
    /// [`HttpError::Held`], so that nobody waits for minutes. An earlier `until` than that in force changes nothing.
    pub fn hold(&self, until: Instant) {
        let mut held = self.held_until.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(held.map_or(until, |former| former.max(until)));
    }

    /// Until when calls are held, or were last; `None` if they never were.
    pub fn held_until(&self) -> Option<Instant> {
        *self.held_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for_turn(&self) -> Result<(), HttpError> {
        self.check_hold()?;
        let mut full_at = self.full_at.lock().await;
        let turn = full_at.checked_sub(self.tolerance).unwrap_or(*full_at);
        tokio::time::sleep_until(turn).await;
        self.check_hold()?;
        *full_at = (*full_at).max(Instant::now()) + self.spacing;
        Ok(())
    }

    fn check_hold(&self) -> Result<(), HttpError> {
        match self.held_until().map(|until| until.saturating_duration_since(Instant::now())) {
            Some(remaining) if !remaining.is_zero() => Err(HttpError::Held { remaining }),
            _ => Ok(()),
        }
    }
}

fn transport(source: reqwest::Error) -> HttpError {
    // The URL may hold an account number.
    let source = source.without_url();
    if is_certificate_fault(&source) {
        return HttpError::UntrustedPeer { source };
    }
    if is_refused(&source) {
        return HttpError::Refused { source };
    }
    HttpError::Transport { source }
}

/// The delay a `Retry-After` asks for: seconds, or a date, which is compared with the server's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let time = |text: &str| DateTimeParser::new().parse_timestamp(text).ok().map(UnixNanos::from_timestamp);
    let asked = text(header::RETRY_AFTER)?;
    let delay = match asked.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => time(asked)?.saturating_since(time(text(header::DATE)?)?),
    };
    Some(delay.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests;
