//! What can go wrong, and what to do about it.

use std::error::Error as StdError;
use std::time::Duration;

use greeks_model::{OperatorReason, Retry, SourceError};
use tokio_tungstenite::tungstenite;

use crate::tls::Refusal;

/// A failure of this source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot work.
    #[error("setting {setting} {reason}")]
    Configuration {
        /// The field of [`IbkrConfig`](crate::IbkrConfig).
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client could not be built from the given TLS configuration.
    #[error("cannot build the HTTP client")]
    Client {
        /// The cause.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Nothing listens where the gateway should.
    #[error("no Client Portal gateway answers at {gateway}: start it (bin/run.sh root/conf.yaml)")]
    NotRunning {
        /// Scheme, host and port.
        gateway: String,
        /// The cause.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The gateway runs, but nobody is logged in.
    #[error("nobody is logged in at the gateway: log in at {gateway} with a browser on the gateway's machine")]
    LoginRequired {
        /// Where to log in.
        gateway: String,
    },
    /// Another login of the same user holds the one brokerage session.
    #[error(
        "the brokerage session is in use by another login of this user ({reason}): close it there, give greekd a second \
         username, or allow it to take the session over (IBKR_COMPETE=on)"
    )]
    Competing {
        /// What the gateway said.
        reason: String,
    },
    /// Somebody is logged in, but IBKR opens no brokerage session.
    #[error("the gateway opens no brokerage session ({reason}); trying again")]
    NoBrokerageSession {
        /// What the gateway said.
        reason: String,
    },
    /// IBKR is down for its nightly reset or weekend maintenance.
    #[error("IBKR is not available now ({call}: status {status}), as in its nightly reset and weekend maintenance")]
    Maintenance {
        /// What was asked.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// How long nothing is asked.
        pause: Duration,
    },
    /// The gateway does not accept calls from this address.
    #[error("the gateway refuses {call} ({reason}): add this machine to ips.allow in its conf.yaml")]
    Forbidden {
        /// What was asked.
        call: &'static str,
        /// What the gateway said.
        reason: String,
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
    /// The login has no account, as happens for a moment after it.
    #[error("the gateway tells of no account of this login; asking again")]
    NoAccounts,
    /// No account of the configuration is among the user's accounts.
    #[error("account(s) {missing} are not among the accounts of this login ({known}): check the list of accounts")]
    UnknownAccount {
        /// The configured accounts, masked.
        missing: String,
        /// The accounts there are, masked.
        known: String,
    },
    /// The gateway asks for patience.
    #[error("the gateway limits the rate of {call}; nothing is asked for {pause:?}")]
    RateLimited {
        /// What was asked.
        call: &'static str,
        /// How long nothing is asked.
        pause: Duration,
    },
    /// The gateway answered with a status that is no success.
    #[error("{call} failed with status {status} ({reason})")]
    Status {
        /// What was asked.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// What the gateway said.
        reason: String,
    },
    /// The gateway did not answer in time, or the connection broke.
    #[error("{call} got no answer")]
    Transport {
        /// What was asked.
        call: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The gateway's answer was larger than any real one.
    #[error("the answer to {call} is larger than {limit} bytes")]
    BodyTooLarge {
        /// What was asked.
        call: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The gateway's answer was not what it documents.
    #[error("the answer to {call} cannot be read")]
    Body {
        /// What was asked.
        call: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The pages of an account's positions never ended.
    #[error("the positions of account {account} have more than {pages} pages")]
    EndlessPages {
        /// The account, masked.
        account: String,
        /// How many were read.
        pages: usize,
    },
    /// The websocket could not be opened.
    #[error("cannot open the websocket to {host}")]
    Dial {
        /// Who was dialled.
        host: String,
        /// The cause.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A step of the session took too long.
    #[error("no {step} within {after:?}")]
    StepTimeout {
        /// What was waited for.
        step: &'static str,
        /// How long.
        after: Duration,
    },
    /// The websocket said that its session is not, or no longer, authenticated.
    #[error("the gateway lost the brokerage session")]
    Unauthenticated,
    /// No frame came for too long.
    #[error("the gateway was silent for {after:?}")]
    Silence {
        /// How long.
        after: Duration,
    },
    /// The gateway is alive and gives no data any more, although it was asked again.
    #[error("no contract had any data for {after:?}, although all were subscribed again")]
    Stalled {
        /// How long.
        after: Duration,
    },
    /// The gateway closed the connection.
    #[error("the gateway closed the connection with code {code} ({reason})")]
    Closed {
        /// The close code; 1005 when there was none.
        code: u16,
        /// Its words.
        reason: String,
    },
    /// The connection broke, or carried something that is no websocket frame.
    #[error("the connection to the gateway broke")]
    ConnectionLost {
        /// The cause, when there is one.
        #[source]
        source: Option<Box<tungstenite::Error>>,
    },
    /// The gateway sent a message larger than the limit.
    #[error("the gateway sent a message of more than {limit} bytes")]
    MessageTooLarge {
        /// The limit.
        limit: usize,
    },
}

impl Error {
    pub(crate) fn configuration(setting: &'static str, reason: impl Into<String>) -> Self {
        Self::Configuration { setting, reason: reason.into() }
    }

    /// For a dial or a call that failed because of a certificate. What our own verifier said comes without the layers
    /// around it, which would show it in a form for programmers.
    pub(crate) fn untrusted(host: String, source: Box<dyn StdError + Send + Sync>) -> Self {
        match Refusal::within(&*source) {
            Some(refusal) => Self::UntrustedPeer { host, source: Box::new(refusal) },
            None => Self::UntrustedPeer { host, source },
        }
    }

    /// When a new session makes sense.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Configuration { .. } | Self::Client { .. } | Self::UnknownAccount { .. } | Self::Forbidden { .. } => {
                Retry::Operator(OperatorReason::Configuration)
            }
            Self::LoginRequired { .. } => Retry::Operator(OperatorReason::LoginRequired),
            Self::Competing { .. } => Retry::Operator(OperatorReason::SessionTaken),
            Self::UntrustedPeer { .. } => Retry::Operator(OperatorReason::UntrustedPeer),
            Self::Maintenance { pause, .. } | Self::RateLimited { pause, .. } => Retry::After(*pause),
            // The frame that the library rejected is gone; the REST side tells what became of the session.
            Self::Unauthenticated | Self::ConnectionLost { .. } | Self::Stalled { .. } => Retry::Now,
            Self::NotRunning { .. }
            | Self::NoBrokerageSession { .. }
            | Self::NoAccounts
            | Self::Status { .. }
            | Self::Transport { .. }
            | Self::BodyTooLarge { .. }
            | Self::Body { .. }
            | Self::EndlessPages { .. }
            | Self::Dial { .. }
            | Self::StepTimeout { .. }
            | Self::Silence { .. }
            | Self::Closed { .. }
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
