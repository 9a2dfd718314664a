//! What is said of the age of lines.

use super::*;

fn stale(book: &LiveBook, now: UnixNanos) -> Vec<Option<StaleReason>> {
    book.lines(&LineFilter::default(), now).iter().map(|line| line.stale).collect()
}

#[test]
fn a_source_that_is_down_makes_its_lines_stale_at_once_and_keeps_their_values() {
    let book = streaming(BookConfig::default());
    for line in three() {
        accept(&book, row(&line, TEN, 1.0, 0.5));
    }
    // In the order AAPL at two, SPY and SPY at one.
    assert_eq!(stale(&book, later(1)), [None; 3]);
    let before = (book.version(), book.portfolio(GroupBy::Broker, later(1)));
    assert_eq!(before.1.total.stale, 0);

    book.source_state(&source("one"), &SessionState::Disconnected { retry_at: None }, later(2));
    assert!(book.version() > before.0);
    let down = Some(StaleReason::SourceDown);
    assert_eq!(stale(&book, later(2)), [None, down, down]);
    let line = book.lines(&LineFilter::default(), later(10)).swap_remove(1);
    assert_eq!((line.stale_since, line.age), (Some(later(2)), Some(std::time::Duration::from_secs(10))));
    let after = book.portfolio(GroupBy::Broker, later(2));
    assert_eq!((after.total.stale, after.groups[0].stale, after.groups[1].stale), (2, 2, 0));
    assert_eq!(after.total.figures, before.1.total.figures);

    // Dialling is not streaming; streaming with a fault is.
    book.source_state(&source("one"), &SessionState::Connecting, later(3));
    assert_eq!(stale(&book, later(3)), [None, down, down]);
    assert_eq!(book.lines(&LineFilter::default(), later(3))[1].stale_since, Some(later(2)));
    book.source_state(&source("one"), &SessionState::Degraded { reason: "delayed".into() }, later(4));
    assert_eq!(stale(&book, later(4)), [None; 3]);
}

#[test]
fn a_source_that_nobody_has_spoken_of_is_down() {
    let book = LiveBook::new(BookConfig::default());
    accept(&book, row(&three()[0], TEN, 1.0, 0.5));
    assert_eq!(stale(&book, TEN), [Some(StaleReason::SourceDown)]);
    assert_eq!(book.lines(&LineFilter::default(), TEN)[0].stale_since, None);
}

#[test]
fn a_line_is_old_only_while_its_market_is_open() {
    let book = streaming(BookConfig::default());
    // Of an equity option, whose market closes at 16:00, and one on SPY, which has 15 minutes more.
    let [_, spy, aapl] = three();
    accept(&book, row(&spy, TEN, 1.0, 0.5));
    accept(&book, row(&aapl, TEN, 1.0, 0.5));
    let old = Some(StaleReason::Old);
    let hours = |hours: i64, seconds: i64| later(hours * 3_600 + seconds);
    for (now, aapl_is, spy_is) in [
        (hours(0, 300), None, None),
        (hours(0, 301), old, old),
        (hours(6, -1), old, old),
        (hours(6, 0), None, old),
        (hours(6, 900), None, None),
        // The next morning it is old when the market has been open for five minutes.
        (hours(23, 1_800), None, None),
        (hours(23, 1_800 + 300), None, None),
        (hours(23, 1_800 + 301), old, old),
        // Thanksgiving.
        (hours(48, 0), None, None),
    ] {
        assert_eq!(stale(&book, now), [aapl_is, spy_is], "{now}");
    }
    accept(&book, row(&aapl, hours(71, 1_800 + 600), 1.0, 0.5));
    assert_eq!(stale(&book, hours(71, 1_800 + 700)), [None, old]);
    assert_eq!(book.lines(&LineFilter::default(), hours(71, 1_800 + 700))[1].stale_since, Some(TEN));
    let total = book.portfolio(GroupBy::Account, hours(71, 1_800 + 700)).total;
    assert_eq!((total.stale, total.oldest, total.newest), (1, Some(TEN), Some(hours(71, 1_800 + 600))));
}

#[test]
fn growing_old_is_a_change() {
    let book = streaming(BookConfig::default());
    accept(&book, row(&three()[0], TEN, 1.0, 0.5));
    let seen = book.changed_since(0, later(1)).version;
    assert_eq!(book.changed_since(seen, later(300)).lines, []);
    let changes = book.changed_since(seen, later(301));
    assert_eq!(changes.lines.iter().map(|line| line.stale).collect::<Vec<_>>(), [Some(StaleReason::Old)]);
    assert!(changes.version > seen);
    assert_eq!(book.changed_since(changes.version, later(302)).lines, []);
}

/// What is held, traded and streamed for long enough without a row is to be looked after: not before, and nothing else.
#[test]
fn a_line_is_overdue_only_when_there_was_every_reason_to_have_a_row() {
    let [spy, _, aapl] = three();
    let held = |line: &Arc<Series>, name, account| {
        let Record::Positions(mut record) = positions(name, account, &[(line, 1.0)]) else { unreachable!() };
        record.observed_at = TEN;
        Record::Positions(record)
    };
    let one = Some((source("one"), 1));
    let overdue = |book: &LiveBook, now| book.overdue(now).into_iter().next();

    // Neither the row of an earlier run nor a source that has just begun to stream is a reason to call anybody.
    let book = LiveBook::new(BookConfig::default());
    accept(&book, row(&spy, later(-7_200), 1.0, 0.5));
    book.source_state(&source("one"), &SessionState::Connected, TEN);
    assert_eq!((overdue(&book, later(300)), overdue(&book, later(301))), (None, one.clone()));
    book.source_state(&source("one"), &SessionState::Disconnected { retry_at: None }, later(302));
    assert_eq!(overdue(&book, later(3_600)), None, "that it is down is said elsewhere");
    book.source_state(&source("one"), &SessionState::Connected, later(3_700));
    assert_eq!((overdue(&book, later(4_000)), overdue(&book, later(4_001))), (None, one.clone()));
    accept(&book, row(&spy, later(4_001), 1.0, 0.5));
    assert_eq!(overdue(&book, later(4_001)), None);

    // A position that never had a row, from when it was seen on, in market hours.
    let book = streaming(BookConfig::default());
    book.accept(&[held(&spy, "one", "A")]);
    assert_eq!((overdue(&book, later(300)), overdue(&book, later(301))), (None, one));
    assert_eq!(overdue(&book, later(12 * 3_600)), None, "at night");

    // What is not traded any more.
    let gone = series("two", "C", "AAPL  261123C00232500", "AAPL");
    let book = streaming(BookConfig::default());
    book.accept(&[held(&gone, "two", "C")]);
    assert_eq!(book.overdue(later(3_600)), []);
    book.accept(&[held(&aapl, "two", "C")]);
    assert_eq!(book.overdue(later(3_600)), [(source("two"), 1)]);
}
