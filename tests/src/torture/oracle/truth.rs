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
    for (run, accepted) in evidence.runs.iter().zip(&evidence.accepted) {
        for row in accepted.iter().flatten() {
            match by_key.get(&key(row)) {
                None => verdict.add(Breach::Lost, format!("run {} accepted {row}", run.number)),
                Some(found) if !found.contains(&&row.values) => {
                    let what = format!("run {} accepted {row}, stored is {:?}", run.number, found.first());
                    verdict.add(Breach::Changed, what);
                }
                Some(_) => {}
            }
        }
    }
}

/// The same row, received at the same moment, is there once.
pub(super) fn stored_once(stored: &Stored, verdict: &mut Verdict) {
    let mut times: HashMap<&Row, usize> = HashMap::new();
    for stored in &stored.rows {
        let seen = times.entry(&stored.row).or_default();
        *seen += 1;
        if *seen > 1 {
            verdict.add(Breach::Duplicated, stored.to_string());
        }
    }
}
