//! Of which underlyings the beta is to be asked, and when: of new ones soon, of all once a day.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use greeks_model::jiff::civil::Date;
use greeks_model::{Future, Reference, SourceEvent, UnixNanos};

use crate::Error;
use crate::rest::BetaRow;

/// A beta is computed anew each night.
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Betas are a convenience: an API that has trouble with them is left alone for a while.
const PAUSE: Duration = Duration::from_secs(600);
/// Underlyings in one question; what is left follows on the answer.
const AT_ONCE: usize = 100;

/// What is known of betas; it outlives a session.
#[derive(Debug, Default)]
pub(crate) struct Betas {
    held: BTreeSet<String>,
    /// When the API last answered for a symbol.
    answered: HashMap<String, Instant>,
    paused_until: Option<Instant>,
    asking: bool,
    /// Whether the trouble has been told.
    complained: bool,
    due: Option<Instant>,
}

impl Betas {
    /// The name under which the API knows the beta of an underlying: a future has that of its product.
    pub(crate) fn name(underlying: &str) -> String {
        if !underlying.starts_with('/') {
            return underlying.to_owned();
        }
        let future = Future::parse(underlying, Date::ZERO);
        future.map_or_else(|_| underlying.to_owned(), |future| format!("/{}", future.product()))
    }

    /// A session begins: what the last one asked is not answered any more.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.asking = false;
        self.plan(now);
    }

    /// These are the names of what is held now.
    pub(crate) fn hold(&mut self, held: BTreeSet<String>, now: Instant) {
        self.answered.retain(|name, _| held.contains(name));
        self.held = held;
        self.plan(now);
    }

    /// When [`Betas::ask`] has something to ask.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be asked now; the answer is awaited in [`Betas::answer`].
    pub(crate) fn ask(&mut self, now: Instant) -> Option<Vec<String>> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        let is_due = |name: &&String| self.answered.get(*name).is_none_or(|at| *at + AGAIN_AFTER <= now);
        let names: Vec<String> = self.held.iter().filter(is_due).take(AT_ONCE).cloned().collect();
        self.asking = !names.is_empty();
        self.plan(now);
        Some(names).filter(|names| !names.is_empty())
    }

    /// Takes the answer to a question; gives what follows from it.
    pub(crate) fn answer(
        &mut self,
        names: Vec<String>,
        result: Result<Vec<BetaRow>, Error>,
        received_at: UnixNanos,
        now: Instant,
    ) -> Vec<SourceEvent> {
        self.asking = false;
        let events = match result {
            Ok(rows) => {
                self.complained = false;
                self.paused_until = None;
                let events = rows.into_iter().filter(|row| names.contains(&row.symbol));
                let events = events.map(|row| reference(row, received_at)).collect();
                self.answered.extend(names.into_iter().map(|name| (name, now)));
                events
            }
            Err(error) => {
                let asked = match &error {
                    Error::RateLimited { retry_after: Some(after), .. } => *after,
                    _ => Duration::ZERO,
                };
                self.paused_until = Some(now + asked.max(PAUSE));
                let error = &error as &dyn std::error::Error;
                if std::mem::replace(&mut self.complained, true) {
                    tracing::debug!(error, "betas could not be read again");
                } else {
                    tracing::warn!(error, "betas could not be read; those known stay in use");
                }
                Vec::new()
            }
        };
        self.plan(now);
        events
    }

    fn plan(&mut self, now: Instant) {
        let of = |name: &String| self.answered.get(name).map_or(now, |at| *at + AGAIN_AFTER);
        let first = if self.asking { None } else { self.held.iter().map(of).min() };
        self.due = first.map(|first| self.paused_until.map_or(first, |until| first.max(until)));
    }
}

fn reference(row: BetaRow, received_at: UnixNanos) -> SourceEvent {
    let mut reference = Reference::new(row.symbol.into(), row.updated_at.unwrap_or(received_at));
    reference.beta = Some(row.beta.unwrap_or(f64::NAN));
    SourceEvent::Reference(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn row(symbol: &str, beta: Option<f64>) -> BetaRow {
        BetaRow { symbol: symbol.to_owned(), beta, updated_at: None }
    }

    #[test]
    fn futures_go_by_their_product() {
        for (underlying, name) in
            [("AAPL", "AAPL"), ("BRK/B", "BRK/B"), ("/ESZ26", "/ES"), ("/1EUZ26", "/1EU"), ("/", "/")]
        {
            assert_eq!(Betas::name(underlying), name);
        }
    }

    #[test]
    fn new_names_are_asked_at_once_and_all_after_a_day() {
        let (start, mut betas) = (Instant::now(), Betas::default());
        assert_eq!((betas.due(), betas.ask(start)), (None, None));
        betas.hold(names(&["AAPL", "SPX"]), start);
        assert_eq!(betas.ask(start), Some(vec!["AAPL".to_owned(), "SPX".to_owned()]));
        assert_eq!((betas.due(), betas.ask(start)), (None, None), "one question at a time");
        betas.hold(names(&["AAPL", "MSFT", "SPX"]), start);
        assert_eq!(betas.ask(start), None);

        let rows = vec![row("AAPL", Some(1.25)), row("SPX", None), row("TSLA", Some(2.0))];
        let at = UnixNanos::from_millis(5);
        let events = betas.answer(vec!["AAPL".to_owned(), "SPX".to_owned()], Ok(rows), at, start);
        let told: Vec<_> = events
            .iter()
            .map(|event| match event {
                SourceEvent::Reference(it) => (&*it.underlying, it.beta.map(f64::to_bits), it.price, it.as_of),
                other => panic!("{other:?}"),
            })
            .collect();
        let bits = |beta: f64| Some(beta.to_bits());
        assert_eq!(told, [("AAPL", bits(1.25), None, at), ("SPX", bits(f64::NAN), None, at)]);

        assert_eq!(betas.ask(start), Some(vec!["MSFT".to_owned()]));
        assert_eq!(betas.answer(vec!["MSFT".to_owned()], Ok(vec![]), at, start), []);
        assert_eq!(betas.due(), Some(start + AGAIN_AFTER));
        assert_eq!(betas.ask(start + AGAIN_AFTER).map(|names| names.len()), Some(3));
    }

    #[test]
    fn trouble_makes_a_pause_and_a_session_begins_anew() {
        let (start, mut betas) = (Instant::now(), Betas::default());
        betas.hold(names(&["AAPL"]), start);
        let limited = |seconds| Err(Error::RateLimited { call: "x", retry_after: Some(Duration::from_secs(seconds)) });
        for (result, pause) in [(limited(7), PAUSE), (limited(1_000), Duration::from_secs(1_000))] {
            let names = betas.ask(betas.due().unwrap()).unwrap();
            assert_eq!(betas.answer(names, result, UnixNanos::EPOCH, start), []);
            assert_eq!(betas.due(), Some(start + pause));
            assert_eq!(betas.ask(start), None);
        }
        let due = betas.due().unwrap();
        assert!(betas.ask(due).is_some());
        // The session ends with the question open.
        assert_eq!(betas.due(), None);
        betas.begin(due);
        assert!(betas.ask(due).is_some());
    }

    #[test]
    fn a_large_book_is_asked_in_parts() {
        let (start, mut betas) = (Instant::now(), Betas::default());
        betas.hold((0..250).map(|number| format!("A{number:03}")).collect(), start);
        let mut asked = Vec::new();
        while let Some(names) = betas.ask(start) {
            asked.push(names.len());
            betas.answer(names, Ok(vec![]), UnixNanos::EPOCH, start);
        }
        assert_eq!(asked, [100, 100, 50]);
    }
}
