//! Whom TLS trusts: the system's authorities, and a file of further ones where a setting names it.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::exit::{Code, Failure};

/// The provider used for every connection.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The authorities the system trusts. Unreadable entries are passed over: which are there is the system's affair.
pub(crate) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a system certificate cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

/// A client configuration that accepts whom these authorities vouch for.
pub(crate) fn client_config(roots: RootCertStore) -> Result<Arc<rustls::ClientConfig>, Failure> {
    let builder = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Failure::new(Code::Runtime, format!("cannot set up TLS: {error}")))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// The authorities in `file` alone.
pub(crate) fn file_roots(file: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    add_file(&mut roots, file)?;
    Ok(roots)
}

/// Adds the authorities in the file `path`.
pub(crate) fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), Failure> {
    let refuse = |what: String| {
        Failure::new(Code::Config, format!("the CA file {} {what}", path.display()))
            .remedy("give a PEM file with at least one certificate")
    };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refuse(format!("is not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| refuse(format!("holds a certificate that cannot be used: {error}")))?;
        count += 1;
    }
    if count == 0 { Err(refuse("holds no certificate".into())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_certificates_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, text).unwrap();
            let failure = file_roots(&path).unwrap_err();
            assert_eq!(failure.code(), Code::Config);
            assert!(failure.to_string().contains("ca.pem"));
        }
        assert!(file_roots(Path::new("/nonexistent")).is_err());
        assert!(client_config(system_roots()).is_ok());
    }
}
