//! Feeds that stop, and those that only rest.

use super::*;

const KEEPALIVE: &str = r#"{"type":"KEEPALIVE","channel":0}"#;
const TRADE: &str = r#"{"type":"FEED_DATA","channel":3,"data":["Trade",["Trade","A",1,9.5]]}"#;

fn settings_with_pulse() -> Settings {
    Settings { quiet_after: [Duration::from_secs(45); 2], ..settings() }
}

/// One that streams options `.A` and `.B` and the underlying `A`.
fn streaming(settings: Settings) -> Bench {
    let mut bench = Bench::new(settings);
    bench.want(&[".A", ".B"], &["A"]);
    for frame in [SETUP, UNAUTHORIZED, AUTHORIZED, OPENED_1, OPENED_3] {
        bench.frame(frame).unwrap();
    }
    while !bench.outputs().is_empty() {
        bench.pass(0.05).unwrap();
    }
    bench
}

/// Rows on channel 1 and a later moment of their arrival.
fn row_at(bench: &mut Bench, text: &str, seconds: i64) -> UnixNanos {
    let at = UnixNanos::from_millis(1_700_000_000_000 + seconds * 1_000);
    bench.session.on_frame(text, bench.now, at).unwrap();
    at
}

fn subscriptions(bench: &mut Bench) -> Vec<String> {
    bench.outputs().into_iter().filter(|text| kind(text) == "FEED_SUBSCRIPTION").collect()
}

/// The next change of subscriptions and how many seconds passed until it; the server keeps the connection alive, and
/// `trades` keeps the other channel busy.
fn next_change(bench: &mut Bench, trades: bool) -> Result<(String, f64), Error> {
    let began = bench.now;
    for _ in 0..4_000 {
        bench.pass(0.25)?;
        bench.frame(if trades { TRADE } else { KEEPALIVE })?;
        bench.events();
        if let [text] = subscriptions(bench).as_slice() {
            return Ok((text.clone(), (bench.now - began).as_secs_f64()));
        }
    }
    panic!("no change of subscriptions");
}

fn change(what: &str, symbol: &str) -> String {
    format!(r#"{{"type":"FEED_SUBSCRIPTION","channel":1,"{what}":[{{"type":"Greeks","symbol":"{symbol}"}}]}}"#)
}

#[test]
fn a_quiet_night_is_answered_by_lasting_values() {
    let mut bench = streaming(settings_with_pulse());
    let first = bench.now;
    for symbol in [".A", ".B"] {
        bench.frame(&greeks(1, symbol, "0.5")).unwrap();
    }
    let mut asked = 0;
    while bench.now - first < Duration::from_secs(8 * 3600) {
        let (text, after) = next_change(&mut bench, true).unwrap();
        assert_eq!((text, after), (change("remove", ".B"), 45.0));
        let (text, after) = next_change(&mut bench, true).unwrap();
        assert_eq!((text, after), (change("add", ".B"), 1.0));
        asked += 1;
        bench.frame(&greeks(1, ".B", "0.5")).unwrap();
    }
    assert_eq!(asked, 627, "each 46 seconds");
    assert_eq!(bench.session.data_came_for()[0], Duration::ZERO, "answers are no flow");
    assert_eq!(bench.session.silent_options(), 0);
}

#[test]
fn a_dead_channel_beside_a_living_one_is_left() {
    let mut bench = streaming(settings_with_pulse());
    bench.frame(&greeks(1, ".A", "0.5")).unwrap();
    bench.pass(5.0).unwrap();
    let last = row_at(&mut bench, &greeks(1, ".A", "0.6"), 5);
    let began = bench.now;
    for what in ["remove", "add"] {
        assert_eq!(next_change(&mut bench, true).unwrap().0, change(what, ".A"));
    }
    let error = next_change(&mut bench, true).unwrap_err();
    let after = bench.now - began;
    assert_eq!(after, Duration::from_secs(56));
    assert!(matches!(error, Error::Stalled { after: told } if told == after), "{error}");
    assert_eq!(bench.session.stall(), Some(Stall { channel: 0, since: last }));
    let [greeks, underlyings] = bench.session.data_came_for();
    assert_eq!(greeks, Duration::from_secs(5));
    assert!(underlyings >= Duration::from_secs(50), "{underlyings:?}");
}

#[test]
fn a_channel_that_never_brought_anything_is_not_judged() {
    let mut bench = streaming(settings_with_pulse());
    for _ in 0..600 {
        bench.pass(1.0).unwrap();
        bench.frame(TRADE).unwrap();
        bench.frame(r#"{"type":"FEED_DATA","channel":1,"data":["Greeks",[]]}"#).unwrap();
        // What has never answered is subscribed once more, by another rule.
        assert!(subscriptions(&mut bench).iter().all(|text| !text.contains("remove")));
        bench.session.take_newly_silent();
    }
    assert_eq!(bench.session.silent_options(), 2);
}

#[test]
fn any_row_of_the_channel_is_an_answer() {
    for came in [0, 1] {
        let mut bench = streaming(settings_with_pulse());
        bench.frame(&greeks(1, ".A", "0.5")).unwrap();
        assert_eq!(next_change(&mut bench, false).unwrap().0, change("remove", ".A"));
        if came == 1 {
            assert_eq!(next_change(&mut bench, false).unwrap().0, change("add", ".A"));
        }
        bench.frame(&greeks(1, ".B", "0.5")).unwrap();
        if came == 0 {
            assert_eq!(next_change(&mut bench, false).unwrap().0, change("add", ".A"), "back at once");
        }
        bench.pass(12.0).unwrap();
        assert_eq!(next_change(&mut bench, false).unwrap().0, change("remove", ".B"));
    }
}

#[test]
fn what_is_not_read_is_not_blamed() {
    let unread = |bench: &mut Bench, seconds: u32| {
        for _ in 0..seconds {
            bench.now += Duration::from_secs(1);
            bench.session.on_tick(bench.now, false).unwrap();
            assert_eq!(subscriptions(bench), [""; 0]);
        }
    };
    let mut bench = streaming(settings_with_pulse());
    bench.frame(&greeks(1, ".A", "0.5")).unwrap();
    bench.pass(44.0).unwrap();
    unread(&mut bench, 300);
    // However long it was since the last look.
    bench.pass(20.0).unwrap();
    assert_eq!(next_change(&mut bench, true).unwrap(), (change("remove", ".A"), 45.0));
    assert_eq!(next_change(&mut bench, true).unwrap(), (change("add", ".A"), 1.0));
    bench.pass(9.0).unwrap();
    unread(&mut bench, 300);
    bench.pass(20.0).unwrap();
    bench.pass(9.75).unwrap();
    assert!(matches!(bench.pass(0.25), Err(Error::Stalled { .. })));
}

#[test]
fn a_symbol_that_is_not_wanted_any_more_is_not_asked() {
    let mut bench = streaming(settings_with_pulse());
    for symbol in [".A", ".B"] {
        bench.frame(&greeks(1, symbol, "0.5")).unwrap();
    }
    bench.want(&[".A"], &["A"]);
    assert_eq!(subscriptions(&mut bench), [change("remove", ".B")]);
    assert_eq!(next_change(&mut bench, false).unwrap(), (change("remove", ".A"), 45.0));
    // Sold while it was away: the one bought instead has not been heard of.
    bench.want(&[".C"], &["A"]);
    bench.pass(0.1).unwrap();
    assert_eq!(subscriptions(&mut bench), [change("add", ".C")]);
    for _ in 0..120 {
        bench.pass(1.0).unwrap();
        bench.frame(TRADE).unwrap();
        assert_eq!(subscriptions(&mut bench), [""; 0]);
    }
    bench.frame(&greeks(1, ".C", "0.5")).unwrap();
    assert_eq!(next_change(&mut bench, true).unwrap(), (change("remove", ".C"), 45.0));
    assert_eq!(next_change(&mut bench, true).unwrap().0, change("add", ".C"));
    // Sold while its answer is awaited.
    bench.want(&[".C", ".D"], &["A"]);
    bench.want(&[".D"], &["A"]);
    for _ in 0..60 {
        bench.pass(1.0).unwrap();
        bench.frame(TRADE).unwrap();
    }
}

#[test]
fn an_expired_option_owes_no_answer() {
    let mut bench = streaming(settings_with_pulse());
    for symbol in [".A", ".B"] {
        bench.frame(&greeks(1, symbol, "0.5")).unwrap();
    }
    bench.want_beside_expired(&[".A"], &[".B"], &["A"]);
    assert_eq!(next_change(&mut bench, true).unwrap(), (change("remove", ".A"), 45.0));
    assert_eq!(next_change(&mut bench, true).unwrap().0, change("add", ".A"));
    // Its own day ends while its answer is awaited.
    bench.want_beside_expired(&[], &[".A", ".B"], &["A"]);
    for _ in 0..3_600 {
        bench.pass(1.0).unwrap();
        bench.frame(TRADE).unwrap();
        assert_eq!(subscriptions(&mut bench), [""; 0]);
    }
    assert_eq!(bench.session.silent_options(), 0);
    // One that is told of all the same is as good as any.
    bench.frame(&greeks(1, ".B", "0.5")).unwrap();
    assert_eq!(next_change(&mut bench, true).unwrap(), (change("remove", ".B"), 45.0));
}

#[test]
fn a_closed_channel_begins_anew() {
    let mut bench = streaming(settings_with_pulse());
    bench.frame(&greeks(1, ".A", "0.5")).unwrap();
    assert_eq!(next_change(&mut bench, true).unwrap().0, change("remove", ".A"));
    bench.frame(CLOSED_1).unwrap();
    bench.pass(1.0).unwrap();
    bench.frame(r#"{"type":"CHANNEL_OPENED","channel":5}"#).unwrap();
    let all = subscriptions(&mut bench);
    assert!(all.len() == 1 && all[0].contains(r#"".A""#) && all[0].contains(r#"".B""#), "{all:?}");
    for _ in 0..120 {
        bench.pass(1.0).unwrap();
        bench.frame(TRADE).unwrap();
    }
}
