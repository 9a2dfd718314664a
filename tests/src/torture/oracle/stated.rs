//! Every stored row was sent, and what was sent and is not stored lies within a gap that says so.

use std::collections::{BTreeMap, BTreeSet};

use super::{Breach, Evidence, Stored, StoredRow, Verdict};
use crate::expected::{self, Line};
use crate::torture::records::End;

/// The broker whose double this is.
const SOURCE: &str = "tastytrade";

/// When the rows of an entry were received, as far as they are stored.
type Received = BTreeMap<usize, i64>;

pub(super) fn sent_or_stated(evidence: &Evidence, stored: &Stored, verdict: &mut Verdict) {
    let sent = expected::from_entries(&evidence.sent.entries, &evidence.sent.holders);
    let mut lines: BTreeMap<Line, Vec<&StoredRow>> = BTreeMap::new();
    for row in stored.rows.iter().filter(|stored| stored.row.source == SOURCE) {
        lines.entry((row.row.account.clone(), row.row.contract.clone())).or_default().push(row);
    }
    let (mut received, mut missing) = (Received::new(), BTreeSet::new());
    for (line, rows) in &sent {
        let have = lines.remove(line).unwrap_or_default();
        compare(rows, &have, evidence, verdict, &mut received, &mut missing);
    }
    for row in lines.into_values().flatten() {
        verdict.add(Breach::Invented, format!("nobody holds this: {row}"));
    }
    for at in missing {
        let after = received.range(..at).next_back().map(|(_, at)| *at);
        let before = received.range(at..).next().map(|(_, at)| *at);
        // Before the first row of all nothing is promised.
        match after {
            Some(after) if !is_stated(stored, after, before) => {
                let entry = evidence.sent.entries.get(at);
                verdict.add(Breach::Unstated, format!("{entry:?} was sent between {after} and {before:?}"));
            }
            _ => verdict.excused += 1,
        }
    }
}

/// The rows of a line are some of those that were sent, in the order of sending.
fn compare(
    sent: &[(usize, expected::Row)],
    have: &[&StoredRow],
    evidence: &Evidence,
    verdict: &mut Verdict,
    received: &mut Received,
    missing: &mut BTreeSet<usize>,
) {
    let mut next = 0;
    for stored in have {
        let row = form(stored);
        let rest = sent.get(next..).unwrap_or_default();
        if let Some(skipped) = rest.iter().position(|(_, sent)| *sent == row) {
            missing.extend(rest.iter().take(skipped).map(|(at, _)| *at));
            received.extend(rest.get(skipped).map(|(at, _)| (*at, stored.row.received_at)));
            next += skipped + 1;
        } else if sent.get(..next).is_some_and(|before| before.last().is_some_and(|(_, last)| *last == row)) {
            // Sent again at a reconnect: whoever can ask the database knows that it is stored.
            let run = evidence.runs.iter().rev().find(|run| run.started_at <= stored.row.received_at);
            if run.is_some_and(|run| run.undisturbed) {
                verdict.add(Breach::Duplicated, format!("what was stored last was stored again: {stored}"));
            }
            verdict.repeated += 1;
        } else if sent.iter().any(|(_, sent)| *sent == row) {
            verdict.add(Breach::Duplicated, format!("out of order: {stored}"));
        } else {
            verdict.add(Breach::Invented, stored.to_string());
        }
    }
    missing.extend(sent.iter().skip(next).map(|(at, _)| *at));
}

fn form(stored: &StoredRow) -> expected::Row {
    let [delta, gamma, theta, vega, rho, volatility, price, _] = stored.row.values;
    (stored.row.event_time / 1_000, [delta, gamma, theta, vega, rho, volatility, price])
}

/// Whether a gap or shed rows are noted that touch the stretch.
fn is_stated(stored: &Stored, from: i64, to: Option<i64>) -> bool {
    let touches = |gap_from: i64, gap_to: Option<i64>| {
        to.is_none_or(|to| gap_from <= to) && gap_to.is_none_or(|gap_to| gap_to >= from)
    };
    stored.gaps.iter().any(|gap| gap.source == SOURCE && touches(gap.from, gap.to))
}

/// Between the last row of a run that died, or ended, and the first row of the next that has any there is a gap.
pub(super) fn ends_are_stated(evidence: &Evidence, stored: &Stored, verdict: &mut Verdict) {
    let mut runs: Vec<(usize, End, i64, i64)> = Vec::new();
    for (at, run) in evidence.runs.iter().enumerate() {
        let until = evidence.runs.get(at + 1).map_or(i64::MAX, |next| next.started_at);
        let of_run = |row: &&StoredRow| (run.started_at..until).contains(&row.row.received_at);
        let times = || stored.rows.iter().filter(of_run).map(|row| row.row.received_at);
        if let (Some(first), Some(last)) = (times().min(), times().max()) {
            runs.push((run.number, run.end, first, last));
        }
    }
    for pair in runs.windows(2) {
        let [(number, end, _, last), (next, _, first, _)] = *pair else { continue };
        if !is_stated(stored, last, Some(first)) {
            let what =
                format!("run {number} {end:?}: no gap between its last row at {last} and run {next}'s at {first}");
            verdict.add(Breach::Unstated, what);
        }
    }
}
