//! Evidence and databases made by hand.

use super::super::records::{End, Row};
use super::*;

const STARTED: i64 = 1_000;

fn row(received_at: i64, delta: f64) -> Row {
    let mut values = [None; 8];
    values[0] = Some(delta.to_bits());
    Row {
        source: "ibkr".to_owned(),
        account: "U1".to_owned(),
        contract: "SPXW  261124P06650000".to_owned(),
        event_time: 5_000,
        received_at,
        values,
    }
}

fn stored(rows: &[Row]) -> Stored {
    let number = |(number, row): (i64, &Row)| StoredRow { row: row.clone(), stream: 1, number };
    Stored {
        rows: (1..).zip(rows).map(number).collect(),
        marks: vec![Mark { stream: 1, last: rows.len() as i64 }],
        ..Stored::default()
    }
}

fn breaches(accepted: &[Row], stored: &Stored) -> Vec<Breach> {
    let run = RunNote { number: 0, started_at: STARTED, undisturbed: true, end: End::Ended };
    let accepted = vec![accepted.iter().cloned().map(Some).collect()];
    let mut verdict = Verdict::default();
    let evidence = Evidence { accepted, runs: vec![run], sent: Sent::default() };
    truth::accepted_is_stored(&evidence, stored, &mut verdict);
    truth::stored_once(&evidence, stored, &mut verdict);
    order::numbers(&evidence, stored, &mut verdict);
    verdict.violations.into_iter().map(|violation| violation.breach).collect()
}

#[test]
fn what_was_accepted_twice_has_to_be_there_twice() {
    let (a, b) = (row(2_000, 0.5), row(2_000, 0.25));
    let all = [a.clone(), b.clone(), a.clone()];
    assert_eq!(breaches(&all, &stored(&all)), []);
    assert_eq!(breaches(&all, &stored(&all[..2])), [Breach::Lost]);
    assert_eq!(breaches(&all[..2], &stored(&all)), [Breach::Duplicated]);
    assert_eq!(breaches(&all[..1], &stored(std::slice::from_ref(&b))), [Breach::Changed]);
    assert_eq!(breaches(&all[..2], &stored(&[b])), [Breach::Lost, Breach::Numbered]);
}

#[test]
fn numbers_are_given_in_order_once_and_up_to_the_mark() {
    let all = [row(2_000, 0.5), row(2_001, 0.25)];
    let mut swapped = stored(&all);
    (swapped.rows[0].number, swapped.rows[1].number) = (2, 1);
    assert_eq!(breaches(&all, &swapped), [Breach::Numbered]);
    let mut beyond = stored(&all);
    beyond.marks[0].last = 1;
    assert_eq!(breaches(&all, &beyond), [Breach::Numbered]);
    let mut taken = stored(&all);
    taken.others.push((1, 2));
    assert_eq!(breaches(&all, &taken), [Breach::Numbered]);
}

#[test]
fn stored_minutes_say_once_what_their_rows_say() {
    let sum = |underlying: &str, delta| {
        (
            (60_000_000, "ibkr".to_owned(), "U1".to_owned(), underlying.to_owned()),
            ([Some(delta), None, None, None, None], 2, 1),
        )
    };
    let (spx, aapl) = (sum("SPX", 1e6), sum("AAPL", 0.5));
    let rows = [spx.clone(), aapl.clone()];
    let judged = |read: &[_]| {
        let mut verdict = Verdict::default();
        minutes::as_their_rows(&Stored { minutes: [read.to_vec(), rows.to_vec()], ..Stored::default() }, &mut verdict);
        (verdict.minutes, verdict.count(Breach::Outdated))
    };
    assert_eq!(judged(&[aapl.clone(), sum("SPX", 1e6 + 1e-7)]), (2, 0));
    assert_eq!(judged(&[aapl.clone(), sum("SPX", 1e6 + 1.0)]), (1, 1));
    assert_eq!(judged(&[aapl.clone(), spx.clone(), spx.clone()]), (2, 1), "twice");
    assert_eq!(judged(std::slice::from_ref(&spx)), (1, 1), "one is missing");
    assert_eq!(judged(&[aapl, spx, sum("TSLA", 1.0)]), (2, 1), "of what there is none");
}
