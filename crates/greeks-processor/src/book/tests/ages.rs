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
    let [spy, _, aapl] = three();
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
