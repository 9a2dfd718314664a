//! Waiting for something to become true, with a deadline instead of luck.

use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(20);

/// Asks again and again until `probe` gives a value.
///
/// # Panics
/// When `within` has passed; the message names `what`.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, within: Duration, mut probe: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < deadline, "gave up after {within:?} waiting until {what}");
        tokio::time::sleep(STEP).await;
    }
}
