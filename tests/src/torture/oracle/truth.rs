//! Every accepted row is stored as it was accepted, and once.

use std::collections::HashMap;

use super::{Breach, Evidence, Stored, Verdict};
use crate::torture::records::{Row, Values};

/// All of a row but its values.
type Key<'a> = (&'a str, &'a str, &'a str, i64, i64);

fn key(row: &Row) -> Key<'_> {
    (&row.source, &row.account, &row.contract, row.event_time, row.received_at)
}

/// A row that was accepted and is nowhere is lost; one that is there with other values is changed.
pub(super) fn accepted_is_stored(evidence: &Evidence, stored: &Stored, verdict: &mut Verdict) {
    let mut by_key: HashMap<Key<'_>, Vec<&Values>> = HashMap::new();
    for stored in &stored.rows {
        by_key.entry(key(&stored.row)).or_default().push(&stored.row.values);
    }
    let mut missing = Vec::new();
    for (run, accepted) in evidence.runs.iter().zip(&evidence.accepted) {
        for row in accepted.iter().flatten() {
            let found = by_key.entry(key(row)).or_default();
            match found.iter().position(|values| **values == row.values) {
                // Taken away, for the same row may have been accepted once more.
                Some(at) => drop(found.swap_remove(at)),
                None => missing.push((run.number, row)),
            }
        }
    }
    // What is left stands for nothing that was accepted.
    for (run, row) in missing {
        match by_key.get_mut(&key(row)).and_then(Vec::pop) {
            None => verdict.add(Breach::Lost, format!("run {run} accepted {row}")),
            Some(other) => verdict.add(Breach::Changed, format!("run {run} accepted {row}, stored is {other:?}")),
        }
    }
}

/// The same row, received at the same moment, is there once. A broker that is behind may send the same values at the same
/// time twice, with others between them: then twice is right.
pub(super) fn stored_once(evidence: &Evidence, stored: &Stored, verdict: &mut Verdict) {
    let mut accepted: HashMap<&Row, usize> = HashMap::new();
    for row in evidence.accepted.iter().flatten().flatten() {
        *accepted.entry(row).or_default() += 1;
    }
    let mut times: HashMap<&Row, usize> = HashMap::new();
    for stored in &stored.rows {
        let seen = times.entry(&stored.row).or_default();
        *seen += 1;
        if *seen > accepted.get(&stored.row).copied().unwrap_or(1) {
            verdict.add(Breach::Duplicated, stored.to_string());
        }
    }
}
