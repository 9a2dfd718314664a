//! TLS to the database, with the meanings libpq gives to `sslmode`.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::database::SslMode;

/// The cryptography and the authorities to trust; the caller chooses both.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

impl TlsSettings {
    /// Trusts `roots`, for one those of the system.
    pub fn new(provider: Arc<CryptoProvider>, roots: RootCertStore) -> Self {
        Self { provider, roots: Arc::new(roots) }
    }

    /// Trusts the certificates of a PEM file (`sslrootcert`) and no others.
    ///
    /// # Errors
    /// [`TlsSetupError`] when the file cannot be read or holds no certificate.
    pub fn with_root_file(provider: Arc<CryptoProvider>, file: &Path) -> Result<Self, TlsSetupError> {
        let unreadable = |reason: String| TlsSetupError::RootFile { file: file.to_owned(), reason };
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(error.to_string()))? {
            let cert = cert.map_err(|error| unreadable(error.to_string()))?;
            roots.add(cert).map_err(|error| unreadable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unreadable("it holds no certificate".into()));
        }
        Ok(Self::new(provider, roots))
    }

    /// The connector for a mode.
    pub(crate) fn connector(&self, mode: SslMode) -> Result<MakeRustlsConnect, TlsSetupError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsSetupError::Provider)?;
        let check = match mode {
            SslMode::VerifyFull => {
                return Ok(MakeRustlsConnect::new(
                    builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth(),
                ));
            }
            SslMode::VerifyCa => Check::Authority(
                WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&self.provider))
                    .build()
                    .map_err(|error| TlsSetupError::Verifier(error.to_string()))?,
            ),
            SslMode::Disable | SslMode::Prefer | SslMode::Require => Check::Nothing,
        };
        let verifier = Arc::new(LenientVerifier { check, provider: Arc::clone(&self.provider) });
        Ok(MakeRustlsConnect::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
    }
}

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsSetupError {
    /// The file of root certificates is of no use.
    #[error("cannot use the root certificates in {}: {reason}", file.display())]
    RootFile {
        /// The file.
        file: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The cryptography given supports no version of TLS.
    #[error("the crypto provider cannot do TLS")]
    Provider(#[source] TlsError),
    /// No trusted authority.
    #[error("cannot verify certificates: {0}")]
    Verifier(String),
    /// TLS is asked for and nothing to do it with.
    #[error("the database asks for TLS, and this program was given no TLS settings")]
    NotConfigured,
}

/// What of the certificate is checked. That the peer holds its key is always checked.
#[derive(Debug)]
enum Check {
    Nothing,
    Authority(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct LenientVerifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for LenientVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Check::Authority(verifier) = &self.check else { return Ok(ServerCertVerified::assertion()) };
        match verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is compared last, once the chain has been found good.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
