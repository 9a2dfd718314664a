//! Tells in the log whether sources stream, and with which fault. That a session has ended is told where it ends.

use std::collections::HashMap;

use greeks_model::SourceId;

/// The name of a state, and what an operator should know of it.
type State = (&'static str, Option<String>);

/// What was seen last, and what was told last.
#[derive(Debug, Default)]
pub(crate) struct Watch(HashMap<SourceId, Seen>);

#[derive(Debug, Default)]
struct Seen {
    last: State,
    told: State,
}

impl Watch {
    /// Logs what has changed, once it is the same at two looks: counts grow for a while when a stream begins.
    pub(crate) fn look(&mut self, sources: Vec<(SourceId, &'static str, Option<String>)>) {
        for (source, name, reason) in sources {
            let seen = self.0.entry(source.clone()).or_default();
            match seen.news((name, reason)) {
                Some(("degraded", Some(reason))) => {
                    tracing::warn!(%source, state = "degraded", reason, "streams, with a fault");
                }
                Some(("connected", _)) => tracing::info!(%source, state = "connected", "streams"),
                _ => {}
            }
        }
    }
}

impl Seen {
    /// The state if it has settled and was not told.
    fn news(&mut self, state: State) -> Option<&State> {
        let settled = self.last == state;
        self.last = state;
        if !settled || self.told == self.last {
            return None;
        }
        self.told = self.last.clone();
        Some(&self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(seen: &mut Seen, name: &'static str, reason: &str) -> bool {
        let reason = (!reason.is_empty()).then(|| reason.to_owned());
        seen.news((name, reason.clone())) == Some(&(name, reason))
    }

    #[test]
    fn what_has_settled_is_told_once() {
        let mut seen = Seen::default();
        let looks = [
            ("connecting", "", false),
            ("connected", "", false),
            ("connected", "", true),
            ("connected", "", false),
            ("degraded", "1 is silent", false),
            ("degraded", "2 are silent", false),
            ("degraded", "2 are silent", true),
            ("degraded", "2 are silent", false),
            // A moment's relief is none.
            ("connected", "", false),
            ("degraded", "2 are silent", false),
            ("degraded", "2 are silent", false),
            ("disconnected", "gone", false),
            ("disconnected", "gone", true),
            ("connecting", "", false),
            ("degraded", "2 are silent", false),
            ("degraded", "2 are silent", true),
        ];
        for (step, (name, reason, expected)) in looks.into_iter().enumerate() {
            assert_eq!(news(&mut seen, name, reason), expected, "step {step}");
        }
    }
}
