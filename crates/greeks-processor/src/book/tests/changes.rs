//! What readers who follow the book are told.

use super::*;

#[test]
fn only_what_has_changed_is_told() {
    let book = streaming(BookConfig::default());
    let [spy, other, aapl] = three();
    let first = book.changed_since(0, TEN);
    assert_eq!((first.lines.len(), first.complete), (0, true));
    for line in [&spy, &other, &aapl] {
        accept(&book, row(line, TEN, 1.0, 0.5));
    }
    let all = book.changed_since(first.version, TEN);
    assert_eq!((all.lines.len(), all.version), (3, book.version()));
    accept(&book, row(&aapl, later(1), 1.0, 0.25));
    accept(&book, row(&aapl, later(2), 1.0, 0.75));
    let one = book.changed_since(all.version, later(2));
    assert_eq!(one.lines.iter().map(|line| line.delta).collect::<Vec<_>>(), [Some(0.75)]);
    assert_eq!(one.closed, []);

    book.accept(&[positions("one", "A1", &[])]);
    let closed = book.changed_since(one.version, later(2));
    let id = all.lines.iter().find(|line| line.series == spy).map(|line| line.id).unwrap();
    assert_eq!((closed.lines.len(), &closed.closed[..]), (0, &[id][..]));
    // The same positions again are no change.
    book.accept(&[positions("one", "A1", &[]), positions("one", "A2", &[(&other, 1.0)])]);
    assert_eq!(book.version(), closed.version);
}

#[test]
fn who_comes_from_elsewhere_or_too_late_has_to_begin_anew() {
    let book = streaming(BookConfig { closed_lines: 4, ..BookConfig::default() });
    let ahead = book.changed_since(book.version() + 1, TEN);
    assert_eq!((ahead.complete, ahead.lines.len()), (false, 0));

    let lines: Vec<_> = (1..=9).map(|n| series("one", "A1", &format!("SPY   261218P0060{n}000"), "SPY")).collect();
    lines.iter().for_each(|line| accept(&book, row(line, TEN, 1.0, 0.5)));
    let open = book.version();
    // Closed one after the other: four are remembered, the fifth makes room.
    for gone in 1..=5 {
        let held: Vec<_> = lines[gone..].iter().map(|line| (line, 1.0)).collect();
        book.accept(&[positions("one", "A1", &held)]);
        let seen = book.changed_since(open, TEN);
        assert_eq!((seen.complete, seen.closed.len()), if gone < 5 { (true, gone) } else { (false, 0) });
    }
    let remembered = book.lines(&LineFilter { closed: true, ..LineFilter::default() }, TEN);
    assert_eq!((remembered.len(), remembered.iter().filter(|line| line.open).count()), (6, 4));
    assert_eq!(book.portfolio(GroupBy::Account, TEN).total.figures.delta, Figure { value: Some(200.0), lines: 4 });
    // What is forgotten comes back as another line, and the rest is where it was.
    let ids: Vec<LineId> = remembered.iter().map(|line| line.id).collect();
    lines.iter().for_each(|line| accept(&book, row(line, later(1), 1.0, 0.25)));
    let again = book.lines(&LineFilter::default(), TEN);
    assert_eq!(again.len(), 9);
    assert_eq!(again.iter().filter(|line| ids.contains(&line.id)).count(), 6);
    assert_eq!(book.portfolio(GroupBy::Account, TEN).total.figures.delta, Figure { value: Some(225.0), lines: 9 });
}
