//! The verifier that rustls asks.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::key::PublicKey;
use super::{Fingerprint, PinStore, Refusal};

/// Which certificate is accepted.
#[derive(Debug)]
pub(super) enum Expected {
    /// The first one, and then that one.
    Pin(Arc<dyn PinStore>),
    /// This one.
    Fixed(Fingerprint),
}

/// Accepts one certificate, whatever its name and dates, from whoever owns its key.
#[derive(Debug)]
pub(super) struct Verifier {
    expected: Expected,
    algorithms: WebPkiSupportedAlgorithms,
    /// Held while it is decided what is trusted: of two first connections one is the first.
    deciding: Mutex<()>,
}

/// How a certificate stands to what is expected.
#[derive(PartialEq, Eq)]
enum Standing {
    Trusted,
    /// None was trusted before.
    First,
}

impl Verifier {
    pub(super) fn new(expected: Expected, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { expected, algorithms, deciding: Mutex::new(()) }
    }

    fn compare(&self, got: Fingerprint) -> Result<Standing, Refusal> {
        match &self.expected {
            Expected::Fixed(expected) if *expected == got => Ok(Standing::Trusted),
            Expected::Fixed(expected) => Err(Refusal::NotConfigured { expected: *expected, got }),
            Expected::Pin(pins) => match pins.load() {
                Ok(None) => Ok(Standing::First),
                Ok(Some(expected)) if expected == got => Ok(Standing::Trusted),
                Ok(Some(expected)) => Err(Refusal::Changed { expected, got, remedy: pins.remedy() }),
                Err(error) => Err(Refusal::Unreadable { got, remedy: pins.remedy(), source: Arc::new(error) }),
            },
        }
    }

    /// Trusts a certificate whose owner has signed the handshake, if it is the first one or the one that was.
    fn trust(&self, got: Fingerprint) -> Result<(), Refusal> {
        let _deciding = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        let Expected::Pin(pins) = &self.expected else { return self.compare(got).map(drop) };
        if self.compare(got)? == Standing::Trusted {
            return Ok(());
        }
        match pins.store(&got) {
            Ok(()) => {
                tracing::info!(
                    sha256 = %got,
                    otherwise = pins.remedy(),
                    "the gateway's certificate is trusted from now on: this is its first use"
                );
                Ok(())
            }
            // Another process was faster: its certificate counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.compare(got)? == Standing::Trusted => {
                Ok(())
            }
            Err(error) => Err(Refusal::NotStored { got, source: Arc::new(error) }),
        }
    }
}

impl ServerCertVerifier for Verifier {
    /// Whether the certificate is the expected one. That the other side owns it is seen at its signature only.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.compare(Fingerprint::of(end_entity))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = PublicKey::of(cert)?.verify_tls12(message, dss, &self.algorithms)?;
        self.trust(Fingerprint::of(cert))?;
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = PublicKey::of(cert)?.verify_tls13(message, dss, &self.algorithms)?;
        self.trust(Fingerprint::of(cert))?;
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
