//! Access tokens that the API refuses although the token service has just given them out.
//!
//! That says nothing of the credentials, which the token service has accepted. Most often it is one call or one account
//! that is in trouble, or the API for a moment.

use std::time::Duration;

use tokio::time::Instant;

/// Until another token is tried.
const PAUSE: Duration = Duration::from_secs(30);

/// What has been refused lately.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    last: Option<Instant>,
    /// Fresh tokens refused since a call succeeded.
    in_a_row: u32,
}

impl Refusals {
    /// Whether a call that was refused may try again with a token minted for it.
    pub(super) fn may_renew(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now >= last + PAUSE)
    }

    /// A call succeeded.
    pub(super) const fn accepted(&mut self) {
        self.in_a_row = 0;
    }

    /// A token was refused that was fresh, or not worth replacing. Whether that is how it will stay: another one, minted
    /// long after the first, fared no better. Calls that run side by side are refused the same token, which counts once.
    pub(super) fn refused(&mut self, now: Instant) -> bool {
        if self.may_renew(now) {
            self.in_a_row = self.in_a_row.saturating_add(1);
            self.last = Some(now);
        }
        self.in_a_row > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tokens_long_apart_have_to_be_refused() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut refusals = Refusals::default();
        assert!(refusals.may_renew(at(0)));
        // Four calls at once, and others soon after.
        for second in [0, 0, 0, 0, 10, 29] {
            assert!(!refusals.refused(at(second)), "{second}");
            assert!(!refusals.may_renew(at(second)));
        }
        assert!(refusals.may_renew(at(30)));
        assert!(refusals.refused(at(30)) && refusals.refused(at(31)) && !refusals.may_renew(at(31)));
        refusals.accepted();
        assert!(!refusals.may_renew(at(59)), "one account may be refused beside another that is not");
        assert!(!refusals.refused(at(60)));
    }
}
