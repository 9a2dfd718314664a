//! Minutes of the book that are stored say what their rows say.

use std::collections::BTreeMap;

use super::stored::MinuteFigures;
use super::{Breach, Stored, Verdict};

pub(super) fn as_their_rows(stored: &Stored, verdict: &mut Verdict) {
    let [read, recounted] = &stored.minutes;
    let mut recounted: BTreeMap<_, _> = recounted.iter().map(|(key, figures)| (key, figures)).collect();
    for (key, read) in read {
        match recounted.remove(key) {
            Some(rows) if alike(read, rows) => verdict.minutes += 1,
            rows => {
                verdict.add(Breach::Outdated, format!("{key:?} is {read:?}, by its rows {rows:?} or there already"))
            }
        }
    }
    for (key, rows) in recounted {
        verdict.add(Breach::Outdated, format!("{key:?} is missing, by its rows {rows:?}"));
    }
}

/// Sums may have been added up in another order.
fn alike(a: &MinuteFigures, b: &MinuteFigures) -> bool {
    let near = |(a, b): (&Option<f64>, &Option<f64>)| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
        (a, b) => a == b,
    };
    (a.1, a.2) == (b.1, b.2) && a.0.iter().zip(&b.0).all(near)
}
