//! What is subscribed on one channel: the only way it changes is the difference between wanted and sent.

use std::collections::{BTreeSet, VecDeque};

use crate::wire::{EventKind, SubscriptionChunk, SymbolId, Symbols};

/// One subscription.
pub(crate) type Item = (EventKind, SymbolId);

/// Room for the envelope of a subscription message beside its items.
const ENVELOPE_BYTES: usize = 96;
/// What an item takes beside its symbol: `{"type":"Greeks","symbol":""},` and quotes.
const ITEM_BYTES: usize = 34;

/// Limits of one subscription message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkLimits {
    pub(crate) bytes: usize,
    pub(crate) symbols: usize,
}

/// Wanted, sent, and the way from the one to the other.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    wanted: BTreeSet<Item>,
    sent: BTreeSet<Item>,
    /// Sent, and to be sent once more.
    again: BTreeSet<Item>,
    /// Wanted, and taken off for a moment.
    withheld: Option<Item>,
    remove: VecDeque<Item>,
    add: VecDeque<Item>,
}

impl Subscriptions {
    /// Replaces what is wanted.
    pub(crate) fn want(&mut self, wanted: BTreeSet<Item>) {
        self.wanted = wanted;
        self.plan();
    }

    /// The channel is gone and took its subscriptions along.
    pub(crate) fn forget_sent(&mut self) {
        self.sent.clear();
        self.again.clear();
        self.plan();
    }

    /// Sends these once more, as far as they are wanted.
    pub(crate) fn repeat(&mut self, items: impl IntoIterator<Item = Item>) {
        let before = self.again.len();
        self.again.extend(items);
        if self.again.len() > before {
            self.plan();
        }
    }

    /// Takes one subscription off until it is withheld no more.
    pub(crate) fn withhold(&mut self, item: Option<Item>) {
        if self.withheld != item {
            self.withheld = item;
            self.plan();
        }
    }

    fn plan(&mut self) {
        let withheld = self.withheld;
        let is_due = |item: &&Item| self.wanted.contains(*item) && withheld != Some(**item);
        self.remove = self.sent.iter().filter(|item| !is_due(item)).copied().collect();
        self.again.retain(|item| self.wanted.contains(item));
        let missing = |item: &&Item| !self.sent.contains(*item) || self.again.contains(*item);
        self.add = self.wanted.iter().filter(is_due).filter(missing).copied().collect();
    }

    pub(crate) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    pub(crate) fn wants(&self, item: Item) -> bool {
        self.wanted.contains(&item)
    }

    /// Whether anything is left to send.
    pub(crate) fn is_pending(&self) -> bool {
        !self.remove.is_empty() || !self.add.is_empty()
    }

    pub(crate) fn wanted_count(&self) -> usize {
        self.wanted.len()
    }

    pub(crate) fn sent(&self) -> &BTreeSet<Item> {
        &self.sent
    }

    /// The next message, removals first; `None` when wanted and sent are the same. Counts as sent from now on.
    pub(crate) fn next_chunk(&mut self, symbols: &Symbols, limits: ChunkLimits) -> Option<SubscriptionChunk> {
        let mut chunk = SubscriptionChunk::default();
        let mut bytes = ENVELOPE_BYTES;
        let mut room = |item: Item| {
            // Escaped characters take more room; a symbol is not expected to hold any.
            bytes += ITEM_BYTES + symbols.text(item.1).len();
            bytes <= limits.bytes
        };
        let mut taken = 0;
        let mut take = |queue: &mut VecDeque<Item>, into: &mut Vec<(EventKind, Box<str>)>| {
            let mut items = Vec::new();
            while let Some(item) = queue.front().copied() {
                // One item always goes out, however long: a limit must not stop the stream.
                if taken > 0 && (taken >= limits.symbols || !room(item)) {
                    break;
                }
                if taken == 0 {
                    room(item);
                }
                taken += 1;
                queue.pop_front();
                into.push((item.0, symbols.text(item.1).into()));
                items.push(item);
            }
            items
        };
        for item in take(&mut self.remove, &mut chunk.remove) {
            self.sent.remove(&item);
        }
        if self.remove.is_empty() {
            for item in take(&mut self.add, &mut chunk.add) {
                self.again.remove(&item);
                self.sent.insert(item);
            }
        }
        (taken > 0).then_some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Outgoing, Role};

    fn symbols(count: usize) -> (Symbols, Vec<Item>) {
        let mut symbols = Symbols::default();
        let items = (0..count)
            .map(|i| (EventKind::Greeks, symbols.intern(&format!(".SPXW261218C{i}"), Role::Option)))
            .collect();
        (symbols, items)
    }

    #[test]
    fn only_the_difference_is_sent() {
        let (symbols, items) = symbols(4);
        let limits = ChunkLimits { bytes: 8192, symbols: 500 };
        let mut subscriptions = Subscriptions::default();
        subscriptions.want(items[..3].iter().copied().collect());
        let first = subscriptions.next_chunk(&symbols, limits).unwrap();
        assert_eq!((first.add.len(), first.remove.len()), (3, 0));
        assert_eq!(subscriptions.next_chunk(&symbols, limits), None);
        subscriptions.want(items[1..].iter().copied().collect());
        let second = subscriptions.next_chunk(&symbols, limits).unwrap();
        assert_eq!(second.remove, [(EventKind::Greeks, ".SPXW261218C0".into())]);
        assert_eq!(second.add, [(EventKind::Greeks, ".SPXW261218C3".into())]);
        subscriptions.want(items[1..].iter().copied().collect());
        assert_eq!(subscriptions.next_chunk(&symbols, limits), None);
        subscriptions.repeat(items[..2].iter().copied());
        subscriptions.want(items[1..].iter().copied().collect());
        let again = subscriptions.next_chunk(&symbols, limits).unwrap();
        assert_eq!(
            (again.remove.len(), again.add),
            (0, vec![(EventKind::Greeks, ".SPXW261218C1".into())]),
            "as wanted"
        );
        assert_eq!(subscriptions.next_chunk(&symbols, limits), None, "once");
        subscriptions.repeat(items[1..2].iter().copied());
        subscriptions.want(items[2..].iter().copied().collect());
        assert_eq!(subscriptions.next_chunk(&symbols, limits).unwrap().remove.len(), 1, "it may be active");
        subscriptions.want(items[1..].iter().copied().collect());
        assert_eq!(subscriptions.next_chunk(&symbols, limits).unwrap().add.len(), 1);
        subscriptions.forget_sent();
        assert_eq!(subscriptions.next_chunk(&symbols, limits).unwrap().add.len(), 3);
    }

    proptest! {
        #[test]
        fn chunks_keep_their_limits_and_reach_what_is_wanted(
            first in proptest::collection::btree_set(0usize..60, 0..60),
            second in proptest::collection::btree_set(0usize..60, 0..60),
            bytes in 1usize..600, count in 1usize..20,
        ) {
            let (symbols, items) = symbols(60);
            let limits = ChunkLimits { bytes, symbols: count };
            let mut subscriptions = Subscriptions::default();
            for wanted in [first, second] {
                let wanted: BTreeSet<Item> = wanted.into_iter().map(|i| items[i]).collect();
                subscriptions.want(wanted.clone());
                while let Some(chunk) = subscriptions.next_chunk(&symbols, limits) {
                    let total = chunk.add.len() + chunk.remove.len();
                    let text = Outgoing::FeedSubscription { channel: 1, chunk: &chunk }.to_text();
                    prop_assert!(total >= 1 && total <= count);
                    prop_assert!(total == 1 || text.len() <= bytes, "{} > {bytes}", text.len());
                }
                prop_assert!(!subscriptions.is_pending());
                prop_assert_eq!(subscriptions.sent(), &wanted);
            }
        }
    }
}
