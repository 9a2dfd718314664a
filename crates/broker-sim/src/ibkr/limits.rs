//! Rate limits, and the penalty box for those who break them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::config::IbkrProtocol;

/// A client that keeps to a limit by its own clock may be early by this part of the window here.
const TOLERANCE: f64 = 0.9;

/// A call that was on its way when the box closed is no insolence.
const IN_FLIGHT: Duration = Duration::from_millis(500);

/// Groups of calls with a limit of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Limited {
    Everything,
    Tickle,
    Validate,
    PortfolioAccounts,
    SubAccounts,
    Snapshot,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// This limit was broken now.
    Broken(Limited),
    /// In the box since a moment.
    Boxed,
    /// Going on in the box.
    Insolent,
}

#[derive(Debug, Default)]
struct Seen {
    calls: HashMap<Limited, VecDeque<Instant>>,
    boxed: Option<(Instant, Instant)>,
}

/// Every limit of one gateway.
#[derive(Debug)]
pub(crate) struct Limits {
    protocol: IbkrProtocol,
    seen: Mutex<Seen>,
}

impl Limits {
    pub(crate) fn new(protocol: IbkrProtocol) -> Self {
        Self { protocol, seen: Mutex::default() }
    }

    /// Judges a call to `path`, behind `/v1/api`.
    pub(crate) fn judge(&self, path: &str, now: Instant) -> Verdict {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, until)) = seen.boxed {
            if now < until {
                return if now < since + IN_FLIGHT { Verdict::Boxed } else { Verdict::Insolent };
            }
            seen.boxed = None;
        }
        let groups = [Some(Limited::Everything), group(path)];
        for group in groups.into_iter().flatten() {
            let (count, window) = self.limit(group);
            let window = window.mul_f64(TOLERANCE);
            let calls = seen.calls.entry(group).or_default();
            while calls.front().is_some_and(|at| *at + window <= now) {
                calls.pop_front();
            }
            if calls.len() >= count {
                seen.calls.clear();
                seen.boxed = Some((now, now + self.protocol.penalty));
                return Verdict::Broken(group);
            }
            calls.push_back(now);
        }
        Verdict::Pass
    }

    /// Puts everybody into the box.
    pub(crate) fn punish(&self, length: Duration) {
        let now = Instant::now();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).boxed = Some((now, now + length));
    }

    pub(crate) fn pardon(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).boxed = None;
    }

    fn limit(&self, group: Limited) -> (usize, Duration) {
        let protocol = &self.protocol;
        match group {
            Limited::Everything => (protocol.rest_calls, protocol.second),
            Limited::Tickle => (1, protocol.second),
            Limited::Validate => (1, protocol.validate_every),
            Limited::PortfolioAccounts | Limited::SubAccounts => (1, protocol.accounts_every),
            Limited::Snapshot => (10, protocol.second),
        }
    }
}

fn group(path: &str) -> Option<Limited> {
    let path = path.split('?').next().unwrap_or_default();
    Some(match path {
        "/tickle" => Limited::Tickle,
        "/sso/validate" => Limited::Validate,
        "/portfolio/accounts" => Limited::PortfolioAccounts,
        "/portfolio/subaccounts" => Limited::SubAccounts,
        "/iserver/marketdata/snapshot" => Limited::Snapshot,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_closes_and_opens() {
        let limits = Limits::new(IbkrProtocol::default());
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for call in 0..10 {
            assert_eq!(limits.judge("/iserver/accounts", at(call)), Verdict::Pass);
        }
        assert_eq!(limits.judge("/iserver/accounts", at(899)), Verdict::Broken(Limited::Everything));
        assert_eq!(limits.judge("/tickle", at(1000)), Verdict::Boxed);
        assert_eq!(limits.judge("/tickle", at(2000)), Verdict::Insolent);
        assert_eq!(limits.judge("/tickle", at(600_900)), Verdict::Pass);
        assert_eq!(limits.judge("/tickle?x=1", at(601_700)), Verdict::Broken(Limited::Tickle));
        limits.pardon();
        assert_eq!(limits.judge("/portfolio/accounts", at(602_000)), Verdict::Pass);
        assert_eq!(limits.judge("/portfolio/accounts", at(606_600)), Verdict::Pass);
    }
}
