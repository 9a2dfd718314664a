//! Numbers: none twice, none beyond the mark, and in the order of acceptance.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{Breach, Evidence, Stored, Verdict};
use crate::torture::records::Row;

pub(super) fn numbers(evidence: &Evidence, stored: &Stored, verdict: &mut Verdict) {
    let marks: HashMap<i64, i64> = stored.marks.iter().map(|mark| (mark.stream, mark.last)).collect();
    let mut taken = HashSet::new();
    let others = stored.others.iter().map(|number| (*number, "another table"));
    let rows = stored.rows.iter().map(|row| ((row.stream, row.number), "greek_ticks"));
    for ((stream, number), table) in others.chain(rows) {
        if !taken.insert((stream, number)) {
            verdict.add(Breach::Numbered, format!("number {number} of stream {stream} is there twice"));
        }
        if number < 1 || marks.get(&stream).is_none_or(|mark| number > *mark) {
            let mark = marks.get(&stream);
            verdict.add(Breach::Numbered, format!("{table}: {number} of stream {stream} is beyond its mark {mark:?}"));
        }
    }
    in_order(evidence, stored, verdict);
}

/// A run may begin with the statement that the one before was killed, one for each source.
const SOURCES: i64 = 2;

/// What a run has accepted has the numbers 1, 2, 3 of one stream, or those behind what it begins with. Statements about
/// rows given up have numbers too, and are not in the ledger: with them it is the order that counts.
fn in_order(evidence: &Evidence, stored: &Stored, verdict: &mut Verdict) {
    let exact = stored.gaps.iter().all(|gap| gap.kind != "shed" && gap.reason != "corrupt");
    // The same row may have been accepted more than once; see `stored_once`.
    let mut places: HashMap<&Row, VecDeque<(i64, i64)>> = HashMap::new();
    for stored in &stored.rows {
        places.entry(&stored.row).or_default().push_back((stored.stream, stored.number));
    }
    for (run, accepted) in evidence.runs.iter().zip(&evidence.accepted) {
        let (mut before, mut ahead): (Option<(i64, i64)>, Option<i64>) = (None, None);
        for (ordinal, row) in (1_i64..).zip(accepted) {
            let place = row.as_ref().and_then(|row| places.get_mut(row)?.pop_front());
            let Some((stream, number)) = place else { continue };
            let follows = before.is_none_or(|(same, last)| same == stream && last < number);
            let ahead = *ahead.get_or_insert(number - ordinal);
            if !follows || (exact && (!(0..=SOURCES).contains(&ahead) || number != ordinal + ahead)) {
                let what = format!("run {}: record {ordinal} has number {number} of stream {stream}", run.number);
                verdict.add(Breach::Numbered, format!("{what}, before it was {before:?}"));
                // What follows is off by as much.
                break;
            }
            before = Some((stream, number));
        }
    }
}
