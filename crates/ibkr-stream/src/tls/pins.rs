//! Where a pin is kept.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::Fingerprint;

/// Keeps the fingerprint of the one certificate that is trusted. Called within a handshake: quick, and rarely.
pub trait PinStore: fmt::Debug + Send + Sync {
    /// What was stored; `None` while nothing was.
    ///
    /// # Errors
    /// When that cannot be told. The connection is refused then: a pin may be there.
    fn load(&self) -> io::Result<Option<Fingerprint>>;

    /// Stores the first fingerprint. One that is there already, perhaps since a moment ago and by another process, stays:
    /// the error is [`io::ErrorKind::AlreadyExists`] then.
    ///
    /// # Errors
    /// When it was not stored. The connection is refused then: each one would be the first.
    fn store(&self, first: &Fingerprint) -> io::Result<()>;

    /// What a person has to do so that another certificate is accepted, such as `delete FILE`.
    fn remedy(&self) -> String;
}

/// Trusts the first certificate for as long as it lives itself.
#[derive(Debug, Default)]
pub struct MemoryPins(Mutex<Option<Fingerprint>>);

impl PinStore for MemoryPins {
    fn load(&self) -> io::Result<Option<Fingerprint>> {
        Ok(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn store(&self, first: &Fingerprint) -> io::Result<()> {
        let mut pin = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pin.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        *pin = Some(*first);
        Ok(())
    }

    fn remedy(&self) -> String {
        "start this program again".into()
    }
}
