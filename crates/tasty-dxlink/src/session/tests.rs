//! The protocol's rules, one message at a time, illegal orders included.

use greeks_model::{Flags, Instrument, InstrumentTable, QuoteUpdate, Underlying};

use super::*;

const UNAUTHORIZED: &str = include_str!("../../tests/fixtures/auth_unauthorized.json");
const AUTHORIZED: &str = include_str!("../../tests/fixtures/auth_authorized.json");
const SETUP: &str = include_str!("../../tests/fixtures/setup.json");
const SESSION_NOT_FOUND: &str = include_str!("../../tests/fixtures/session_not_found.json");
const AT: UnixNanos = UnixNanos::from_millis(1_700_000_000_000);
const OPENED_1: &str = r#"{"type":"CHANNEL_OPENED","channel":1,"service":"FEED"}"#;
const OPENED_3: &str = r#"{"type":"CHANNEL_OPENED","channel":3,"service":"FEED"}"#;
const CLOSED_1: &str = r#"{"type":"CHANNEL_CLOSED","channel":1}"#;

struct Bench {
    session: Session,
    now: Instant,
    table: InstrumentTable,
}

fn settings() -> Settings {
    Settings {
        version: "0.1-greekd/0.1.0".into(),
        token: "canary-token".into(),
        step_timeout: Duration::from_secs(10),
        keepalive: Duration::from_secs(60),
        silence_margin: Duration::from_secs(5),
        greeks_aggregation: Duration::ZERO,
        underlying_aggregation: Duration::from_millis(500),
        head_start: Duration::ZERO,
        chunk: ChunkLimits { bytes: 8192, symbols: 500 },
        chunk_pause: Duration::from_millis(50),
        silent_after: Duration::from_secs(30),
        delayed: false,
        keep_payload: false,
    }
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self { session: Session::new(settings, now), now, table: InstrumentTable::new() }
    }

    /// One that has gone through the handshake with the first two outputs taken.
    fn authorized() -> Self {
        let mut bench = Self::new(settings());
        bench.session.want(&[], bench.now);
        for frame in [SETUP, UNAUTHORIZED, AUTHORIZED] {
            bench.frame(frame).unwrap();
        }
        assert_eq!(bench.kinds(), ["SETUP", "AUTH"]);
        bench
    }

    fn frame(&mut self, text: &str) -> Result<Received, Error> {
        self.session.on_frame(text, self.now, AT)
    }

    fn pass(&mut self, seconds: f64) -> Result<(), Error> {
        self.now += Duration::from_secs_f64(seconds);
        self.session.on_tick(self.now, true)
    }

    fn outputs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.session.poll_output(self.now)).collect()
    }

    fn kinds(&mut self) -> Vec<String> {
        self.outputs().iter().map(|text| kind(text)).collect()
    }

    fn want(&mut self, options: &[&str], underlyings: &[&str]) {
        let wanted: Vec<Wanted> = options
            .iter()
            .map(|symbol| (symbol, Role::Option))
            .chain(underlyings.iter().map(|symbol| (symbol, Role::Underlying)))
            .map(|(symbol, role)| Wanted {
                symbol: (*symbol).into(),
                role,
                instrument: self.table.intern(&Instrument::Underlying(Underlying::new(symbol))),
            })
            .collect();
        self.session.want(&wanted, self.now);
    }

    fn events(&mut self) -> Vec<QuoteUpdate> {
        std::iter::from_fn(|| self.session.next_event())
            .map(|event| match event {
                SourceEvent::Quote { update, .. } => update,
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn kind(text: &str) -> String {
    text.split('"').nth(3).unwrap().into()
}

fn greeks(channel: u64, symbol: &str, delta: &str) -> String {
    format!(
        r#"{{"type":"FEED_DATA","channel":{channel},"data":["Greeks",["Greeks","{symbol}",1700000000123,1,2,0,9.5,0.25,{delta},0.01,-0.5,0.03,0.12]]}}"#
    )
}

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
    bench.pass(9.9).unwrap();
    assert!(matches!(bench.pass(0.1), Err(Error::StepTimeout { step: "AUTH_STATE", .. })));

    let mut bench = Bench::new(settings());
    bench.frame(SETUP).unwrap();
    bench.pass(9.0).unwrap();
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
    bench.frame(&greeks(1, ".B", "1")).unwrap();
    assert_eq!(bench.session.silent_options(), 0);
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
