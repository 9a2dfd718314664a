//! Why a certificate was not accepted.

use std::io;
use std::sync::Arc;

use rustls::{CertificateError, OtherError};

use super::Fingerprint;

/// A certificate was refused although the other side may well own its key.
///
/// Travels inside [`CertificateError::Other`], whose text it is. What to do comes before the fingerprints: a log may cut
/// the end.
#[derive(Debug, thiserror::Error)]
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
        source: io::Error,
    },
    /// The certificate would be trusted, but that cannot be remembered.
    #[error("it would be trusted from now on, but that cannot be stored ({source}); got sha256:{got}")]
    NotStored {
        /// What was presented.
        got: Fingerprint,
        /// The cause.
        source: io::Error,
    },
}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}
