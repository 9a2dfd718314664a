//! Channels, subscriptions, events.

use super::*;

#[test]
fn no_positions_is_a_state_of_its_own() {
    let mut bench = Bench::authorized();
    assert!(bench.session.is_streaming());
    assert_eq!(bench.kinds(), [""; 0], "no channel is needed");
    bench.want(&[".A"], &[]);
    assert!(!bench.session.is_streaming());
    assert_eq!(bench.kinds(), ["CHANNEL_REQUEST"]);
}

#[test]
fn only_differences_are_subscribed() {
    let mut bench = Bench::authorized();
    bench.want(&[".A", ".B"], &[]);
    bench.frame(OPENED_1).unwrap();
    assert_eq!(bench.kinds(), ["CHANNEL_REQUEST", "FEED_SETUP", "FEED_SUBSCRIPTION"]);
    bench.frame(OPENED_1).unwrap();
    bench.pass(1.0).unwrap();
    assert_eq!(bench.kinds(), [""; 0], "a repeated CHANNEL_OPENED changes nothing");
    bench.want(&[".B", ".A"], &[]);
    assert_eq!(bench.kinds(), [""; 0]);
    bench.want(&[".B", ".C"], &[]);
    assert_eq!(
        bench.outputs(),
        [
            r#"{"type":"FEED_SUBSCRIPTION","channel":1,"remove":[{"type":"Greeks","symbol":".A"}],"add":[{"type":"Greeks","symbol":".C"}]}"#
        ]
    );
    bench.frame(&greeks(1, ".C", "1")).unwrap();
    assert_eq!(bench.events().len(), 1);
}

#[test]
fn many_symbols_go_out_in_paced_chunks() {
    let mut bench = Bench::authorized();
    let symbols: Vec<String> = (0..1200).map(|i| format!(".SPXW261218C{i}")).collect();
    let names: Vec<&str> = symbols.iter().map(String::as_str).collect();
    bench.want(&names, &[]);
    bench.frame(OPENED_1).unwrap();
    let mut seen = Vec::new();
    for _ in 0..1000 {
        for text in bench.outputs().into_iter().filter(|text| kind(text) == "FEED_SUBSCRIPTION") {
            assert!(text.len() <= 8192);
            seen.push(text.matches(r#""symbol""#).count());
        }
        if seen.iter().sum::<usize>() == symbols.len() {
            break;
        }
        assert!(bench.session.deadline() <= bench.now + Duration::from_millis(50));
        bench.pass(0.05).unwrap();
    }
    assert!(seen.len() >= 3 && seen.iter().all(|count| *count <= 500), "{seen:?}");
    assert_eq!(bench.session.subscription_counts(), (1200, 1200));
}

#[test]
fn a_closed_channel_is_asked_for_again_under_a_new_number() {
    let mut bench = Bench::authorized();
    bench.want(&[".A"], &[]);
    bench.frame(OPENED_1).unwrap();
    bench.outputs();
    bench.frame(&greeks(1, ".A", "0.5")).unwrap();
    assert!(bench.session.is_streaming());
    bench.frame(r#"{"type":"CHANNEL_CLOSED","channel":7}"#).unwrap();
    assert!(bench.session.is_streaming());
    bench.frame(CLOSED_1).unwrap();
    assert!(!bench.session.is_streaming());
    bench.events();
    bench.frame(&greeks(1, ".A", "0.5")).unwrap();
    assert_eq!((bench.events().len(), bench.session.take_tally().unknown_channels), (0, 1));
    bench.pass(1.0).unwrap();
    assert_eq!(
        bench.outputs(),
        [r#"{"type":"CHANNEL_REQUEST","channel":3,"service":"FEED","parameters":{"contract":"AUTO"}}"#]
    );
    bench.frame(OPENED_3).unwrap();
    assert_eq!(bench.kinds(), ["FEED_SETUP", "FEED_SUBSCRIPTION"]);
    bench.frame(&greeks(3, ".A", "0.5")).unwrap();
    assert!(bench.session.is_streaming());
    for number in [3, 5, 7] {
        bench.frame(&format!(r#"{{"type":"CHANNEL_CLOSED","channel":{number}}}"#)).unwrap();
        bench.pass(5.0).unwrap();
        bench.outputs();
    }
    let refused = bench.frame(r#"{"type":"CHANNEL_CLOSED","channel":9}"#);
    assert!(matches!(refused, Err(Error::ChannelRefused { times: 5 })), "{refused:?}");
}

#[test]
fn an_unsolicited_config_changes_columns_and_format() {
    let mut bench = Bench::authorized();
    bench.want(&[".A"], &[]);
    bench.frame(OPENED_1).unwrap();
    bench.frame(r#"{"type":"FEED_CONFIG","channel":1,"dataFormat":"COMPACT","aggregationPeriod":0.1}"#).unwrap();
    bench.frame(&greeks(1, ".A", "0.5")).unwrap();
    bench.frame(r#"{"type":"FEED_CONFIG","channel":1,"dataFormat":"FULL","eventFields":{"Greeks":["delta","eventSymbol","gamma"]}}"#).unwrap();
    bench.frame(r#"{"type":"FEED_DATA","channel":1,"data":["Greeks",[0.25,".A",0.5]]}"#).unwrap();
    bench
        .frame(r#"{"type":"FEED_DATA","channel":1,"data":[{"eventType":"Greeks","eventSymbol":".A","delta":0.125}]}"#)
        .unwrap();
    let updates = bench.events();
    assert_eq!(updates.iter().map(|u| u.delta).collect::<Vec<_>>(), [Some(0.5), Some(0.25), Some(0.125)]);
    assert_eq!((updates[1].gamma, updates[1].vega), (Some(0.5), None), "not negotiated: carry forward");
    assert!(updates[2].gamma.unwrap().is_nan(), "negotiated and left out: unknown");
}

#[test]
fn delayed_tokens_mark_every_update_and_payloads_follow() {
    let mut bench = Bench::new(Settings { delayed: true, keep_payload: true, ..settings() });
    bench.want(&[".A"], &[]);
    bench.frame(SETUP).unwrap();
    bench.frame(AUTHORIZED).unwrap();
    bench.frame(&greeks(1, ".A", "0.50")).unwrap();
    let Some(SourceEvent::Quote { update, payload }) = bench.session.next_event() else { panic!() };
    assert_eq!(update.flags, Flags::DELAYED);
    assert!(payload.unwrap().contains(r#""delta":0.50,"#));
}

#[test]
fn options_that_never_answer_are_reported() {
    let mut bench = Bench::authorized();
    bench.want(&[".A", ".B"], &["SPX"]);
    bench.frame(OPENED_1).unwrap();
    bench.frame(OPENED_3).unwrap();
    bench.outputs();
    bench.frame(&greeks(1, ".A", "1")).unwrap();
    bench.pass(30.0).unwrap();
    assert_eq!((bench.session.silent_options(), bench.session.take_newly_silent()), (1, vec![".B".into()]));
    let again = r#"{"type":"FEED_SUBSCRIPTION","channel":1,"add":[{"type":"Greeks","symbol":".B"}]}"#;
    assert_eq!(bench.outputs(), [r#"{"type":"KEEPALIVE","channel":0}"#, again], "the message may have been refused");
    bench.pass(31.0).unwrap();
    assert_eq!((bench.session.silent_options(), bench.session.take_newly_silent()), (1, vec![]), "still, and no news");
    assert!(!bench.outputs().iter().any(|text| text.contains(".B")), "once");
    bench.frame(&greeks(1, ".B", "1")).unwrap();
    assert_eq!(bench.session.silent_options(), 0);
}

#[test]
fn expired_options_are_not_missed() {
    let mut bench = Bench::authorized();
    bench.want_beside_expired(&[".A"], &[".X"], &[]);
    bench.frame(OPENED_1).unwrap();
    assert!(bench.outputs().iter().any(|text| text.contains(".X")), "subscribed it is");
    bench.pass(31.0).unwrap();
    assert_eq!((bench.session.silent_options(), bench.session.take_newly_silent()), (1, vec![".A".into()]));
    bench.want_beside_expired(&[], &[".A", ".X"], &[]);
    assert_eq!(bench.session.silent_options(), 0);
    bench.frame(&greeks(1, ".X", "1")).unwrap();
    assert_eq!(bench.events().len(), 1, "what comes of it all the same is taken");
}

#[test]
fn rows_make_room_for_those_of_the_next_frame() {
    let mut bench = Bench::authorized();
    bench.want(&[".A"], &[]);
    for i in 0..100 {
        bench.frame(&greeks(1, ".A", &i.to_string())).unwrap();
        while bench.session.has_events() {
            assert!(bench.session.next_event().is_some());
        }
        assert_eq!(bench.session.feed.rows.len(), 1);
    }
    assert!(bench.session.next_event().is_none());
    // Two frames before the first is taken: none is lost.
    bench.frame(&greeks(1, ".A", "1")).unwrap();
    bench.frame(&greeks(1, ".A", "2")).unwrap();
    assert_eq!(bench.events().iter().map(|u| u.delta).collect::<Vec<_>>(), [Some(1.0), Some(2.0)]);
}

#[test]
fn underlyings_have_a_head_start() {
    let quote =
        |symbol: &str| format!(r#"{{"type":"FEED_DATA","channel":3,"data":["Quote",["Quote","{symbol}",1,2]]}}"#);
    let opened = || {
        let mut bench = Bench::new(Settings { head_start: Duration::from_secs(1), ..settings() });
        bench.want(&[".A"], &["SPX", "AAPL"]);
        for frame in [SETUP, AUTHORIZED, OPENED_1, OPENED_3] {
            bench.frame(frame).unwrap();
        }
        assert_eq!(bench.kinds().last().unwrap(), "FEED_SUBSCRIPTION");
        assert_eq!(bench.session.subscription_counts(), (5, 4), "underlyings alone");
        bench.pass(0.5).unwrap();
        assert_eq!(bench.kinds(), [""; 0]);
        bench
    };
    let mut all_heard = opened();
    all_heard.frame(&quote("SPX")).unwrap();
    assert_eq!(all_heard.kinds(), [""; 0]);
    assert!(!all_heard.session.is_streaming());
    all_heard.frame(&quote("AAPL")).unwrap();
    assert!(all_heard.session.deadline() <= all_heard.now);
    assert_eq!(all_heard.kinds(), ["FEED_SUBSCRIPTION"]);
    let mut one_silent = opened();
    one_silent.frame(&quote("SPX")).unwrap();
    assert_eq!(one_silent.session.deadline(), one_silent.now + Duration::from_millis(500));
    one_silent.pass(0.5).unwrap();
    assert_eq!(one_silent.kinds(), ["FEED_SUBSCRIPTION"]);
    // Options found later do not wait.
    one_silent.want(&[".A", ".B"], &["SPX", "AAPL", "F"]);
    one_silent.pass(0.05).unwrap();
    assert_eq!(one_silent.session.subscription_counts().0, 8);
    assert_eq!(one_silent.kinds(), ["FEED_SUBSCRIPTION"]);
    one_silent.pass(0.05).unwrap();
    assert_eq!(one_silent.kinds(), ["FEED_SUBSCRIPTION"]);
}

#[test]
fn a_settled_stream_allocates_nothing() {
    let mut bench = Bench::authorized();
    let symbols: Vec<String> = (0..100).map(|i| format!(".SPXW261218C{i}")).collect();
    bench.want(&symbols.iter().map(String::as_str).collect::<Vec<_>>(), &["SPX", "AAPL"]);
    for frame in [OPENED_1, OPENED_3] {
        bench.frame(frame).unwrap();
    }
    bench.pass(1.0).unwrap();
    bench.outputs();
    let row = |symbol: &String| {
        format!(r#""Greeks","{symbol}",1700000000123,1,7301577213829054464,0,9.5,0.25,"NaN",0.01,-0.5,0.03,0.12"#)
    };
    let compact = format!(
        r#"{{"type":"FEED_DATA","channel":1,"data":["Greeks",[{}]]}}"#,
        symbols.iter().map(row).collect::<Vec<_>>().join(",")
    );
    let full = |symbol: &String| {
        format!(r#"{{"eventType":"Greeks","eventSymbol":"{symbol}","delta":0.123456789012345,"time":1}}"#)
    };
    let full = format!(
        r#"{{"type":"FEED_DATA","channel":1,"data":[{}]}}"#,
        symbols.iter().map(full).collect::<Vec<_>>().join(",")
    );
    let one = greeks(1, &symbols[7], "0.5");
    let quotes = r#"{"type":"FEED_DATA","channel":3,"data":["Quote",["Quote","SPX",1.5,"NaN"],"Trade",["Trade","SPX",0,2],"Profile",["x"]]}"#;
    let keepalive = r#"{"type":"KEEPALIVE","channel":0}"#;
    let mut events = 0;
    let mut round = |bench: &mut Bench| {
        for frame in [&*compact, &full, &one, quotes, keepalive] {
            bench.frame(frame).unwrap();
            bench.session.waiting_by_kind();
            bench.session.take_tally();
            while let Some(event) = bench.session.next_event() {
                events += usize::from(matches!(event, SourceEvent::Quote { .. }));
            }
            bench.session.on_tick(bench.now, true).unwrap();
            assert!(bench.session.poll_output(bench.now).is_none());
            bench.session.deadline();
        }
    };
    // The first round makes room.
    round(&mut bench);
    let counted = allocation_counter::measure(|| (0..10).for_each(|_| round(&mut bench)));
    assert_eq!((counted.count_total, events), (0, 11 * 203));
    // The counter counts.
    assert_ne!(allocation_counter::measure(|| drop(one.clone())).count_total, 0);
}
