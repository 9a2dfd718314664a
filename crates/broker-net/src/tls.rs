//! What a failed handshake says.

use std::error::Error;

/// Whether a failed dial or call failed because the other side's certificate was not accepted.
#[must_use]
pub fn is_certificate_fault(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// Whether a failed dial or call failed because nothing listens at the address.
#[must_use]
pub fn is_refused(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        let io = error.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

/// An error and its causes.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        // An I/O error shows its cause only through `get_ref`, not through `source`.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio_tungstenite::tungstenite;

    use super::*;

    #[test]
    fn certificate_faults_are_found_under_other_errors() {
        let fault = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let io = io::Error::new(io::ErrorKind::InvalidData, fault);
        assert!(is_certificate_fault(&tungstenite::Error::Io(io)));
        let other = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert!(!is_certificate_fault(&tungstenite::Error::Io(other)));
    }

    #[test]
    fn refusals_are_found_under_other_errors() {
        let error = |kind| tungstenite::Error::Io(io::Error::other(io::Error::from(kind)));
        assert!(is_refused(&error(io::ErrorKind::ConnectionRefused)));
        assert!(!is_refused(&error(io::ErrorKind::ConnectionReset)));
    }
}
