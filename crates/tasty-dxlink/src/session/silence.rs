//! Subscriptions that never answer. The protocol acknowledges nothing and reports no unknown symbol: silence is the only
//! sign of a wrong or unentitled one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::wire::SymbolId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    NotSubscribed,
    Awaited { since: Instant },
    Overdue,
    Received,
}

/// First events of subscribed options.
#[derive(Debug)]
pub(super) struct SilenceWatch {
    after: Duration,
    /// By [`SymbolId`].
    answers: Vec<(Option<SymbolId>, Answer)>,
    silent: usize,
    next_scan: Option<Instant>,
    news: Vec<SymbolId>,
    /// Never waited for.
    excused: BTreeSet<SymbolId>,
}

impl SilenceWatch {
    pub(super) const fn new(after: Duration) -> Self {
        Self { after, answers: Vec::new(), silent: 0, next_scan: None, news: Vec::new(), excused: BTreeSet::new() }
    }

    pub(super) fn subscribed(&mut self, symbol: Option<SymbolId>, now: Instant) {
        let Some(symbol) = symbol.filter(|symbol| !self.excused.contains(symbol)) else { return };
        if self.answers.len() <= symbol.index() {
            self.answers.resize(symbol.index() + 1, (None, Answer::NotSubscribed));
        }
        // One that is subscribed again stays silent until it answers.
        if self.answers.get(symbol.index()).is_some_and(|(_, answer)| *answer == Answer::Overdue) {
            return;
        }
        self.set(symbol, Answer::Awaited { since: now });
        let due = now + self.after;
        self.next_scan = Some(self.next_scan.map_or(due, |next| next.min(due)));
    }

    /// These alone are not waited for from now on.
    pub(super) fn excuse(&mut self, symbols: BTreeSet<SymbolId>) {
        self.forget(symbols.iter().copied());
        self.excused = symbols;
    }

    pub(super) fn forget(&mut self, symbols: impl IntoIterator<Item = SymbolId>) {
        for symbol in symbols {
            self.set(symbol, Answer::NotSubscribed);
        }
    }

    pub(super) fn answered(&mut self, symbol: SymbolId) {
        self.set(symbol, Answer::Received);
    }

    /// Finds the symbols whose time is up.
    pub(super) fn scan(&mut self, now: Instant) {
        if self.next_scan.is_none_or(|next| now < next) {
            return;
        }
        self.next_scan = None;
        for (symbol, answer) in &mut self.answers {
            let Answer::Awaited { since } = *answer else { continue };
            let due = since + self.after;
            if now >= due {
                *answer = Answer::Overdue;
                self.silent += 1;
                self.news.extend(*symbol);
            } else {
                self.next_scan = Some(self.next_scan.map_or(due, |next| next.min(due)));
            }
        }
    }

    pub(super) const fn next_scan(&self) -> Option<Instant> {
        self.next_scan
    }

    pub(super) const fn silent(&self) -> usize {
        self.silent
    }

    pub(super) fn take_news(&mut self) -> Vec<SymbolId> {
        std::mem::take(&mut self.news)
    }

    fn set(&mut self, symbol: SymbolId, next: Answer) {
        // Symbols never subscribed as options, underlyings for instance, are not watched.
        let Some((id, answer)) = self.answers.get_mut(symbol.index()) else { return };
        if *answer == Answer::NotSubscribed && next == Answer::Received {
            return;
        }
        if *answer == Answer::Overdue {
            self.silent -= 1;
        }
        *id = Some(symbol);
        *answer = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Role, Symbols};

    #[test]
    fn silence_is_found_once_and_ends_with_the_first_event() {
        let mut symbols = Symbols::default();
        let [a, b, c] = [".A", ".B", "C"].map(|text| symbols.intern(text, Role::Option));
        let start = Instant::now();
        let after = Duration::from_secs(30);
        let mut watch = SilenceWatch::new(after);
        watch.subscribed(Some(a), start);
        watch.subscribed(Some(b), start + Duration::from_secs(1));
        watch.answered(c);
        assert_eq!(watch.next_scan(), Some(start + after));
        watch.scan(start + after - Duration::from_millis(1));
        assert_eq!((watch.silent(), watch.take_news()), (0, vec![]));
        watch.scan(start + after);
        assert_eq!((watch.silent(), watch.take_news()), (1, vec![a]));
        watch.answered(b);
        watch.scan(start + after * 2);
        assert_eq!((watch.silent(), watch.take_news(), watch.next_scan()), (1, vec![], None));
        watch.subscribed(Some(a), start + after * 2);
        watch.scan(start + after * 4);
        assert_eq!(
            (watch.silent(), watch.take_news(), watch.next_scan()),
            (1, vec![], None),
            "again, and still silent"
        );
        watch.answered(a);
        assert_eq!(watch.silent(), 0);
        watch.subscribed(Some(a), start + after * 2);
        watch.scan(start + after * 3);
        assert_eq!((watch.silent(), watch.take_news()), (1, vec![a]));
        watch.forget([a]);
        assert_eq!(watch.silent(), 0);
    }
}
