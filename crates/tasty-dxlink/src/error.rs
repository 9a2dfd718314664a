//! What can go wrong, and what to do about it.

use std::error::Error as StdError;
use std::time::Duration;

use broker_net::ending::Breakage;
use broker_net::text::clean;
use broker_net::ws::DialError;
use greeks_model::{OperatorReason, Retry, SourceError};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const NEW_GRANT: &str = "create a new grant for the OAuth application at my.tastytrade.com, then set the new refresh \
                         token and the application's client secret";
const LOOK_AT_GRANT: &str = "look at my.tastytrade.com whether the account is open and the grant has the scope read";
const NEEDED: &str = "the grant needs the scope read, and the customer an open account";
/// The API's code for a customer whose e-mail address is not confirmed.
const UNCONFIRMED: &str = "unconfirmed_user";

/// What to do about a refusal: a customer who is not confirmed can do nothing else before.
fn unless_unconfirmed(reason: &str, remedy: &'static str) -> &'static str {
    if reason.contains(UNCONFIRMED) { "confirm the e-mail address at tastytrade" } else { remedy }
}

/// A failure of this source. No text in it holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot work.
    #[error("setting {setting} {reason}")]
    Configuration {
        /// The field of [`TastyConfig`](crate::TastyConfig).
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client could not be built from the given TLS configuration.
    #[error("cannot build the HTTP client")]
    Client {
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// tastytrade refused the refresh token or the client secret.
    #[error("tastytrade rejected the credentials ({reason}): {}", unless_unconfirmed(reason, NEW_GRANT))]
    CredentialsRejected {
        /// What the API said.
        reason: String,
    },
    /// tastytrade accepts the credentials, and twice, half a minute apart, has refused an access token fresh from them.
    #[error(
        "tastytrade refuses {call} although it accepts the credentials ({reason}): {}",
        unless_unconfirmed(reason, LOOK_AT_GRANT)
    )]
    AccessRefused {
        /// What was asked.
        call: &'static str,
        /// What the API said.
        reason: String,
    },
    /// The credentials are good but not for this call.
    #[error("tastytrade forbids {call} ({reason}): {}", unless_unconfirmed(reason, NEEDED))]
    Forbidden {
        /// What was asked.
        call: &'static str,
        /// What the API said.
        reason: String,
    },
    /// No account of the configuration is among the customer's open accounts.
    #[error("setting accounts names {missing}, and no such account of these credentials is open ({known})")]
    UnknownAccount {
        /// The configured accounts, masked.
        missing: String,
        /// The accounts there are, masked.
        known: String,
    },
    /// The quote token came with an address that the token must not be sent to.
    #[error("the streamer address {url} is not accepted: {reason}")]
    UntrustedStreamer {
        /// Scheme and host of the address.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// The certificate of the other side was not accepted.
    #[error("the certificate of {host} is not trusted")]
    UntrustedPeer {
        /// Who should have answered.
        host: String,
        /// The cause.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The API asks for patience.
    #[error("tastytrade limits the rate of {call}")]
    RateLimited {
        /// What was asked.
        call: &'static str,
        /// How long to wait, when the API said so.
        retry_after: Option<Duration>,
    },
    /// The API answered with a status that is no success.
    #[error("{call} failed with status {status} ({reason})")]
    Status {
        /// What was asked.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// What the API said.
        reason: String,
    },
    /// The access token that this call waited for could not be had by another call.
    #[error("no access token ({reason})")]
    NoAccessToken {
        /// Why the other call failed.
        reason: String,
    },
    /// The API could not be reached, or did not answer in time.
    #[error("{call} got no answer")]
    Transport {
        /// What was asked.
        call: &'static str,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The API's answer was larger than any real one.
    #[error("the answer to {call} is larger than {limit} bytes")]
    BodyTooLarge {
        /// What was asked.
        call: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The API's answer was not what it documents.
    #[error("the answer to {call} cannot be read")]
    Body {
        /// What was asked.
        call: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The streamer could not be dialled.
    #[error("cannot open the websocket to {host}")]
    Dial {
        /// Who was dialled.
        host: String,
        /// The cause.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// A step of the session took too long.
    #[error("no {step} within {after:?}")]
    StepTimeout {
        /// What was waited for.
        step: &'static str,
        /// How long.
        after: Duration,
    },
    /// The streamer refused the quote token.
    #[error("the streamer refused the quote token")]
    Unauthorized,
    /// The streamer did not know its own session yet; the token is not at fault.
    #[error("the streamer lost the session before it was authorised")]
    SessionNotFound,
    /// The streamer reported an error that ends the session.
    #[error("the streamer reported {code}: {text}")]
    Streamer {
        /// Its code.
        code: String,
        /// Its words.
        text: String,
    },
    /// The account streamer answered with an error.
    #[error("the account streamer refused {action:?} ({text})")]
    AccountStreamer {
        /// What was asked.
        action: String,
        /// Its words.
        text: String,
    },
    /// The streamer closed a channel again and again.
    #[error("the streamer closed a channel {times} times")]
    ChannelRefused {
        /// How often.
        times: u32,
    },
    /// Nothing came for too long.
    #[error("the streamer was silent for {after:?}")]
    Silence {
        /// How long.
        after: Duration,
    },
    /// A channel brought nothing for too long, though the connection lives, and did not answer when asked.
    #[error("a channel of the streamer brought nothing for {after:?} and does not answer")]
    Stalled {
        /// How long.
        after: Duration,
    },
    /// The streamer closed the connection.
    #[error("the streamer closed the connection with code {code} ({reason})")]
    Closed {
        /// The close code; 1005 when there was none.
        code: u16,
        /// Its words.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection to the streamer broke")]
    ConnectionLost {
        /// The cause, when there is one.
        #[source]
        source: Option<Box<tungstenite::Error>>,
    },
    /// The streamer sent a message larger than the limit.
    #[error("the streamer sent a message of more than {limit} bytes")]
    MessageTooLarge {
        /// The limit.
        limit: usize,
    },
}

impl Error {
    pub(crate) fn configuration(setting: &'static str, reason: impl Into<String>) -> Self {
        Self::Configuration { setting, reason: reason.into() }
    }

    /// The end that a close frame of a streamer is.
    pub(crate) fn closed(close: Option<CloseFrame>) -> Self {
        let (code, reason) =
            close.map_or((1005, String::new()), |frame| (frame.code.into(), clean(&frame.reason, &[])));
        Self::Closed { code, reason }
    }

    /// The end that a fault of a websocket is, whose messages may have `limit` bytes.
    pub(crate) fn broken(error: tungstenite::Error, limit: usize) -> Self {
        match error.into() {
            Breakage::MessageTooLarge => Self::MessageTooLarge { limit },
            Breakage::Lost { source } => Self::ConnectionLost { source },
        }
    }

    /// When a new session makes sense. The one case this cannot know is a refused quote token: the source gives a fresh
    /// token one immediate try, and further ones ever more time.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Configuration { .. } | Self::Client { .. } | Self::UnknownAccount { .. } => {
                Retry::Operator(OperatorReason::Configuration)
            }
            Self::CredentialsRejected { .. } | Self::AccessRefused { .. } | Self::Forbidden { .. } => {
                Retry::Operator(OperatorReason::CredentialsRejected)
            }
            Self::UntrustedStreamer { .. } | Self::UntrustedPeer { .. } => {
                Retry::Operator(OperatorReason::UntrustedPeer)
            }
            Self::RateLimited { retry_after: Some(delay), .. } => Retry::After(*delay),
            Self::Stalled { .. } => Retry::Now,
            Self::RateLimited { retry_after: None, .. }
            | Self::Status { .. }
            | Self::NoAccessToken { .. }
            | Self::Transport { .. }
            | Self::BodyTooLarge { .. }
            | Self::Body { .. }
            | Self::Dial { .. }
            | Self::StepTimeout { .. }
            | Self::Unauthorized
            | Self::SessionNotFound
            | Self::Streamer { .. }
            | Self::AccountStreamer { .. }
            | Self::ChannelRefused { .. }
            | Self::Silence { .. }
            | Self::Closed { .. }
            | Self::ConnectionLost { .. }
            | Self::MessageTooLarge { .. } => Retry::Backoff,
        }
    }

    /// Whether only a person can help: no use in trying the next call.
    pub(crate) const fn needs_operator(&self) -> bool {
        matches!(self.retry(), Retry::Operator(_))
    }
}

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        Self::new(error.retry(), error)
    }
}

/// How it looks from here that a websocket could not be opened.
impl From<DialError> for Error {
    fn from(error: DialError) -> Self {
        match error {
            DialError::UserAgent => Self::configuration("user_agent", "cannot be sent as a header"),
            DialError::UntrustedPeer { host, source } => Self::UntrustedPeer { host, source },
            DialError::Failed { host, source } => Self::Dial { host, source },
            DialError::Timeout { after, .. } => Self::StepTimeout { step: "websocket", after },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_who_is_not_confirmed_is_told_to_be() {
        let unconfirmed = || "unconfirmed_user: please confirm".to_owned();
        for error in [
            Error::CredentialsRejected { reason: unconfirmed() },
            Error::AccessRefused { call: "x", reason: unconfirmed() },
            Error::Forbidden { call: "x", reason: unconfirmed() },
        ] {
            let text = error.to_string();
            assert!(text.ends_with("please confirm): confirm the e-mail address at tastytrade"), "{text}");
        }
        let text = Error::CredentialsRejected { reason: "invalid_grant".into() }.to_string();
        assert!(text.contains("(invalid_grant): create a new grant for the OAuth application at my"), "{text}");
    }

    #[test]
    fn each_fault_has_its_remedy() {
        let operator = Retry::Operator;
        let io = || Box::new(tungstenite::Error::ConnectionClosed);
        for (error, expected) in [
            (Error::configuration("api_url", "x"), operator(OperatorReason::Configuration)),
            (
                Error::UnknownAccount { missing: "··1".into(), known: "none".into() },
                operator(OperatorReason::Configuration),
            ),
            (Error::CredentialsRejected { reason: "x".into() }, operator(OperatorReason::CredentialsRejected)),
            (Error::AccessRefused { call: "x", reason: "x".into() }, operator(OperatorReason::CredentialsRejected)),
            (Error::Forbidden { call: "x", reason: "x".into() }, operator(OperatorReason::CredentialsRejected)),
            (Error::UntrustedStreamer { url: "x".into(), reason: "x" }, operator(OperatorReason::UntrustedPeer)),
            (
                Error::RateLimited { call: "x", retry_after: Some(Duration::from_secs(7)) },
                Retry::After(Duration::from_secs(7)),
            ),
            (Error::RateLimited { call: "x", retry_after: None }, Retry::Backoff),
            (Error::Status { call: "x", status: 502, reason: "x".into() }, Retry::Backoff),
            (Error::NoAccessToken { reason: "x".into() }, Retry::Backoff),
            (Error::BodyTooLarge { call: "x", limit: 1 }, Retry::Backoff),
            (Error::Dial { host: "x".into(), source: io() }, Retry::Backoff),
            (Error::StepTimeout { step: "SETUP", after: Duration::from_secs(1) }, Retry::Backoff),
            (Error::Unauthorized, Retry::Backoff),
            (Error::SessionNotFound, Retry::Backoff),
            (Error::Streamer { code: "TIMEOUT".into(), text: String::new() }, Retry::Backoff),
            (Error::AccountStreamer { action: "connect".into(), text: "failed".into() }, Retry::Backoff),
            (Error::ChannelRefused { times: 5 }, Retry::Backoff),
            (Error::Silence { after: Duration::from_secs(65) }, Retry::Backoff),
            (Error::Stalled { after: Duration::from_secs(56) }, Retry::Now),
            (Error::Closed { code: 1009, reason: String::new() }, Retry::Backoff),
            (Error::ConnectionLost { source: Some(io()) }, Retry::Backoff),
            (Error::MessageTooLarge { limit: 1 }, Retry::Backoff),
        ] {
            assert_eq!(error.retry(), expected, "{error}");
            assert_eq!(error.needs_operator(), matches!(expected, Retry::Operator(_)));
        }
    }
}
