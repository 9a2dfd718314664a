//! Minutes of the book that are stored, against a recount: while they are stored, and when what is stored later touches them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use crate::book::{CALL, PUT, gap, held, second, series, store, tick};
use crate::recount::{Book, HOUR, MINUTE, compare, compare_view, questions};
use crate::support::{Database, WallClock, eventually};
use greeks_model::{Clock, Record, SnapshotSink, UnixNanos};
use greeks_store::{Committer, CommitterConfig, HistoryFilter, MemoryLogWriter, Metric, memory_log};

const HOUR_MILLIS: i64 = 3_600_000;

/// Runs the committer on records that come while `meanwhile` goes on, until all are stored and it has ended.
async fn run(database: &Database, exclusive: bool, meanwhile: impl AsyncFnOnce(&mut MemoryLogWriter)) {
    let (mut sink, log) = memory_log(10_000);
    let mut config = CommitterConfig::new(database.config.clone(), "test");
    (config.exclusive, config.minutes_share) = (exclusive, 1);
    let committer = Committer::new(config, Box::new(log), Box::new(()), Arc::new(WallClock)).0;
    let ended = tokio::spawn(committer.run());
    meanwhile(&mut sink).await;
    drop(sink);
    ended.await.unwrap().unwrap();
}

/// How many minutes of the hour are stored.
async fn stored(database: &Database, begin: UnixNanos) -> i64 {
    let sql = "SELECT count(*) FROM portfolio_minutes WHERE broker = '' AND minute >= $1 AND minute < $2";
    let bounds = [begin, begin.saturating_add(HOUR)].map(UnixNanos::to_timestamp);
    database.client().await.query_one(sql, &[&bounds[0], &bounds[1]]).await.unwrap().get(0)
}

/// Waits until every minute is stored that may be: from the first value of what is held on.
async fn all_stored(database: &Database, book: &Book, begin: UnixNanos) {
    let first = |is: fn(&Record) -> Option<UnixNanos>| book.records.iter().filter_map(is).min().unwrap();
    let held = first(|record| match record {
        // Of an account that holds nothing there is no row.
        Record::Positions(told) if !told.positions.is_empty() => Some(told.observed_at),
        _ => None,
    });
    let valued = first(|record| match record {
        Record::Snapshot(tick) => Some(tick.event_time),
        _ => None,
    });
    let before = (held.max(valued).as_millis() - begin.as_millis()) / 60_000;
    eventually("all minutes are stored", async || stored(database, begin).await >= 60 - before).await;
}

/// The book's hour has ended two hours ago, whatever the next minutes bring; returns when it began, and by how much later.
fn two_hours_ago() -> (UnixNanos, Duration) {
    let begin = UnixNanos::from_millis(WallClock.now().as_millis() / HOUR_MILLIS * HOUR_MILLIS - 2 * HOUR_MILLIS);
    (begin, Duration::from_nanos(u64::try_from(begin.as_nanos() - second(0).as_nanos()).unwrap()))
}

/// One record that comes when all minutes are stored: those it touches say something else from then on.
#[tokio::test]
async fn what_comes_late_takes_the_minutes_it_touches_away() {
    let line = series("ibkr", "U1", CALL);
    let early = [
        held("ibkr", "U1", 1, &[(CALL, 1.0)]),
        tick(&line, MINUTE + 5, [Some(0.5), Some(0.25), Some(-1.5), Some(2.0), Some(200.0)]),
        tick(&line, 30 * MINUTE + 5, [Some(0.75), Some(0.25), Some(-1.5), Some(2.0), Some(200.0)]),
        gap("ibkr", 41 * MINUTE, None),
    ];
    let other = [Some(0.125), Some(0.5), Some(-1.0), Some(1.0), Some(100.0)];
    // Of the minutes from the second on, so many are touched.
    for (what, late, touched) in [
        ("a value, carried into the last minute that it can be", tick(&line, 10 * MINUTE, other), 16),
        ("a gap of some minutes that ended long ago", gap("ibkr", 33 * MINUTE, Some(36 * MINUTE + 1)), 4),
        ("the end of a gap", gap("ibkr", 41 * MINUTE, Some(43 * MINUTE)), 17),
        ("a gap that is open, as is known", gap("ibkr", 41 * MINUTE, None), 0),
        ("another quantity", held("ibkr", "U1", 12 * MINUTE, &[(CALL, -2.0)]), 48),
        ("a close", held("ibkr", "U1", 12 * MINUTE, &[]), 48),
    ] {
        let (begin, by) = two_hours_ago();
        let database = Database::migrated().await;
        let known = Book { records: early.to_vec() }.later(by);
        store(&database, &known.records).await;
        let late = Book { records: vec![late] }.later(by).records;
        run(&database, true, async |sink| {
            all_stored(&database, &known, begin).await;
            compare_view(&database, &known, begin, what).await;
            sink.append(&late).unwrap();
        })
        .await;
        let mut records = known.records;
        match &late[0] {
            // The same gap, told once more.
            Record::Gap(gap) if gap.from == begin.saturating_add(Duration::from_secs(41 * MINUTE)) => {
                records[3] = late[0].clone();
            }
            _ => records.extend(late),
        }
        assert_eq!(stored(&database, begin).await, 59 - touched, "{what}");
        compare_view(&database, &Book { records }, begin, what).await;
    }
}

/// A value that cannot be is as good as none: neither the minutes nor a question about the rest of the book may fail by it.
#[tokio::test]
async fn one_absurd_value_is_unknown_and_stops_nothing() {
    const SOUND: [Option<f64>; 5] = [Some(0.5), Some(0.25), Some(-1.5), Some(2.0), Some(200.0)];
    let with = |place: usize, value: f64| {
        let mut values = SOUND;
        values[place] = Some(value);
        values
    };
    let tiny = {
        let mut values = with(1, 1e-322);
        values[4] = Some(0.05);
        values
    };
    // Which figures are known of the second line, and how many of it.
    for (what, quantity, values, known) in [
        ("delta", 1.0, with(0, 1e306), [false, false, true, true, true]),
        ("gamma", 1.0, tiny, [true, true, false, true, true]),
        ("a negative theta", 1.0, with(2, -1e308), [true, true, true, false, true]),
        ("vega", 1.0, with(3, 1e-310), [true, true, true, true, false]),
        ("the price", 1.0, with(4, 1e160), [true, false, false, true, true]),
        ("the quantity", 1e300, with(0, 1e30), [false; 5]),
        ("zero, which is sound", 1.0, with(1, 0.0), [true; 5]),
        ("small, which is sound", 1.0, with(1, 1e-80), [true; 5]),
    ] {
        let (begin, by) = two_hours_ago();
        let database = Database::migrated().await;
        let records = vec![
            held("ibkr", "U1", 1, &[(CALL, 1.0), (PUT, quantity)]),
            tick(&series("ibkr", "U1", CALL), 5, SOUND),
            tick(&series("ibkr", "U1", PUT), 6, values),
        ];
        let book = Book { records }.later(by);
        let queries = store(&database, &book.records).await;
        let sql = "SELECT delta, delta_dollars, gamma_1pct, theta, vega, lines, lines_covered FROM v_portfolio_1m \
                   WHERE minute = $1";
        let client = database.client().await;
        let figures = async || {
            let row = client.query_one(sql, &[&begin.to_timestamp()]).await.unwrap();
            let sums: Vec<f64> = (0..5).map(|column| row.get(column)).collect();
            (sums, row.get::<_, i64>(5), row.get::<_, i64>(6))
        };
        let line = |[delta, gamma, theta, vega, price]: [Option<f64>; 5]| {
            let [delta, gamma, theta, vega, price] = [delta, gamma, theta, vega, price].map(Option::unwrap);
            [delta, delta * price, gamma * price * price * 0.01, theta, vega].map(|value| value * 100.0)
        };
        let second = line(values).into_iter().zip(known).map(|(value, known)| if known { value } else { 0.0 });
        let sums: Vec<f64> = line(SOUND).into_iter().zip(second).map(|(first, second)| first + second).collect();
        let expected = (sums, 2, 1 + i64::from(known == [true; 5]));
        assert_eq!(figures().await, expected, "{what}, from the rows");
        for (metric, (sum, known)) in Metric::ALL.into_iter().zip(expected.0.iter().zip(known)) {
            let until = begin.saturating_add(Duration::from_secs(MINUTE));
            let filter = HistoryFilter::new(metric, begin, until, Duration::from_secs(MINUTE));
            let point = queries.history(&filter).await.unwrap().points[0];
            let told = (point.value, point.covered, point.held);
            assert_eq!(told, (Some(*sum), 1 + u32::from(known), 2), "{what}: {metric}");
        }
        run(&database, true, async |_| all_stored(&database, &book, begin).await).await;
        assert_eq!(figures().await, expected, "{what}, stored");
    }
}

/// Minutes are stored while more is written: late rows, changes of what was held, gaps that come to light. Neither the view
/// nor a history may tell the difference, whichever minutes are stored.
#[tokio::test]
async fn stored_minutes_say_what_the_rows_say() {
    for seed in 1..=4 {
        let database = Database::migrated().await;
        let (begin, later) = two_hours_ago();
        let book = Book::random(seed).later(later);
        let questions: Vec<_> = questions()
            .into_iter()
            .map(|mut filter| {
                (filter.from, filter.to) = (filter.from.saturating_add(later), filter.to.saturating_add(later));
                filter
            })
            .collect();
        let (early, late) = book.records.split_at(book.records.len() * 2 / 3);
        let queries = store(&database, early).await;
        let known = Book { records: early.to_vec() };
        run(&database, true, async |sink| {
            all_stored(&database, &known, begin).await;
            for filter in &questions {
                compare(&known, &queries, filter, &format!("seed {seed}, all stored")).await;
            }
            compare_view(&database, &known, begin, "all stored").await;
            let write = |sink: &mut MemoryLogWriter| late.chunks(7).for_each(|some| sink.append(some).unwrap());
            // The same session that stores the minutes, or another one that knows of none.
            if seed % 2 == 0 {
                write(sink);
            } else {
                run(&database, false, async |other| write(other)).await;
            }
        })
        .await;
        let whole = format!("seed {seed}, some stored");
        let stored = stored(&database, begin).await;
        assert!((1..60).contains(&stored), "{stored}");
        for filter in &questions {
            compare(&book, &queries, filter, &whole).await;
        }
        compare_view(&database, &book, begin, &whole).await;
    }
}

/// A change from long ago takes all minutes since away: not in one statement, which might take longer than it may, and
/// never with the rows.
#[tokio::test]
async fn many_minutes_are_taken_away_in_pieces() {
    const MINUTES: i64 = 1_000;
    let database = Database::migrated().await;
    let client = database.client().await;
    let stored = "INSERT INTO portfolio_minutes (minute, broker, account_id, underlying, lines, lines_covered, lines_delta, \
            lines_delta_dollars, lines_gamma_1pct, lines_theta, lines_vega) \
        SELECT timestamptz '2018-03-01 00:00Z' + n * interval '1 minute', '', '', '', 0, 0, 0, 0, 0, 0, 0 \
          FROM generate_series(0, $1::int - 1) n";
    client.execute(stored, &[&i32::try_from(MINUTES).unwrap()]).await.unwrap();
    let watch = "CREATE TABLE taken (transaction bigint NOT NULL); \
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN INSERT INTO taken VALUES (txid_current()); RETURN OLD; END'; \
        CREATE TRIGGER note BEFORE DELETE ON portfolio_minutes FOR EACH ROW EXECUTE FUNCTION note(); \
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN IF EXISTS (SELECT FROM taken WHERE transaction = txid_current()) THEN \
           RAISE EXCEPTION USING ERRCODE = ''57014''; END IF; RETURN NEW; END'; \
        CREATE TRIGGER refuse BEFORE INSERT ON positions_history FOR EACH ROW EXECUTE FUNCTION refuse()";
    client.batch_execute(watch).await.unwrap();
    let change = held("ibkr", "U1", 30 * MINUTE, &[(CALL, 1.0)]);
    tokio::time::timeout(Duration::from_secs(30), store(&database, &[change])).await.expect("stored");
    assert_eq!(database.count("SELECT count(*) FROM positions_history").await, 1);
    assert_eq!(database.count("SELECT count(*) FROM portfolio_minutes").await, 0);
    let most = "SELECT max(of_one) FROM (SELECT count(*) AS of_one FROM taken GROUP BY transaction) each";
    assert!((1..=240).contains(&database.count(most).await));
    assert_eq!(database.count("SELECT count(*) FROM taken").await, MINUTES);
}
