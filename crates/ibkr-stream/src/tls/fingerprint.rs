//! A certificate's fingerprint.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::pki_types::CertificateDer;

/// SHA-256 of a certificate as it is sent (DER). Shown as 64 lower-case hexadecimal digits; read with or without colons,
/// in either case, as browsers and `openssl x509 -fingerprint -sha256` write it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; SHA256_OUTPUT_LEN]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        // Of one length, always.
        bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// What should be a fingerprint is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 fingerprint has 64 hexadecimal digits, with or without colons between pairs")]
pub struct InvalidFingerprint;

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Vec<u8> = text
            .trim()
            .chars()
            .filter(|&character| character != ':')
            .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
            .collect::<Option<_>>()
            .ok_or(InvalidFingerprint)?;
        let (pairs, []) = digits.as_chunks::<2>() else { return Err(InvalidFingerprint) };
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        bytes.try_into().map(Self).map_err(|_| InvalidFingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf abc | sha256sum`
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn is_the_sha_256_of_the_bytes() {
        assert_eq!(Fingerprint::of(&CertificateDer::from(b"abc".as_slice())).to_string(), ABC);
    }

    #[test]
    fn is_read_as_it_is_written_by_other_programs() {
        let expected: Fingerprint = ABC.parse().unwrap();
        let upper = ABC.to_uppercase();
        let pairs: Vec<&str> = upper.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap()).collect();
        for text in [upper.clone(), pairs.join(":"), format!(" {ABC}\n")] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert_eq!(expected.to_string(), ABC);
        assert_eq!(format!("{expected:?}"), format!("Fingerprint({ABC})"));
    }

    #[test]
    fn anything_else_is_refused() {
        let digits = |count: usize| "a".repeat(count);
        let signed = format!("+{}", digits(63));
        let wide = ABC.replace('a', "\u{ff41}");
        for text in
            ["", ":", &digits(62), &digits(63), &digits(65), &digits(66), &ABC.replace('b', "g"), &wide, &signed]
        {
            assert_eq!(text.parse::<Fingerprint>(), Err(InvalidFingerprint), "{text}");
        }
    }
}
