//! The way to a stream, its time limits, and errors on it.

use super::*;

#[test]
fn the_plain_course() {
    let mut bench = Bench::new(settings());
    bench.want(&[".A", ".B"], &["SPX"]);
    assert_eq!(
        bench.outputs(),
        [
            r#"{"type":"SETUP","channel":0,"version":"0.1-greekd/0.1.0","keepaliveTimeout":60,"acceptKeepaliveTimeout":60}"#
        ]
    );
    bench.frame(SETUP).unwrap();
    assert_eq!(bench.kinds(), [""; 0], "AUTH waits for AUTH_STATE");
    bench.frame(UNAUTHORIZED).unwrap();
    assert_eq!(bench.outputs(), [r#"{"type":"AUTH","channel":0,"token":"canary-token"}"#]);
    assert!(bench.session.awaits_authorization() && !bench.session.is_authorized());
    bench.frame(AUTHORIZED).unwrap();
    assert_eq!(bench.kinds(), ["CHANNEL_REQUEST", "CHANNEL_REQUEST"]);
    bench.frame(OPENED_1).unwrap();
    let opened = bench.outputs();
    assert!(opened[0].contains(r#""acceptAggregationPeriod":0,"#), "{}", opened[0]);
    assert_eq!(
        opened[1],
        r#"{"type":"FEED_SUBSCRIPTION","channel":1,"add":[{"type":"Greeks","symbol":".A"},{"type":"Greeks","symbol":".B"}]}"#
    );
    bench.frame(OPENED_3).unwrap();
    assert_eq!(bench.kinds(), ["FEED_SETUP"], "chunks are paced");
    assert!(!bench.session.is_streaming());
    bench.pass(0.05).unwrap();
    assert_eq!(
        bench.outputs(),
        [
            r#"{"type":"FEED_SUBSCRIPTION","channel":3,"add":[{"type":"Quote","symbol":"SPX"},{"type":"Trade","symbol":"SPX"}]}"#
        ]
    );
    assert_eq!(bench.session.subscription_counts(), (4, 4));
    assert!(!bench.session.is_streaming(), "the server has not spoken since");
    assert_eq!(bench.frame(&greeks(1, ".B", "0.5")).unwrap(), Received::Data);
    assert!(bench.session.is_streaming());
    let [update] = bench.events()[..] else { panic!() };
    assert_eq!(update.instrument, bench.table.intern(&Instrument::Underlying(Underlying::new(".B"))));
    assert_eq!((update.received_at, update.event_time), (AT, Some(UnixNanos::from_millis(1_700_000_000_123))));
    assert_eq!((update.option_price, update.implied_volatility, update.delta), (Some(9.5), Some(0.25), Some(0.5)));
    assert_eq!((update.gamma, update.theta, update.rho, update.vega), (Some(0.01), Some(-0.5), Some(0.03), Some(0.12)));
    assert_eq!((update.flags, update.bid_price, update.last_price), (Flags::NONE, None, None));
    bench.frame(r#"{"type":"FEED_DATA","channel":3,"data":["Quote",["Quote","SPX",1.5,"NaN"],"Trade",["Trade","SPX",0,2]]}"#).unwrap();
    assert_eq!(bench.session.waiting_by_kind(), [(EventKind::Greeks, 0), (EventKind::Quote, 1), (EventKind::Trade, 1)]);
    let [quote, trade] = bench.events()[..] else { panic!() };
    assert_eq!((quote.bid_price, quote.ask_price.map(f64::is_nan), quote.last_price), (Some(1.5), Some(true), None));
    assert_eq!((trade.last_price, trade.option_price, trade.event_time), (Some(2.0), None, None));
}

#[test]
fn a_server_without_authorisation_gets_no_token() {
    let mut bench = Bench::new(settings());
    bench.want(&[".A"], &[]);
    bench.frame(SETUP).unwrap();
    bench.frame(AUTHORIZED).unwrap();
    assert_eq!(bench.kinds(), ["SETUP", "CHANNEL_REQUEST"]);
    bench.frame(AUTHORIZED).unwrap();
    assert_eq!(bench.kinds(), [""; 0]);
}

#[test]
fn auth_state_before_setup_is_remembered() {
    let mut bench = Bench::new(settings());
    bench.frame(UNAUTHORIZED).unwrap();
    bench.frame(UNAUTHORIZED).unwrap();
    assert_eq!(bench.kinds(), ["SETUP"]);
    bench.frame(SETUP).unwrap();
    assert_eq!(bench.kinds(), ["AUTH"]);
    bench.frame(SETUP).unwrap();
    assert_eq!(bench.kinds(), [""; 0], "a repeated SETUP changes nothing");
}

/// The text of the dxLink AsyncAPI: the client sends AUTH after SETUP, and AUTH_STATE is the answer.
#[test]
fn a_server_that_waits_for_auth_gets_it() {
    let mut bench = Bench::new(settings());
    bench.want(&[".A"], &[]);
    bench.frame(SETUP).unwrap();
    bench.pass(4.9).unwrap();
    assert_eq!(bench.kinds(), ["SETUP"]);
    assert_eq!(bench.session.deadline(), bench.now + Duration::from_millis(100));
    bench.pass(0.1).unwrap();
    assert_eq!(bench.kinds(), ["AUTH"]);
    bench.pass(0.1).unwrap();
    assert_eq!(bench.kinds(), [""; 0], "once");
    assert!(bench.session.awaits_authorization());
    bench.frame(AUTHORIZED).unwrap();
    assert_eq!(bench.kinds(), ["CHANNEL_REQUEST"]);
}

#[test]
fn after_a_lost_session_the_invitation_is_waited_for() {
    let mut bench = Bench::new(Settings { uninvited: false, ..settings() });
    bench.frame(SETUP).unwrap();
    bench.pass(9.9).unwrap();
    assert_eq!(bench.kinds(), ["SETUP"]);
    assert!(matches!(bench.pass(0.1), Err(Error::StepTimeout { step: "AUTH_STATE", .. })));
}

#[test]
fn an_invitation_that_comes_late_is_no_refusal() {
    let uninvited = || {
        let mut bench = Bench::new(settings());
        bench.frame(SETUP).unwrap();
        bench.pass(5.0).unwrap();
        bench.frame(UNAUTHORIZED).unwrap();
        assert_eq!(bench.kinds(), ["SETUP", "AUTH"], "AUTH is on its way already");
        bench
    };
    let mut bench = uninvited();
    bench.frame(AUTHORIZED).unwrap();
    assert!(bench.session.is_authorized());
    assert!(matches!(uninvited().frame(UNAUTHORIZED), Err(Error::Unauthorized)));
    let mut bench = uninvited();
    bench.pass(9.9).unwrap();
    assert!(matches!(bench.pass(0.1), Err(Error::Unauthorized)), "nothing followed: it was a refusal");
}

#[test]
fn a_refused_token_ends_the_session() {
    for frame in [UNAUTHORIZED, r#"{"type":"ERROR","channel":0,"error":"UNAUTHORIZED","message":"no: canary-token"}"#] {
        let mut bench = Bench::new(settings());
        bench.frame(SETUP).unwrap();
        bench.frame(UNAUTHORIZED).unwrap();
        assert!(matches!(bench.frame(frame), Err(Error::Unauthorized)), "{frame}");
        let mut later = Bench::authorized();
        assert!(matches!(later.frame(frame), Err(Error::Unauthorized)), "{frame}");
    }
}

#[test]
fn a_lost_session_is_not_the_tokens_fault() {
    for code in ["UNKNOWN", "UNAUTHORIZED", "BAD_ACTION"] {
        let mut bench = Bench::new(settings());
        bench.frame(SETUP).unwrap();
        bench.frame(UNAUTHORIZED).unwrap();
        let result = bench.frame(&SESSION_NOT_FOUND.replace("UNKNOWN", code));
        assert!(matches!(result, Err(Error::SessionNotFound)), "{code}");
    }
}

#[test]
fn errors_end_the_handshake_but_not_the_stream() {
    let error = |code: &str, channel: u64| {
        format!(r#"{{"type":"ERROR","channel":{channel},"error":"{code}","message":"bad canary-token"}}"#)
    };
    let mut bench = Bench::new(settings());
    let failed = bench.frame(&error("BAD_ACTION", 0)).unwrap_err();
    assert!(matches!(&failed, Error::Streamer { code, .. } if code == "BAD_ACTION"));
    assert!(!failed.to_string().contains("canary"), "{failed}");
    let mut bench = Bench::authorized();
    for code in ["BAD_ACTION", "INVALID_MESSAGE", "UNKNOWN", "SOMETHING_NEW"] {
        assert_eq!(bench.frame(&error(code, 0)).unwrap(), Received::Control);
        assert_eq!(bench.frame(&error(code, 1)).unwrap(), Received::Control);
        assert_eq!(bench.frame(&error(code, 99)).unwrap(), Received::Control);
    }
    for code in ["TIMEOUT", "UNSUPPORTED_PROTOCOL"] {
        assert!(matches!(bench.frame(&error(code, 0)), Err(Error::Streamer { .. })));
    }
    bench.want(&[".A"], &[]);
    assert!(matches!(bench.frame(&error("BAD_ACTION", 1)), Err(Error::Streamer { .. })), "its request was refused");
}

#[test]
fn each_step_has_its_limit() {
    let mut bench = Bench::new(settings());
    bench.pass(9.9).unwrap();
    assert!(matches!(bench.pass(0.1), Err(Error::StepTimeout { step: "SETUP", .. })));
    assert_eq!(bench.kinds(), ["SETUP", "ERROR"]);

    let mut bench = Bench::new(settings());
    bench.pass(9.0).unwrap();
    bench.frame(SETUP).unwrap();
    bench.pass(5.0).unwrap();
    bench.pass(9.9).unwrap();
    assert!(matches!(bench.pass(0.1), Err(Error::StepTimeout { step: "answer to AUTH", .. })));

    let mut bench = Bench::new(settings());
    bench.frame(SETUP).unwrap();
    bench.pass(4.0).unwrap();
    bench.frame(UNAUTHORIZED).unwrap();
    bench.pass(9.9).unwrap();
    bench.frame(r#"{"type":"KEEPALIVE","channel":0}"#).unwrap();
    assert!(matches!(bench.pass(0.1), Err(Error::StepTimeout { step: "answer to AUTH", .. })));

    let mut bench = Bench::authorized();
    bench.want(&[".A"], &[]);
    bench.pass(9.9).unwrap();
    assert!(matches!(bench.pass(0.1), Err(Error::StepTimeout { step: "CHANNEL_OPENED", .. })));
}

#[test]
fn something_is_sent_every_third_of_the_smallest_time_out() {
    for (server, accepts, expected) in
        [(60.0, 60.0, 20.0), (30.0, 60.0, 10.0), (60.0, 9.0, 3.0), (0.5, 60.0, 1.0), (0.0, 0.0, 20.0), (1e9, 1e9, 20.0)]
    {
        let mut bench = Bench::new(settings());
        bench
            .frame(&format!(r#"{{"type":"SETUP","keepaliveTimeout":{server},"acceptKeepaliveTimeout":{accepts}}}"#))
            .unwrap();
        bench.frame(AUTHORIZED).unwrap();
        assert_eq!(bench.kinds(), ["SETUP"]);
        assert_eq!(bench.session.deadline(), bench.now + Duration::from_secs_f64(expected));
        bench.pass(expected - 0.01).unwrap();
        assert_eq!(bench.kinds(), [""; 0]);
        // What comes in does not count as a sign of our own life.
        bench.frame(r#"{"type":"KEEPALIVE","channel":0}"#).unwrap();
        bench.pass(0.01).unwrap();
        bench.session.on_tick(bench.now, true).unwrap();
        assert_eq!(bench.kinds(), ["KEEPALIVE"], "{server} {accepts}");
        assert_eq!(bench.kinds(), [""; 0]);
    }
}

#[test]
fn silence_kills_the_link_after_the_larger_time_out() {
    for (server, dead_after) in [(60.0, 65.0), (90.0, 95.0), (5.0, 65.0), (1e6, 305.0)] {
        let mut bench = Bench::new(settings());
        bench.frame(&format!(r#"{{"type":"SETUP","keepaliveTimeout":{server},"acceptKeepaliveTimeout":60}}"#)).unwrap();
        bench.frame(AUTHORIZED).unwrap();
        bench.outputs();
        bench.pass(dead_after - 0.01).unwrap();
        bench.outputs();
        assert!(matches!(bench.pass(0.01), Err(Error::Silence { .. })), "{server}");
        assert_eq!(bench.kinds(), ["ERROR"]);
    }
    let mut bench = Bench::authorized();
    bench.pass(64.0).unwrap();
    bench.session.on_tick(bench.now + Duration::from_secs(20), false).unwrap();
    bench.pass(84.0).unwrap();
    assert_eq!(bench.frame("garbage").unwrap(), Received::Dropped(Defect::Malformed));
    bench.pass(64.0).unwrap();
}

#[test]
fn messages_out_of_order_do_no_harm() {
    let mut bench = Bench::new(settings());
    bench.want(&[".A"], &[]);
    for frame in [
        OPENED_1,
        CLOSED_1,
        &greeks(1, ".A", "1"),
        r#"{"type":"FEED_CONFIG","channel":1,"eventFields":{"Greeks":["delta"]}}"#,
    ] {
        bench.frame(frame).unwrap();
    }
    assert_eq!(bench.kinds(), ["SETUP"]);
    assert_eq!(bench.events(), []);
    bench.frame(AUTHORIZED).unwrap();
    assert_eq!(bench.kinds(), [""; 0], "no channel before the server's SETUP");
    bench.frame(SETUP).unwrap();
    assert_eq!(bench.kinds(), ["CHANNEL_REQUEST"]);
    bench.frame(&greeks(1, ".A", "1")).unwrap();
    assert_eq!(bench.events().len(), 1, "data may overtake CHANNEL_OPENED");
}
