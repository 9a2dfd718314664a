//! What a session is told.

use std::time::Duration;

/// The choices of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// No episode begins after this.
    pub time: Duration,
    /// How many at most.
    pub episodes: Option<u64>,
    /// Runs of each, when it is not drawn.
    pub runs: Option<usize>,
    /// Of the first.
    pub seed: u64,
    /// Seeds of episodes played before.
    pub known: Vec<u64>,
    /// At a time.
    pub lanes: usize,
    /// Events per second.
    pub rate: f64,
    /// Whether every point is met in turn first.
    pub sweep: bool,
    /// Whether every run is told.
    pub verbose: bool,
    /// More settings for greekd.
    pub environment: Vec<(String, String)>,
    /// It is enough when each of these faults was inflicted so often.
    pub wanted: Vec<(&'static str, u64)>,
}

impl Options {
    /// Ten minutes from this seed on.
    pub const fn new(seed: u64) -> Self {
        Self {
            time: Duration::from_secs(600),
            episodes: None,
            runs: None,
            seed,
            known: Vec::new(),
            lanes: 3,
            rate: 300.0,
            sweep: true,
            verbose: false,
            environment: Vec::new(),
            wanted: Vec::new(),
        }
    }
}
