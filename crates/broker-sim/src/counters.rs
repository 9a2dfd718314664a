//! Counters of a double, and a way to wait for them.

use std::time::Duration;

use tokio::sync::watch;

use crate::SimError;

/// Shared counters.
#[derive(Debug)]
pub(crate) struct Counters<T>(watch::Sender<T>);

impl<T: Copy + Default> Counters<T> {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(T::default()))
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut T)) {
        self.0.send_modify(change);
    }

    pub(crate) fn get(&self) -> T {
        *self.0.borrow()
    }

    pub(crate) async fn wait(&self, limit: Duration, condition: impl FnMut(&T) -> bool) -> Result<T, SimError> {
        let mut receiver = self.0.subscribe();
        match tokio::time::timeout(limit, receiver.wait_for(condition)).await {
            Ok(Ok(stats)) => Ok(*stats),
            Ok(Err(_)) => Err(SimError::Stopped),
            Err(_) => Err(SimError::Timeout(limit)),
        }
    }
}
