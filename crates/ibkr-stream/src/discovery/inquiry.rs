//! Questions of one look about what contracts are.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;
use crate::rest::{ContractInfo, Definition, Rest};
use crate::wire::Conid;

/// After so many questions in a row without an answer a look asks no more: each may take as long as a call may.
const MOST_UNANSWERED: u32 = 3;

/// What became of a question.
#[derive(Debug)]
pub(super) enum Outcome<T> {
    Told(T),
    /// The gateway refuses just this question: it may do better without one of the contracts.
    Refused,
    /// There was an answer, and nothing in it.
    Untold,
    /// There may be an answer at the next look.
    NotNow,
}

/// Asks for a look. That a contract is not told now is no error: it must not keep the others from being streamed.
#[derive(Debug)]
pub(super) struct Inquiry<'a> {
    rest: &'a Rest,
    unanswered: AtomicU32,
}

impl<'a> Inquiry<'a> {
    pub(super) const fn new(rest: &'a Rest) -> Self {
        Self { rest, unanswered: AtomicU32::new(0) }
    }

    /// The definitions of up to [`MOST_DEFINITIONS`](crate::rest::MOST_DEFINITIONS) contracts.
    ///
    /// # Errors
    /// Those that all other calls would have too.
    pub(super) async fn definitions(&self, conids: &[Conid]) -> Result<Outcome<Vec<Definition>>, Error> {
        if self.is_over() {
            return Ok(Outcome::NotNow);
        }
        self.judge(self.rest.secdef(conids).await)
    }

    /// A contract with its exchange's names.
    ///
    /// # Errors
    /// As [`Inquiry::definitions`].
    pub(super) async fn info(&self, conid: Conid) -> Result<Outcome<ContractInfo>, Error> {
        if self.is_over() {
            return Ok(Outcome::NotNow);
        }
        self.judge(self.rest.contract_info(conid).await)
    }

    fn is_over(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) >= MOST_UNANSWERED
    }

    fn judge<T>(&self, answer: Result<T, Error>) -> Result<Outcome<T>, Error> {
        let outcome = match answer {
            Ok(told) => Outcome::Told(told),
            Err(Error::Status { status: 400..=500, .. }) => Outcome::Refused,
            Err(Error::Status { .. } | Error::Body { .. } | Error::BodyTooLarge { .. }) => Outcome::Untold,
            Err(error @ (Error::Transport { .. } | Error::Maintenance { .. })) => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "what contracts are is asked for again later"
                );
                return Ok(Outcome::NotNow);
            }
            Err(error) => return Err(error),
        };
        self.unanswered.store(0, Ordering::Relaxed);
        Ok(outcome)
    }
}
