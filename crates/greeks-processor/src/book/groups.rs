//! Lines that share something, with their sums.

use std::collections::HashMap;
use std::hash::Hash;

use super::sums::{Change, Sums};

/// The groups of one grouping; a group has a number for the life of the process.
#[derive(Debug)]
pub(super) struct Groups<K> {
    numbers: HashMap<K, usize>,
    all: Vec<Group<K>>,
}

/// The open lines with one key.
#[derive(Debug)]
pub(super) struct Group<K> {
    pub(super) key: K,
    open: u32,
    /// Only while it has lines: the names of what was once held are few bytes, sums are not.
    sums: Option<Box<Sums>>,
}

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), all: Vec::new() }
    }
}

impl<K: Clone + Eq + Hash> Groups<K> {
    /// The number of the group with `key`.
    pub(super) fn number(&mut self, key: &K) -> usize {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let number = self.all.len();
        self.all.push(Group { key: key.clone(), open: 0, sums: None });
        self.numbers.insert(key.clone(), number);
        number
    }

    pub(super) fn key(&self, number: usize) -> Option<&K> {
        self.all.get(number).map(|group| &group.key)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Every group in the order of numbers, empty ones too.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Group<K>> {
        self.all.iter()
    }

    /// A line of group `number` amounts to something else.
    pub(super) fn change(&mut self, number: usize, change: &Change) {
        if let Some(group) = self.all.get_mut(number) {
            group.change(change);
        }
    }
}

impl<K> Group<K> {
    /// The sums, unless the group is empty.
    pub(super) fn sums(&self) -> Option<&Sums> {
        self.sums.as_deref()
    }

    fn change(&mut self, change: &Change) {
        match (change.was_open, change.is_open) {
            (false, true) => self.open += 1,
            (true, false) => self.open -= 1,
            _ => {}
        }
        if self.open > 0 {
            self.sums.get_or_insert_default().apply(change);
        } else {
            self.sums = None;
        }
    }
}
