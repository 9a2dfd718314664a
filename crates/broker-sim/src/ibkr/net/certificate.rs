//! A certificate like the one the gateway comes with: self-signed, long expired, for another name.

use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};
use ring::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::SimError;

/// A certificate and its key, ready to serve.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) config: Arc<ServerConfig>,
    /// SHA-256 of the DER, in small hexadecimal digits.
    pub(crate) fingerprint: String,
    pub(crate) pem: String,
}

impl Certificate {
    pub(crate) fn make() -> Result<Self, SimError> {
        let refuse = |error: &dyn std::error::Error| SimError::Config(format!("no certificate: {error}"));
        let key = KeyPair::generate().map_err(|error| refuse(&error))?;
        let mut params =
            CertificateParams::new(vec!["gateway.simulated.invalid".to_owned()]).map_err(|error| refuse(&error))?;
        params.not_before = date_time_ymd(2013, 3, 1);
        params.not_after = date_time_ymd(2018, 3, 1);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "gateway.simulated.invalid");
        let made = params.self_signed(&key).map_err(|error| refuse(&error))?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![made.der().clone()], private))
            .map_err(|error| refuse(&error))?;
        let fingerprint = digest(&SHA256, made.der()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { config: Arc::new(config), fingerprint, pem: made.pem() })
    }
}
