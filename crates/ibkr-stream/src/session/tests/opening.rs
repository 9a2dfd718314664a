//! The gate before the first word, and what ends a session.

use super::*;

#[test]
fn nothing_is_sent_before_the_gateway_is_authenticated() {
    let mut bench = Bench::new(settings());
    bench.want(&[(1, Some(UNDERLYINGS))], &[UNDERLYINGS]);
    for frame in [SUCCESS, ACT, r#"{"topic":"sts","args":{"competing":false}}"#, HEARTBEAT] {
        bench.frame(frame).unwrap();
        bench.now += secs(1.0);
        bench.session.on_tick(bench.now, true).unwrap();
        assert_eq!(bench.output(), None, "{frame}");
        assert!(!bench.session.is_authenticated() && !bench.session.is_streaming());
    }
    bench.frame(AUTHENTICATED).unwrap();
    assert!(bench.session.is_authenticated() && !bench.session.is_streaming());
    assert_eq!(bench.texts(1.0), [STR.to_owned(), smd(UNDERLYINGS), smd(1)]);
}

#[test]
fn no_authentication_in_time_ends_the_session() {
    let mut bench = Bench::new(settings());
    bench.now += secs(14.9);
    bench.frame(HEARTBEAT).unwrap();
    bench.frame(WAITING).unwrap();
    bench.output();
    bench.session.on_tick(bench.now, true).unwrap();
    assert_eq!(bench.session.deadline(), bench.start + secs(15.0));
    bench.now += secs(0.1);
    let error = bench.session.on_tick(bench.now, true).unwrap_err();
    assert!(matches!(error, Error::StepTimeout { step: "sts authenticated:true", .. }), "{error:?}");
}

#[test]
fn a_status_beside_its_topic_counts() {
    let mut bench = Bench::new(settings());
    bench.frame(r#"{"topic":"sts","authenticated":true}"#).unwrap();
    assert_eq!(bench.output().as_deref(), Some(STR));
    bench.frame(r#"{"topic":"sts","competing":"true"}"#).unwrap();
    assert!(bench.session.take_signals().competing);
    assert!(matches!(bench.frame(r#"{"topic":"sts","authenticated":false}"#), Err(Error::Unauthenticated)));
}

#[test]
fn a_gateway_that_waits_for_the_session_is_told_its_id_once() {
    let mut bench = Bench::new(settings());
    bench.want_options([1]);
    assert_eq!(bench.output(), None, "never unasked");
    bench.frame(WAITING).unwrap();
    assert!(bench.session.deadline() <= bench.now);
    assert_eq!(bench.output().as_deref(), Some(ID_ANSWER));
    bench.frame(WAITING).unwrap();
    bench.now += SPACING;
    assert_eq!(bench.output(), None);
    // What it says of it shows nothing of it.
    bench.frame(&format!("Topic unknown '{ID_ANSWER}'")).unwrap();
    let shown = format!("{:?} {:?}", bench.session.take_signals(), bench.session);
    assert!(shown.contains("Topic unknown") && !shown.contains("canary"), "{shown}");
    bench.frame(AUTHENTICATED).unwrap();
    assert_eq!(bench.texts(1.0), [STR.to_owned(), smd(1)]);
}

#[test]
fn a_gateway_that_knows_the_login_is_authenticated_without_saying_so() {
    let mut bench = Bench::new(settings());
    bench.want_options([1]);
    bench.now += secs(1.0);
    bench.frame(SUCCESS).unwrap();
    assert_eq!(bench.session.deadline(), bench.now + secs(7.5));
    bench.now += secs(7.4);
    bench.frame(SUCCESS).unwrap();
    bench.session.on_tick(bench.now, true).unwrap();
    assert_eq!(bench.output(), None, "most say so soon");
    // What was not read on this side may be just that.
    bench.session.on_tick(bench.now, false).unwrap();
    bench.now += secs(0.9);
    bench.session.on_tick(bench.now, true).unwrap();
    assert_eq!(bench.output(), None);
    bench.now += secs(0.1);
    bench.session.on_tick(bench.now, true).unwrap();
    assert!(bench.session.is_authenticated());
    assert_eq!(bench.texts(1.0), [STR.to_owned(), smd(1)]);
    // Should it say so after all, what it may have discarded is said again.
    bench.frame(AUTHENTICATED).unwrap();
    assert_eq!(bench.texts(1.0), [STR]);
    bench.frame(AUTHENTICATED).unwrap();
    assert_eq!(bench.texts(1.0), [""; 0]);
    assert!(matches!(bench.frame(UNAUTHENTICATED), Err(Error::Unauthenticated)));

    // A login that is told late leaves less time.
    let mut bench = Bench::new(settings());
    bench.now += secs(14.0);
    bench.frame(SUCCESS).unwrap();
    assert_eq!(bench.session.deadline(), bench.start + secs(15.0));
    bench.now += secs(1.0);
    bench.session.on_tick(bench.now, true).unwrap();
    assert!(bench.session.is_authenticated());
}

#[test]
fn a_side_that_does_not_read_gets_more_time() {
    let mut bench = Bench::new(settings());
    bench.now += secs(20.0);
    bench.session.on_tick(bench.now, false).unwrap();
    bench.now += secs(0.9);
    bench.session.on_tick(bench.now, true).unwrap();
    bench.frame(AUTHENTICATED).unwrap();
    bench.now += secs(100.0);
    bench.session.on_tick(bench.now, false).unwrap();
    bench.now += secs(29.0);
    bench.session.on_tick(bench.now, true).unwrap();
    bench.now += secs(1.0);
    assert!(matches!(bench.session.on_tick(bench.now, true), Err(Error::Silence { .. })));
}

#[test]
fn a_lost_authentication_ends_the_session_before_and_after_it_began() {
    let mut bench = Bench::new(settings());
    assert!(matches!(bench.frame(UNAUTHENTICATED), Err(Error::Unauthenticated)));
    let mut bench = Bench::open(settings());
    assert!(matches!(bench.frame(UNAUTHENTICATED), Err(Error::Unauthenticated)));
}

#[test]
fn each_key_of_a_status_is_taken_for_itself() {
    let mut bench = Bench::open(settings());
    for args in [r#"{"competing":false}"#, r#"{"message":""}"#, r#"{"fail":""}"#, r#"{"serverName":"x"}"#, "{}"] {
        bench.frame(&format!(r#"{{"topic":"sts","args":{args}}}"#)).unwrap();
        assert!(bench.session.is_authenticated(), "{args}");
    }
    assert_eq!(bench.session.take_signals(), Signals::default());
    bench.frame(r#"{"topic":"sts","args":{"competing":true}}"#).unwrap();
    bench.frame(r#"{"topic":"sts","args":{"fail":"why","connected":false}}"#).unwrap();
    let signals = bench.session.take_signals();
    assert!(signals.competing && bench.session.is_authenticated());
    assert_eq!(signals.notices, ["why", "the gateway is not connected to IBKR"]);
    // A second one changes nothing: the first word is not said twice.
    bench.frame(AUTHENTICATED).unwrap();
    assert_eq!(bench.texts(5.0), [""; 0]);
}

#[test]
fn silence_of_the_gateway_ends_the_session_and_any_frame_breaks_it() {
    let mut bench = Bench::open(settings());
    for frame in [HEARTBEAT, "{}", "garbage", &data(77)] {
        bench.now += secs(29.0);
        bench.frame(frame).unwrap();
        bench.session.on_tick(bench.now, true).unwrap();
    }
    assert!(bench.session.deadline() <= bench.now + secs(30.0));
    bench.now += secs(30.0);
    assert!(matches!(bench.session.on_tick(bench.now, true), Err(Error::Silence { .. })));
}

#[test]
fn tic_goes_out_in_its_time_and_keeps_the_spacing() {
    let mut bench = Bench::open(settings());
    bench.want_options(1..=1000);
    let sent = bench.run(170.0, |_| Vec::new());
    let tics: Vec<f64> = sent.iter().filter(|(_, text)| text == "tic").map(|(at, _)| at.as_secs_f64()).collect();
    assert_eq!(tics.len(), 3, "{tics:?}");
    assert!(tics.iter().zip([50.0, 100.0, 150.0]).all(|(at, due)| (at - due).abs() < 0.5), "{tics:?}");
    assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 >= SPACING));
}

#[test]
fn what_the_frames_ask_for() {
    let mut bench = Bench::new(settings());
    bench.frame(ACT).unwrap();
    assert!(!bench.session.take_signals().accounts_changed, "known from REST");
    bench.frame(AUTHENTICATED).unwrap();
    bench.frame(ACT).unwrap();
    bench.frame(r#"{"topic":"str","args":[{"execution_id":"1"}]}"#).unwrap();
    bench.frame(r#"{"topic":"ntf","args":{"title":"a","text":"b\u001b[31m"}}"#).unwrap();
    bench.frame("Topic unknown 'xyz'").unwrap();
    bench.frame(r#"{"error":"no","topic":"smd+7"}"#).unwrap();
    bench.frame(WAITING).unwrap();
    bench.frame(r#"{"topic":"sor","args":[]}"#).unwrap();
    let signals = bench.session.take_signals();
    assert!(signals.accounts_changed && signals.executions && !signals.competing && signals.lost.is_none());
    let expected =
        ["a: b\\u{1b}[31m", "error: Topic unknown \\'xyz\\'", "error for contract 7: no", "waiting for session"];
    assert_eq!(signals.notices, expected);
    assert_eq!(bench.session.take_tally(), Tally { errors: 2, unknown_topics: 1, ..Tally::default() });
    assert_eq!((bench.session.take_tally(), bench.session.take_signals()), (Tally::default(), Signals::default()));
}

#[test]
fn a_flood_of_errors_is_counted_and_not_kept() {
    let mut bench = Bench::open(settings());
    for _ in 0..1000 {
        bench.frame(r#"{"error":"no"}"#).unwrap();
    }
    assert_eq!(bench.session.take_signals().notices.len(), MAX_NOTICES);
    assert_eq!(bench.session.take_tally().errors, 1000);
}

#[test]
fn frames_are_named() {
    let mut bench = Bench::open(settings());
    bench.want_options([1]);
    for (frame, expected) in [
        (HEARTBEAT, Received::Heartbeat),
        (SUCCESS, Received::Control),
        (r#"{"topic":"tic","alive":true}"#, Received::Control),
        ("ech+hb", Received::Control),
        ("{}", Received::Control),
        (r#"{"conid":1,"server_id":"q0","6509":"RpB","topic":"smd+1"}"#, Received::Data),
        (r#"{"conid":1,"server_id":"q0","topic":"smd+1"}"#, Received::Control),
        (r#"{"server_id":"q0","topic":"smd+1"}"#, Received::Control),
        ("nonsense", Received::Dropped(Defect::Malformed)),
        ("[1]", Received::Dropped(Defect::Shape)),
    ] {
        assert_eq!(bench.frame(frame).unwrap(), expected, "{frame}");
    }
    assert_eq!(bench.frame(&data(2)).unwrap(), Received::Control);
    assert_eq!(bench.session.take_tally().unknown_contracts, 1);
    assert!(!bench.session.has_events());
}

#[test]
fn the_stream_stands_when_data_flows_or_all_is_subscribed() {
    let mut bench = Bench::open(settings());
    assert!(bench.session.is_streaming(), "no positions is a state of its own");
    bench.want_options([1, 2]);
    assert!(!bench.session.is_streaming());
    assert_eq!(bench.output(), Some(smd(1)));
    bench.frame(HEARTBEAT).unwrap();
    assert!(!bench.session.is_streaming(), "not all is subscribed");
    bench.now += SPACING;
    assert_eq!(bench.output(), Some(smd(2)));
    assert!(!bench.session.is_streaming(), "nobody has answered");
    bench.frame(HEARTBEAT).unwrap();
    assert!(bench.session.is_streaming());
    bench.want_options([1, 2, 3]);
    assert!(!bench.session.is_streaming());
    bench.data([1]);
    assert!(bench.session.is_streaming());
}

#[test]
fn the_last_word_ends_every_subscription() {
    let mut bench = Bench::open(settings());
    bench.want_options([3, 1, 2]);
    bench.now += SPACING;
    assert_eq!(bench.output(), Some(smd(3)));
    bench.now += SPACING;
    assert_eq!(bench.output(), Some(smd(1)));
    let words: Vec<String> = std::iter::from_fn(|| bench.session.take_last_word()).collect();
    assert_eq!(words, ["utr".into(), umd(1), umd(3)]);
    assert_eq!(Bench::new(settings()).session.take_last_word(), None, "before the gate there is none");
}

#[test]
fn without_authentication_there_is_no_last_word() {
    let mut bench = Bench::open(settings());
    bench.want_options([1, 2]);
    bench.now += SPACING;
    assert_eq!(bench.output(), Some(smd(1)));
    assert!(matches!(bench.frame(UNAUTHENTICATED), Err(Error::Unauthenticated)));
    assert_eq!((bench.session.take_last_word(), bench.output()), (None, None));
    bench.frame(AUTHENTICATED).unwrap();
    assert_eq!(bench.session.take_last_word().as_deref(), Some("utr"));
}
