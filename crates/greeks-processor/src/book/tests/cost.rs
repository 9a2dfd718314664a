//! What an event costs.

use super::*;

#[test]
fn rows_of_known_lines_cost_no_allocation() {
    let book = streaming(BookConfig::default());
    let lines: Vec<_> =
        (0..500).map(|n| series("one", "A1", &format!("SPY   261218P{:08}", 600_000 + n), "SPY")).collect();
    let rows = |at: i64| -> Vec<Record> {
        let rows = lines.iter().enumerate();
        rows.map(|(n, line)| Record::Snapshot(row(line, later(at), -3.0, 0.001 * (n as f64 + at as f64)))).collect()
    };
    book.accept(&rows(0));
    let next: Vec<_> = (1..=4).map(rows).collect();
    let counted = allocation_counter::measure(|| next.iter().for_each(|rows| book.accept(rows)));
    assert_eq!(counted.count_total, 0);
    assert_eq!(book.lines(&LineFilter::default(), later(4))[1].delta, Some(0.001 * 5.0));
    // The counter counts: a line that is new costs its place.
    let new = [Record::Snapshot(row(&three()[2], TEN, 1.0, 0.5))];
    assert_ne!(allocation_counter::measure(|| book.accept(&new)).count_total, 0);
}
