//! The key of a certificate, and what it has signed.
//!
//! rustls reads certificates of X.509 version 3 only and refuses critical extensions that it does not know. Here only
//! the key matters, and which key that is cannot be disputed: the bytes around it are pinned. So it is read from any
//! version, past whatever else is in there.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
/// `[0]` in the certificate: its version, absent in those of version 1.
const VERSION: u8 = 0xa0;

/// The subjectPublicKeyInfo of a certificate (RFC 5280, section 4.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublicKey<'a> {
    /// All of it, as DER.
    info: &'a [u8],
    /// What is in its AlgorithmIdentifier.
    algorithm: &'a [u8],
    /// The key itself.
    bits: &'a [u8],
}

impl<'a> PublicKey<'a> {
    pub(super) fn of(certificate: &'a CertificateDer<'_>) -> Result<Self, Error> {
        read(certificate).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    #[cfg(test)]
    pub(super) const fn info(&self) -> &[u8] {
        self.info
    }

    /// Checks the signature of a TLS 1.2 handshake.
    pub(super) fn verify_tls12(
        &self,
        message: &[u8],
        signed: &DigitallySignedStruct,
        known: &WebPkiSupportedAlgorithms,
    ) -> Result<HandshakeSignatureValid, Error> {
        // rustls has no such function for a bare key. In TLS 1.2 a scheme does not settle the curve: the key does.
        let (_, candidates) = known
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let algorithm = candidates
            .iter()
            .find(|candidate| candidate.public_key_alg_id().as_ref() == self.algorithm)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        match algorithm.verify_signature(self.bits, message, signed.signature()) {
            Ok(()) => Ok(HandshakeSignatureValid::assertion()),
            Err(_) => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }

    /// Checks the signature of a TLS 1.3 handshake.
    pub(super) fn verify_tls13(
        &self,
        message: &[u8],
        signed: &DigitallySignedStruct,
        known: &WebPkiSupportedAlgorithms,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(self.info), signed, known)
    }
}

fn read(certificate: &[u8]) -> Option<PublicKey<'_>> {
    let mut signed = Der(Der(certificate).expect(SEQUENCE)?.content);
    let mut fields = Der(signed.expect(SEQUENCE)?.content);
    if fields.0.first() == Some(&VERSION) {
        fields.next()?;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for _ in 0..5 {
        fields.next()?;
    }
    let info = fields.expect(SEQUENCE)?;
    let mut parts = Der(info.content);
    let algorithm = parts.expect(SEQUENCE)?.content;
    // The first byte says how many bits of the last one do not count: none, in a key.
    let (0, bits) = parts.expect(BIT_STRING)?.content.split_first()? else { return None };
    parts.0.is_empty().then_some(PublicKey { info: info.whole, algorithm, bits })
}

/// Elements of DER (X.690), one after the other.
struct Der<'a>(&'a [u8]);

struct Element<'a> {
    tag: u8,
    whole: &'a [u8],
    content: &'a [u8],
}

impl<'a> Der<'a> {
    fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }

    fn next(&mut self) -> Option<Element<'a>> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk()?;
        let length = match first {
            0..=0x7f => usize::from(first),
            // The length takes more bytes: as many as this says. A certificate of 16 MiB is none.
            0x81..=0x83 => {
                let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = after;
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len() - after.len())?;
        self.0 = after;
        Some(Element { tag, whole, content })
    }
}
