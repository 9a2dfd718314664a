//! What a live book is told beforehand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::calendar::MarketCalendar;

/// What a live book is told beforehand.
#[derive(Clone, Debug)]
pub struct BookConfig {
    /// What deltas are weighted against; `SPY` unless set.
    pub benchmark: Arc<str>,
    /// The benchmark's price in money per share, used only while nobody has told a better one.
    pub benchmark_price: Option<f64>,
    /// Betas by underlying, before those of sources. A future is looked up by its own symbol `/ESZ26`, then by its
    /// product `/ES`. What is not finite is passed over.
    pub betas: HashMap<Arc<str>, f64>,
    /// When markets are open.
    pub calendar: MarketCalendar,
    /// For how long a line may be without a row while its market is open; 5 minutes unless set.
    pub stale_after: Duration,
    /// How many closed lines are remembered; 10,000 unless set.
    pub closed_lines: usize,
}

impl Default for BookConfig {
    fn default() -> Self {
        Self {
            benchmark: "SPY".into(),
            benchmark_price: None,
            betas: HashMap::new(),
            calendar: MarketCalendar::default(),
            stale_after: Duration::from_secs(300),
            closed_lines: 10_000,
        }
    }
}
