//! Trust in a gateway whose certificate nobody has signed.
//!
//! The Client Portal gateway comes with one certificate for everybody: signed by itself, expired, and for another name.
//! No authority can vouch for it, so what is remembered is the certificate itself, as SSH does with a host's key. A name
//! and dates are not looked at. What counts is that the other side presents exactly this certificate and proves, by its
//! signature in the handshake, that it owns the key: whoever only copied the certificate is refused.

mod fingerprint;
mod key;
mod peer;
mod pins;
mod refusal;
#[cfg(test)]
mod tests;
mod verifier;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;

pub use fingerprint::{Fingerprint, InvalidFingerprint};
pub use peer::Peer;
pub use pins::{MemoryPins, PinStore};
pub use refusal::Refusal;

use verifier::{Expected, Verifier};

/// Trust on first use: whatever certificate is presented first is stored in `pins`, and no other is accepted later.
///
/// REST and websocket have to share the configuration (or at least `pins`): they speak to the same gateway.
///
/// ```
/// use std::sync::Arc;
/// use ibkr_stream::tls::{self, MemoryPins};
///
/// let provider = Arc::new(rustls::crypto::ring::default_provider());
/// let config = tls::pinned(provider, Arc::new(MemoryPins::default()))?;
/// # Ok::<(), rustls::Error>(())
/// ```
///
/// # Errors
/// When `provider` supports no version of TLS that rustls considers safe.
pub fn pinned(provider: Arc<CryptoProvider>, pins: Arc<dyn PinStore>) -> Result<ClientConfig, rustls::Error> {
    client_config(provider, Expected::Pin(pins))
}

/// Trust in the one certificate with this fingerprint.
///
/// # Errors
/// When `provider` supports no version of TLS that rustls considers safe.
pub fn fingerprint(provider: Arc<CryptoProvider>, expected: Fingerprint) -> Result<ClientConfig, rustls::Error> {
    client_config(provider, Expected::Fixed(expected))
}

fn client_config(provider: Arc<CryptoProvider>, expected: Expected) -> Result<ClientConfig, rustls::Error> {
    let verifier = Arc::new(Verifier::new(expected, provider.signature_verification_algorithms));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // A resumed session shows no certificate: a pin that was taken back would go on being trusted.
    config.resumption = Resumption::disabled();
    Ok(config)
}
