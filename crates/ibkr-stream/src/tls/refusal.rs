//! Why a certificate was not accepted.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use broker_net::tls::chain;
use rustls::{CertificateError, OtherError};

use super::Fingerprint;

/// A certificate was refused although the other side may well own its key.
///
/// Travels inside [`CertificateError::Other`], which shows it in its `Debug` form only: [`Refusal::within`] finds it. What
/// to do comes before the fingerprints: a log may cut the end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another certificate was trusted on first use.
    #[error(
        "it is not the one trusted so far; if the gateway was given another one on purpose, {remedy}; \
         expected sha256:{expected}, got sha256:{got}"
    )]
    Changed {
        /// What was trusted.
        expected: Fingerprint,
        /// What was presented.
        got: Fingerprint,
        /// What a person can do.
        remedy: String,
    },
    /// The configuration names another certificate.
    #[error("it is not the configured one; if it is the gateway's, set sha256:{got}; expected sha256:{expected}")]
    NotConfigured {
        /// What was configured.
        expected: Fingerprint,
        /// What was presented.
        got: Fingerprint,
    },
    /// It is not known whether a certificate was trusted before.
    #[error("the one trusted so far cannot be read ({source}): {remedy}; got sha256:{got}")]
    Unreadable {
        /// What was presented.
        got: Fingerprint,
        /// What a person can do.
        remedy: String,
        /// The cause.
        source: Arc<io::Error>,
    },
    /// The certificate would be trusted, but that cannot be remembered.
    #[error("it would be trusted from now on, but that cannot be stored ({source}); got sha256:{got}")]
    NotStored {
        /// What was presented.
        got: Fingerprint,
        /// The cause.
        source: Arc<io::Error>,
    },
}

impl Refusal {
    /// The refusal that made a call or a dial fail, somewhere among the causes of its error.
    #[must_use]
    pub fn within(error: &(dyn StdError + 'static)) -> Option<Self> {
        chain(error).find_map(|error| match error.downcast_ref()? {
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref().cloned(),
            _ => None,
        })
    }
}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}
