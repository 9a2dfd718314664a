//! Frames as events.

use super::*;

fn streaming(settings: Settings) -> Bench {
    let mut bench = Bench::open(settings);
    bench.want(&[(1, Some(UNDERLYINGS))], &[UNDERLYINGS]);
    bench.texts(1.0);
    bench
}

/// The event of one frame with these fields.
fn event(bench: &mut Bench, number: i64, fields: &str) -> QuoteUpdate {
    let text = format!(r#"{{"conid":{number},{fields},"topic":"smd+{number}"}}"#);
    assert_eq!(bench.frame(&text).unwrap(), Received::Data, "{text}");
    let events = bench.events();
    assert_eq!(events.len(), 1, "{text}");
    events[0]
}

#[test]
fn what_was_refused_for_want_of_the_accounts_is_asked_again_once_they_are_listed() {
    let mut bench = Bench::open(settings());
    let refused = |bench: &mut Bench| {
        bench.frame(r#"{"error":"No accounts","code":500,"topic":"smd"}"#).unwrap();
        assert!(bench.session.take_signals().unprimed);
        bench.session.primed(bench.now);
    };
    bench.want_options([1, 2, 3]);
    assert_eq!(bench.texts(5.0), [smd(1), smd(2), smd(3)]);
    bench.data([1, 2]);
    refused(&mut bench);
    assert_eq!(bench.texts(1.0), [smd(3)], "the one without an answer");
    bench.now += secs(5.0);
    // What comes after a renewal may be of the subscription before.
    bench.want_options([1, 2, 3, 4]);
    assert_eq!(bench.texts(1.0), [smd(4)]);
    bench.data([1, 2, 3, 4]);
    refused(&mut bench);
    assert_eq!(bench.texts(5.0), [smd(4)]);
    bench.frame(r#"{"error":"odd","topic":"smd+1"}"#).unwrap();
    assert!(!bench.session.take_signals().unprimed);
}

#[test]
fn an_option_in_canonical_units() {
    let mut bench = streaming(settings());
    let update = event(
        &mut bench,
        1,
        r#""_updated":1678666665031,"31":"H5.20","84":"5.1","86":"5.3","7635":"331.33","7308":"-0.257","7309":"0.016","7310":"-0.518","7311":"0.026","7633":"85.6%","6509":"RpB""#,
    );
    let mut expected = QuoteUpdate::new(bench.instrument(1), bench.wall());
    expected.event_time = Some(UnixNanos::from_millis(1_678_666_665_031));
    expected.last_price = Some(5.2);
    expected.bid_price = Some(5.1);
    expected.ask_price = Some(5.3);
    expected.option_price = Some(331.33);
    expected.delta = Some(-0.257);
    expected.gamma = Some(0.016);
    expected.theta = Some(-0.518);
    expected.vega = Some(0.026);
    expected.implied_volatility = Some(85.6 / 100.0);
    assert_eq!(update, expected);
}

#[test]
fn an_underlying_has_prices_only() {
    let mut bench = streaming(settings());
    let update = event(&mut bench, UNDERLYINGS, r#""31":"119.46","84":"1,119.40","7308":"1","7635":"119.5""#);
    let mut expected = QuoteUpdate::new(bench.instrument(UNDERLYINGS), bench.wall());
    expected.last_price = Some(119.46);
    expected.bid_price = Some(1119.4);
    assert_eq!(update, expected);
}

#[test]
fn absent_is_unchanged_and_empty_is_unknown() {
    let mut bench = streaming(settings());
    let update = event(&mut bench, 1, r#""7308":"","7309":"-","7310":"N/A","7311":"what","84":null"#);
    for unknown in [update.delta, update.gamma, update.theta, update.vega, update.bid_price] {
        assert!(unknown.is_some_and(f64::is_nan));
    }
    for absent in [update.rho, update.implied_volatility, update.option_price, update.ask_price, update.last_price] {
        assert_eq!(absent, None);
    }
    assert_eq!(update.event_time, None);
    assert_eq!(bench.session.take_tally(), Tally { odd_values: 1, ..Tally::default() });
}

#[test]
fn yesterdays_close_is_no_last_price_and_a_frozen_mark() {
    let mut bench = streaming(settings());
    bench.frame(r#"{"conid":1,"31":"C5.20","topic":"smd+1"}"#).unwrap();
    assert_eq!(bench.events().len(), 0, "nothing is said of today");
    let update = event(&mut bench, 1, r#""31":"C5.20","7635":"C5.25""#);
    assert_eq!((update.last_price, update.option_price, update.flags), (None, Some(5.25), Flags::FROZEN));
    let update = event(&mut bench, 1, r#""7635":"5.25""#);
    assert_eq!(update.flags, Flags::NONE, "it was the number's mark, not the contract's");
}

#[test]
fn the_scale_of_the_volatility_is_settled_or_marked() {
    let mut bench = streaming(settings());
    for (text, value, flags) in [
        (r#""14.7%""#, 14.7 / 100.0, Flags::NONE),
        (r#""1%""#, 0.01, Flags::NONE),
        (r#""1,000%""#, 10.0, Flags::NONE),
        (r#""14.7""#, 14.7 / 100.0, Flags::DOUBTFUL_IV_SCALE),
        (r#""0.32%""#, 0.32 / 100.0, Flags::DOUBTFUL_IV_SCALE),
        (r#""1,000.1%""#, 1000.1 / 100.0, Flags::DOUBTFUL_IV_SCALE),
        (r#""-5%""#, -0.05, Flags::DOUBTFUL_IV_SCALE),
        ("28.5", 28.5 / 100.0, Flags::DOUBTFUL_IV_SCALE),
    ] {
        let update = event(&mut bench, 1, &format!(r#""7633":{text}"#));
        assert_eq!((update.implied_volatility, update.flags), (Some(value), flags), "{text}");
    }
    let update = event(&mut bench, 1, r#""7633":"N/A""#);
    assert!(update.implied_volatility.is_some_and(f64::is_nan) && update.flags == Flags::NONE);
}

#[test]
fn availability_is_remembered_for_each_contract() {
    let mut bench = streaming(settings());
    let delayed_and_frozen = Flags::DELAYED | Flags::FROZEN;
    for (letter, flags) in
        [("DPB", Flags::DELAYED), ("Z", Flags::FROZEN), ("Y", delayed_and_frozen), ("S", Flags::NONE)]
    {
        assert_eq!(event(&mut bench, 1, &format!(r#""84":"1","6509":"{letter}""#)).flags, flags, "{letter}");
        assert_eq!(event(&mut bench, 1, r#""84":"2""#).flags, flags, "{letter}");
        assert_eq!(event(&mut bench, UNDERLYINGS, r#""84":"3""#).flags, Flags::NONE);
    }
    bench.frame(r#"{"conid":1,"6509":"Y","topic":"smd+1"}"#).unwrap();
    assert_eq!(bench.events().len(), 0);
    assert_eq!(event(&mut bench, 1, r#""84":"1""#).flags, delayed_and_frozen);
    assert_eq!(event(&mut bench, 1, r#""84":"1","6509":"X""#).flags, delayed_and_frozen, "a letter that does not say");
    let counts = bench.options();
    assert_eq!((counts.delayed, counts.frozen, counts.not_permitted), (1, 1, 0));
    assert_eq!(bench.session.report().underlyings.delayed, 0);
}

#[test]
fn events_keep_their_order_and_the_payload_is_the_frame() {
    let mut bench = streaming(Settings { keep_payload: true, ..settings() });
    let texts = [data(1), data(UNDERLYINGS), r#" {"conid":1,"55":"é","86":"7","topic":"smd+1"} "#.to_owned()];
    let mut bytes: Vec<Vec<u8>> = texts.iter().map(|text| text.clone().into_bytes()).collect();
    bytes[1].splice(1..1, b"\"7051\":\"CAF\x99\",".iter().copied());
    for frame in &bytes {
        assert!(!bench.session.has_events() || bytes[0] != *frame);
        let wall = bench.wall();
        assert_eq!(bench.session.on_frame(frame, bench.now, wall).unwrap(), Received::Data);
    }
    assert!(bench.session.has_events());
    let mut payloads = Vec::new();
    while let Some(SourceEvent::Quote { update, payload }) = bench.session.next_event() {
        let payload = payload.unwrap();
        let object: serde_json::Value = serde_json::from_str(&payload).unwrap();
        assert!(object.is_object());
        payloads.push((update.instrument, payload));
    }
    assert!(!bench.session.has_events());
    let (option, underlying) = (bench.instrument(1), bench.instrument(UNDERLYINGS));
    assert_eq!(payloads.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [option, underlying, option]);
    assert_eq!((&*payloads[0].1, &*payloads[2].1), (&*texts[0], texts[2].trim()));
    assert!(payloads[1].1.contains("CAF\u{fffd}"));
}

#[test]
fn an_error_beside_data_is_told_and_the_data_kept() {
    let mut bench = streaming(settings());
    assert_eq!(event(&mut bench, 1, r#""84":"1","error":"odd""#).bid_price, Some(1.0));
    assert_eq!(bench.session.take_signals().notices, ["error for contract 1: odd"]);
    assert_eq!(bench.session.take_tally().errors, 1);
}

#[test]
fn a_steady_stream_costs_no_allocation() {
    let mut bench = Bench::open(settings());
    bench.want_options(1..=200);
    bench.run(22.0, |at| if at.as_millis() % 1000 < 100 { (1..=200).collect() } else { vec![] });
    let frames: Vec<String> = (1..=200).map(data).collect();
    let mut events = 0;
    let mut round = |bench: &mut Bench| {
        for frame in frames.iter().map(String::as_str).chain([HEARTBEAT]) {
            bench.frame(frame).unwrap();
            bench.session.take_tally();
            bench.session.take_signals();
            while let Some(event) = bench.session.next_event() {
                events += usize::from(matches!(event, SourceEvent::Quote { .. }));
            }
            bench.session.on_tick(bench.now, true).unwrap();
            assert!(bench.session.poll_output(bench.now).is_none());
            bench.session.report();
            bench.session.deadline();
        }
    };
    // The first round makes room.
    round(&mut bench);
    let counted = allocation_counter::measure(|| (0..10).for_each(|_| round(&mut bench)));
    assert_eq!((counted.count_total, events), (0, 11 * 200));
}
