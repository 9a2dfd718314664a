//! What the database could not say at the start: which gaps earlier runs have left open.

use std::collections::BTreeSet;
use std::time::Duration;

use greeks_model::{GapRecord, UnixNanos};
use greeks_store::{DatabaseConfig, Queries, QueryError};

use crate::durable::DurableView;
use crate::exit::with_causes;
use crate::memory::{GapKey, key};

/// For one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two questions: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Asks again, once the database is there: nobody else would ever end those gaps.
#[derive(Debug)]
pub(crate) struct LateGaps {
    database: DatabaseConfig,
    /// Of these the journal has told: they are ended already, perhaps by a record on its way to the database, or will be.
    known: BTreeSet<GapKey>,
    /// What begins later is of this run.
    began: UnixNanos,
}

impl LateGaps {
    pub(crate) const fn new(database: DatabaseConfig, known: BTreeSet<GapKey>, began: UnixNanos) -> Self {
        Self { database, known, began }
    }

    /// Waits for the database and asks until it answers; gives what nobody here knew of.
    pub(crate) async fn gaps(&self, durable: &DurableView) -> Vec<GapRecord> {
        durable.taken_over().await;
        let mut again = AGAIN.0;
        loop {
            let error = match tokio::time::timeout(ANSWER, self.ask()).await {
                Ok(Ok(open)) => {
                    let gaps = self.unknown(open);
                    tracing::info!(
                        gaps = gaps.len(),
                        "the database was late: gaps that earlier runs left open are known now"
                    );
                    return gaps;
                }
                Ok(Err(error)) => with_causes(&error),
                Err(_) => "it does not answer".to_owned(),
            };
            tracing::warn!(error, again_in = ?again, "gaps that earlier runs left open are not known yet");
            tokio::time::sleep(again).await;
            again = (again * 2).min(AGAIN.1);
        }
    }

    async fn ask(&self) -> Result<Vec<GapRecord>, QueryError> {
        Queries::new(&self.database, 1)?.open_gaps().await
    }

    fn unknown(&self, mut open: Vec<GapRecord>) -> Vec<GapRecord> {
        open.retain(|gap| gap.from < self.began && !self.known.contains(&key(gap)));
        open
    }
}

#[cfg(test)]
mod tests {
    use greeks_model::GapReason;

    use super::*;
    use crate::memory::tests as memory;

    #[test]
    fn only_what_is_of_an_earlier_run_and_not_known_here_is_taken_over() {
        let gap = |broker, from| memory::gap(broker, from, None, GapReason::Stopped);
        let database = DatabaseConfig::parse("postgres://nobody@localhost/nowhere").unwrap();
        // The journal knows whole nanoseconds.
        let known = BTreeSet::from([key(&gap("a", 5_000_123))]);
        let late = LateGaps::new(database, known, UnixNanos::from_nanos(9_000_000));
        let open = vec![gap("a", 5_000_000), gap("b", 5_000_000), gap("a", 6_000_000), gap("a", 9_000_000)];
        assert_eq!(late.unknown(open), [gap("b", 5_000_000), gap("a", 6_000_000)]);
    }
}
