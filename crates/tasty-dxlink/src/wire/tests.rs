//! The decoder against captured shapes, broken input and random layouts.

use proptest::prelude::*;

use super::feed::MAX_ROWS;
use super::incoming::AuthState;
use super::*;

pub(super) const GREEKS: &str = include_str!("../../tests/fixtures/compact_greeks.json");
const GREEKS_FULL: &str = include_str!("../../tests/fixtures/full_greeks.json");
const CONFIG: &str = include_str!("../../tests/fixtures/feed_config.json");
pub(super) const SEVERAL: &str = include_str!("../../tests/fixtures/several_types.json");

pub(super) fn feed() -> Feed {
    let mut feed = Feed::default();
    for symbol in [".PLTR231117C15", ".WBA231117P27.5", "./ESZ26", ".A", ".B"] {
        feed.symbols.intern(symbol, Role::Option);
    }
    for symbol in ["SPX", "BRK/B"] {
        feed.symbols.intern(symbol, Role::Underlying);
    }
    feed.open(1);
    feed.open(3);
    feed
}

pub(super) fn configure(feed: &mut Feed, text: &str) -> u32 {
    match read(text, &mut Feed::default()).unwrap() {
        super::incoming::Incoming { channel, message: Message::FeedConfig { event_fields: Some(fields) } } => {
            feed.configure(channel, fields)
        }
        other => panic!("{other:?}"),
    }
}

/// Rows without the NaN problem of `==`, bit for bit.
pub(super) fn bits(rows: &[Row]) -> Vec<(EventKind, SymbolId, i64, Vec<Option<u64>>)> {
    let numbers = |n: &super::event::Numbers| {
        [n.price, n.volatility, n.delta, n.gamma, n.theta, n.rho, n.vega, n.bid_price, n.ask_price]
            .map(|value| value.map(|v| if v.is_nan() { u64::MAX } else { v.to_bits() }))
            .to_vec()
    };
    rows.iter().map(|row| (row.kind, row.symbol, row.time, numbers(&row.numbers))).collect()
}

#[test]
fn compact_greeks_keep_every_value() {
    let mut feed = feed();
    assert_eq!(configure(&mut feed, CONFIG), 0);
    assert!(matches!(read(GREEKS, &mut feed).unwrap().message, Message::FeedData));
    let [first, second] = &feed.rows[..] else { panic!("{:?}", feed.rows) };
    assert_eq!(feed.symbols.text(first.symbol), ".PLTR231117C15");
    assert_eq!((first.kind, first.time), (EventKind::Greeks, 1_699_999_200_000));
    assert_eq!(first.numbers.volatility, Some(0.679123456789012));
    assert_eq!(first.numbers.theta, Some(-0.0261234567890123));
    assert_eq!(first.numbers.vega, Some(0.0152345678901234));
    assert_eq!(first.numbers.bid_price, None);
    assert!(second.numbers.price.unwrap().is_nan() && second.numbers.volatility.unwrap().is_nan());
    assert_eq!(second.numbers.gamma, Some(f64::INFINITY));
    assert_eq!(second.numbers.theta, Some(f64::NEG_INFINITY));
    assert_eq!((second.numbers.rho, second.numbers.vega), (Some(0.0), Some(5.0)));
    assert_eq!(feed.tally, Tally::default());
}

#[test]
fn full_and_compact_give_the_same_rows() {
    let (mut compact, mut full) = (feed(), feed());
    read(GREEKS, &mut compact).unwrap();
    read(GREEKS_FULL, &mut full).unwrap();
    assert_eq!(compact.rows.len(), 2);
    assert_eq!(bits(&compact.rows), bits(&full.rows));
}

#[test]
fn several_types_in_one_message_and_unknown_ones_skipped() {
    let mut feed = feed();
    read(SEVERAL, &mut feed).unwrap();
    let kinds: Vec<_> = feed.rows.iter().map(|row| (row.kind, feed.symbols.text(row.symbol))).collect();
    assert_eq!(kinds, [(EventKind::Quote, "SPX"), (EventKind::Quote, "BRK/B"), (EventKind::Trade, "SPX")]);
    assert_eq!(feed.rows[0].numbers.bid_price, Some(5000.25));
    assert!(feed.rows[0].numbers.ask_price.unwrap().is_nan());
    assert_eq!(feed.rows[1].numbers.ask_price, Some(2.0));
    assert_eq!(feed.rows[2].numbers.price, Some(5000.5));
    assert_eq!(feed.tally, Tally { unknown_types: 1, ..Tally::default() });
}

#[test]
fn columns_follow_the_last_config_and_other_types_keep_theirs() {
    let mut feed = feed();
    let reordered = r#"{"type":"FEED_CONFIG","channel":1,"eventFields":{"Greeks":["delta","novelty","eventSymbol"]}}"#;
    assert_eq!(configure(&mut feed, reordered), 0);
    assert_eq!(
        configure(
            &mut feed,
            r#"{"type":"FEED_CONFIG","channel":1,"eventFields":{"Quote":["askPrice","eventSymbol"]}}"#
        ),
        0
    );
    read(r#"{"type":"FEED_DATA","channel":1,"data":["Greeks",[0.5,{"x":[1]},".A"],"Quote",[7,"SPX"]]}"#, &mut feed)
        .unwrap();
    assert_eq!(feed.rows[0].numbers, Numbers { delta: Some(0.5), ..Numbers::default() });
    assert_eq!(feed.rows[1].numbers, Numbers { ask_price: Some(7.0), ..Numbers::default() });
    assert_eq!(feed.tally, Tally::default());
}

#[test]
fn unusable_configs_change_nothing() {
    let mut feed = feed();
    for fields in [
        r#"{"Greeks":[]}"#,
        r#"{"Greeks":["delta"]}"#,
        r#"{"Greeks":5}"#,
        "[]",
        r#"{"Greeks":["eventSymbol","eventSymbol"]}"#,
    ] {
        let text = format!(r#"{{"type":"FEED_CONFIG","channel":1,"eventFields":{fields}}}"#);
        assert_eq!(configure(&mut feed, &text), 1, "{fields}");
    }
    assert_eq!(configure(&mut feed, r#"{"type":"FEED_CONFIG","channel":9,"eventFields":{"Greeks":[]}}"#), 0);
    assert_eq!(configure(&mut feed, r#"{"type":"FEED_CONFIG","channel":1,"eventFields":{"Candle":[]}}"#), 0);
    assert_eq!(configure(&mut feed, r#"{"type":"FEED_CONFIG","channel":1,"eventFields":null}"#), 0);
    read(GREEKS, &mut feed).unwrap();
    assert_eq!(feed.rows.len(), 2);
}

#[test]
fn key_order_and_escapes_do_not_matter() {
    let expected = {
        let mut feed = feed();
        read(r#"{"type":"FEED_DATA","channel":3,"data":["Quote",["Quote","BRK/B",1,2]]}"#, &mut feed).unwrap();
        bits(&feed.rows)
    };
    for text in [
        r#"{"data":["Quote",["Quote","BRK/B",1,2]],"type":"FEED_DATA","channel":3}"#,
        r#"{"type":"FEED_DATA","data":["Quote",["Quote","BRK/B",1,2]],"channel":3}"#,
        r#"{"channel":3,"data":["Quote",["Quote","BRK/B",1,2]],"type":"FEED_DATA"}"#,
        r#"{"type":"FEED_DATA","channel":3,"new":{"a":[1,{}]},"data":["Quote",["Quote","BRK\/B",1.0,2e0]]}"#,
        r#"{"type":"FEED\u005fDATA","channel":3,"data":["Qu\u006fte",["Quote","BRK\u002fB","1",2]]}"#,
        "{ \"type\" : \"FEED_DATA\" ,\n\"channel\":3, \"data\":[ \"Quote\" , [ \"Quote\" , \"BRK/B\" , 1 , 2 ] ] } ",
        r#"{"type":"FEED_DATA","channel":3,"data":[{"askPrice":2,"bidPr\u0069ce":1,"eventSymbol":"BRK\/B","eventType":"Quote"}]}"#,
    ] {
        let mut feed = feed();
        read(text, &mut feed).unwrap_or_else(|defect| panic!("{defect:?}: {text}"));
        assert_eq!(bits(&feed.rows), expected, "{text}");
    }
    let mut feed = feed();
    read(r#"{"type":"FEED_DATA","channel":3,"data":["Quote",["Quote",".\/ESZ26",1,2]]}"#, &mut feed).unwrap();
    assert_eq!(feed.rows.len(), 1);
}

#[test]
fn broken_messages_are_dropped_whole() {
    let quote =
        |values: &str| format!(r#"{{"type":"FEED_DATA","channel":3,"data":["Quote",["Quote","SPX",1,2{values}]]}}"#);
    for (text, defect) in [
        (quote(r#","Quote","SPX",1"#), Defect::RaggedRows),
        (quote(r#","Trade","SPX",1,2"#), Defect::Misaligned),
        (quote(r#","Quote",5,"SPX",2"#), Defect::Misaligned),
        (quote(r#","Quote",null,1,2"#), Defect::Misaligned),
        (quote(r#","Quote",["SPX"],1,2"#), Defect::Misaligned),
        (quote(r#","Quote","SPX",1e999,2"#), Defect::Malformed),
        (quote("]"), Defect::Malformed),
        (quote("").replace("]]}", "]]"), Defect::Malformed),
        (quote("").replace("]]}", "]]}x"), Defect::Malformed),
        (
            quote("")
                .replace(r#"["Quote",["#, r#"["Quote",["Quote","SPX",1,2],"Quote",["#)
                .replace("]]}", r#"],"Trade"]}"#),
            Defect::Shape,
        ),
        (r#"{"type":"FEED_DATA","channel":3,"data":{"eventType":"Quote"}}"#.into(), Defect::Shape),
        (r#"{"data":{"eventType":"Quote"},"type":"FEED_DATA","channel":3}"#.into(), Defect::Shape),
        (r#"{"type":"FEED_DATA","channel":3,"data":[{"eventSymbol":"SPX"}]}"#.into(), Defect::Shape),
        (r#"{"type":"FEED_DATA","channel":3,"data":[{"eventType":"Quote"}]}"#.into(), Defect::Misaligned),
        (r#"{"type":"FEED_DATA","channel":3,"data":["Quote","SPX"]}"#.into(), Defect::Shape),
        (r#"{"type":"FEED_DATA","channel":3,"data":[5]}"#.into(), Defect::Shape),
        (r#"{"type":5,"channel":3}"#.into(), Defect::Shape),
        (r#"{"type":"FEED_DATA","channel":"x","data":[]}"#.into(), Defect::Shape),
        (r#"{"type":"FEED_DATA","channel":3.5,"data":[]}"#.into(), Defect::Shape),
        (r#"{"type":"FEED_DATA","channel":-1,"data":[]}"#.into(), Defect::Shape),
        (r#"{"channel":0}"#.into(), Defect::Shape),
        ("[]".into(), Defect::Shape),
        ("".into(), Defect::Malformed),
        ("not json".into(), Defect::Malformed),
        ("[".repeat(1_000_000), Defect::Shape),
        (r#"{"type":"FEED_DATA","channel":3,"data":[[[]]]}"#.into(), Defect::Shape),
    ] {
        for keep_payload in [false, true] {
            let mut feed = Feed { keep_payload, ..feed() };
            let shown: String = text.chars().take(120).collect();
            assert_eq!(read(&text, &mut feed).expect_err(&shown), defect, "{shown} {keep_payload}");
            assert_eq!(feed.rows, [], "{shown}");
        }
    }
}

#[test]
fn deep_nesting_is_refused_without_deep_recursion() {
    let brackets = "[".repeat(1_000_000);
    for text in [
        format!(r#"{{"type":"FEED_DATA","channel":3,"data":{brackets}"#),
        format!(r#"{{"data":{brackets}"#),
        format!(r#"{{"type":"FEED_DATA","channel":3,"data":["Quote",["Quote","SPX",{brackets}"#),
        format!(
            r#"{{"type":"FEED_DATA","channel":3,"data":["Quote",["Quote","SPX",{brackets}{}]]}}"#,
            "]".repeat(1_000_000)
        ),
        format!(r#"{{"type":"FEED_DATA","channel":3,"data":["Summary",{brackets}"#),
    ] {
        for keep_payload in [false, true] {
            let mut feed = Feed { keep_payload, ..feed() };
            assert!(read(&text, &mut feed).is_err());
            assert_eq!(feed.rows, []);
        }
    }
}

#[test]
fn values_of_other_forms_are_unknown_not_zero() {
    let mut feed = feed();
    let text = r#"{"type":"FEED_DATA","channel":1,"data":["Greeks",["Greeks",".A",null,1,2,1.0,null,true,"n/a",[1],{"a":1},"0.5",18446744073709551615]]}"#;
    read(text, &mut feed).unwrap();
    let n = &feed.rows[0].numbers;
    for value in [n.price, n.volatility, n.delta, n.gamma, n.theta] {
        assert!(value.unwrap().is_nan(), "{n:?}");
    }
    assert_eq!((n.rho, n.vega), (Some(0.5), Some(18446744073709551615.0)));
    assert_eq!(feed.rows[0].time, 0);
    assert_eq!(feed.tally, Tally { odd_values: 4, ..Tally::default() });
}

#[test]
fn removals_and_strangers_give_no_row() {
    let mut feed = feed();
    let row = |symbol: &str, flags: u32| format!(r#""Greeks","{symbol}",1,0,0,{flags},1,1,1,1,1,1,1"#);
    let text = format!(
        r#"{{"type":"FEED_DATA","channel":1,"data":["Greeks",[{},{},{},{},{}]]}}"#,
        row(".A", 2),
        row(".A", 1),
        row(".UNKNOWN", 0),
        row("SPX", 0),
        row(".B", 12)
    );
    read(&text, &mut feed).unwrap();
    assert_eq!(feed.rows.iter().map(|row| feed.symbols.text(row.symbol)).collect::<Vec<_>>(), [".A", ".B"]);
    assert_eq!(feed.tally, Tally { removals: 1, unknown_symbols: 2, ..Tally::default() });
    feed.close(1);
    read(&text, &mut feed).unwrap();
    read(&text.replace(r#""channel":1,"#, "").replace("]]}", r#"]],"channel":77}"#), &mut feed).unwrap();
    assert_eq!((feed.rows.len(), feed.tally.unknown_channels), (2, 2));
}

#[test]
fn a_row_count_beyond_any_real_message_is_refused() {
    let mut feed = feed();
    configure(&mut feed, r#"{"type":"FEED_CONFIG","channel":1,"eventFields":{"Greeks":["eventSymbol","delta"]}}"#);
    let message = |rows: usize| {
        format!(r#"{{"type":"FEED_DATA","channel":1,"data":["Greeks",[{}".B",1]]}}"#, r#"".A",1,"#.repeat(rows))
    };
    assert_eq!(read(&message(MAX_ROWS), &mut feed).unwrap_err(), Defect::TooManyRows);
    assert!(feed.rows.is_empty());
    read(&message(MAX_ROWS - 1), &mut feed).unwrap();
    assert_eq!(feed.rows.len(), MAX_ROWS);
    feed.clear_rows();
    assert!(feed.rows.capacity() < MAX_ROWS);
}

#[test]
fn payloads_hold_the_text_of_each_value() {
    let mut feed = Feed { keep_payload: true, ..feed() };
    read(GREEKS, &mut feed).unwrap();
    assert_eq!(
        feed.rows[1].payload.as_deref(),
        Some(
            r#"{"eventType":"Greeks","eventSymbol":".WBA231117P27.5","time":1699999201500,"sequence":4194303,"index":7301577220276297727,"eventFlags":0,"price":"NaN","volatility":"NaN","delta":-0.5,"gamma":"Infinity","theta":"-Infinity","rho":0,"vega":5}"#
        )
    );
    let mut plain = self::feed();
    read(GREEKS, &mut plain).unwrap();
    assert_eq!(bits(&plain.rows), bits(&feed.rows));
    assert!(plain.rows.iter().all(|row| row.payload.is_none()));
    feed.clear_rows();
    read(GREEKS_FULL, &mut feed).unwrap();
    assert_eq!(bits(&plain.rows), bits(&feed.rows));
    assert!(feed.rows[1].payload.as_deref().unwrap().starts_with(r#"{"eventSymbol":".WBA231117P27.5","#));
}

#[test]
fn control_messages_are_read_leniently() {
    let mut feed = feed();
    let mut message = |text: &'static str| read(text, &mut feed).map(|incoming| (incoming.channel, incoming.message));
    let seconds = |s| Some(std::time::Duration::from_secs_f64(s));
    for (text, channel, expected) in [
        (
            include_str!("../../tests/fixtures/setup.json"),
            0,
            Message::Setup { keepalive: seconds(60.0), accept_keepalive: seconds(60.0) },
        ),
        (
            r#"{"type":"SETUP","channel":0,"version":"1"}"#,
            0,
            Message::Setup { keepalive: None, accept_keepalive: None },
        ),
        (
            r#"{"keepaliveTimeout":0,"acceptKeepaliveTimeout":"2.5","type":"SETUP"}"#,
            0,
            Message::Setup { keepalive: None, accept_keepalive: seconds(2.5) },
        ),
        (
            r#"{"type":"SETUP","keepaliveTimeout":1e300,"acceptKeepaliveTimeout":-1}"#,
            0,
            Message::Setup { keepalive: None, accept_keepalive: None },
        ),
        (r#"{"type":"AUTH_STATE","channel":0,"state":"UNAUTHORIZED"}"#, 0, Message::AuthState(AuthState::Unauthorized)),
        (
            r#"{"type":"AUTH_STATE","channel":0,"state":"AUTHORIZED","userId":"api"}"#,
            0,
            Message::AuthState(AuthState::Authorized),
        ),
        (r#"{"type":"AUTH_STATE","channel":0,"state":7}"#, 0, Message::AuthState(AuthState::Other)),
        (r#"{"type":"AUTH_STATE","channel":"0","state":7}"#, 0, Message::AuthState(AuthState::Other)),
        (r#"{"type":"AUTH_STATE","channel":null,"state":7}"#, 0, Message::AuthState(AuthState::Other)),
        (r#"{"type":"CHANNEL_OPENED","channel":"3"}"#, 3, Message::ChannelOpened),
        (r#"{"type":"CHANNEL_OPENED","channel":3.0}"#, 3, Message::ChannelOpened),
        (include_str!("../../tests/fixtures/channel_opened.json"), 1, Message::ChannelOpened),
        (r#"{"type":"CHANNEL_CLOSED","channel":5}"#, 5, Message::ChannelClosed),
        (r#"{"type":"KEEPALIVE","channel":0}"#, 0, Message::Keepalive),
        (
            r#"{"type":"FEED_CONFIG","channel":1,"dataFormat":"FULL","aggregationPeriod":10.0}"#,
            1,
            Message::FeedConfig { event_fields: None },
        ),
        (
            r#"{"type":"ERROR","channel":0,"error":"BAD_ACTION","message":"a\"b"}"#,
            0,
            Message::Error { code: "BAD_ACTION".into(), text: "a\"b".into() },
        ),
        (r#"{"type":"ERROR","channel":0,"error":null}"#, 0, Message::Error { code: "".into(), text: "".into() }),
        (r#"{"type":"NEW_THING","channel":0,"data":[1,2]}"#, 0, Message::Unknown),
    ] {
        assert_eq!(message(text), Ok((channel, expected)), "{text}");
    }
}

/// A Greeks event whose doubles survive the trip through JSON.
#[derive(Clone, Debug)]
struct Event {
    symbol: usize,
    time: i64,
    values: Vec<f64>,
}

fn any_event() -> impl Strategy<Value = Event> {
    let double = prop_oneof![
        4 => any::<f64>().prop_filter("JSON writes no NaN as number", |v| v.is_finite()),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => (-1000i32..1000).prop_map(f64::from),
    ];
    (0usize..2, 0i64..4_000_000_000_000, proptest::collection::vec(double, 7))
        .prop_map(|(symbol, time, values)| Event { symbol, time, values })
}

const NUMBERS: [&str; 7] = ["price", "volatility", "delta", "gamma", "theta", "rho", "vega"];

fn json_double(value: f64) -> String {
    if value.is_nan() {
        "\"NaN\"".into()
    } else if value.is_infinite() {
        if value > 0.0 { "\"Infinity\"".into() } else { "\"-Infinity\"".into() }
    } else {
        format!("{value:?}")
    }
}

fn json_field(event: &Event, field: &str) -> String {
    match field {
        "eventType" => "\"Greeks\"".into(),
        "eventSymbol" => format!("\"{}\"", [".A", ".B"][event.symbol]),
        "time" => event.time.to_string(),
        _ => match NUMBERS.iter().position(|name| *name == field) {
            Some(i) => json_double(event.values[i]),
            None => "{\"other\":[1,\"x\",null]}".into(),
        },
    }
}

proptest! {
    #[test]
    fn any_column_order_in_any_grouping_and_either_format_gives_the_same_rows(
        events in proptest::collection::vec(any_event(), 1..12),
        columns in Just([&["eventType", "eventSymbol", "time", "extra"][..], &NUMBERS[..]].concat()).prop_shuffle(),
        groups in proptest::collection::vec(1usize..4, 12),
        data_first in any::<bool>(),
        keep_payload in any::<bool>(),
    ) {
        let mut compact = Feed { keep_payload, ..feed() };
        let config = format!(r#"{{"type":"FEED_CONFIG","channel":1,"eventFields":{{"Greeks":{}}}}}"#, serde_json::to_string(&columns).unwrap());
        prop_assert_eq!(configure(&mut compact, &config), 0);
        let mut pairs = Vec::new();
        let mut rest = &events[..];
        for size in groups {
            let (now, later) = rest.split_at(size.min(rest.len()));
            rest = later;
            let values: Vec<String> = now.iter().flat_map(|event| columns.iter().map(|c| json_field(event, c))).collect();
            pairs.push(format!("\"Greeks\",[{}]", values.join(",")));
        }
        let wrap = |data: String| if data_first {
            format!(r#"{{"data":[{data}],"channel":1,"type":"FEED_DATA"}}"#)
        } else {
            format!(r#"{{"type":"FEED_DATA","channel":1,"data":[{data}]}}"#)
        };
        read(&wrap(pairs.join(",")), &mut compact).unwrap();
        let mut full = Feed { keep_payload, ..feed() };
        let objects: Vec<String> = events.iter().map(|event| {
            let fields: Vec<String> = columns.iter()
                .filter(|c| json_field(event, c) != "\"NaN\"")
                .map(|c| format!("\"{c}\":{}", json_field(event, c))).collect();
            format!("{{{}}}", fields.join(","))
        }).collect();
        read(&wrap(objects.join(",")), &mut full).unwrap();
        prop_assert_eq!(bits(&compact.rows), bits(&full.rows));
        prop_assert_eq!(compact.rows.len(), events.len());
        for (row, event) in compact.rows.iter().zip(&events) {
            let n = &row.numbers;
            for (read, sent) in [n.price, n.volatility, n.delta, n.gamma, n.theta, n.rho, n.vega].iter().zip(&event.values) {
                let read = read.unwrap();
                prop_assert!(read.to_bits() == sent.to_bits() || read.is_nan() && sent.is_nan(), "{read} {sent}");
            }
            prop_assert_eq!(row.time, event.time);
            prop_assert_eq!(row.payload.is_some(), keep_payload);
        }
        for row in &compact.rows {
            if let Some(payload) = &row.payload {
                prop_assert!(serde_json::from_str::<serde_json::Value>(payload).is_ok(), "{payload}");
            }
        }
    }

    #[test]
    fn cut_and_changed_messages_are_read_or_dropped_whole(
        position in 0usize..700, byte in prop_oneof![Just(b'"'), Just(b','), Just(b'['), Just(b']'), Just(b'}'), Just(b'0'), 0x20u8..0x7f],
        keep_payload in any::<bool>(), cut in any::<bool>(),
    ) {
        let mut text = GREEKS.trim().as_bytes().to_vec();
        let position = position % text.len();
        if cut { text.truncate(position) } else { text[position] = byte }
        let text = String::from_utf8(text).unwrap();
        let mut feed = Feed { keep_payload, ..feed() };
        if read(&text, &mut feed).is_err() {
            prop_assert!(feed.rows.is_empty());
        } else {
            prop_assert!(!cut);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,64}", message in r#"\{("(type|channel|data|state)":("FEED_DATA"|"SETUP"|[0-9]|\[("Greeks"|"Quote"|[0-9.,]|\[|\]|\{|\}){0,8}\]),?){0,4}\}"#) {
        for text in [text, message] {
            for keep_payload in [false, true] {
                let mut feed = Feed { keep_payload, ..feed() };
                let result = read(&text, &mut feed).is_ok();
                prop_assert!(result || feed.rows.is_empty());
            }
        }
    }
}

/// Every message of the corpus, whole, cut at each byte, and with each byte changed: read or dropped whole, never worse.
#[test]
fn the_corpus_and_its_neighbours_do_no_harm() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let mut messages = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        messages.extend(text.lines().map(str::to_owned));
    }
    assert!(messages.len() > 30, "{}", messages.len());
    let harmless = |text: &[u8]| {
        let Ok(text) = std::str::from_utf8(text) else { return };
        for keep_payload in [false, true] {
            let mut feed = Feed { keep_payload, ..feed() };
            if let Ok(incoming) = read(text, &mut feed) {
                if let Message::FeedConfig { event_fields: Some(fields) } = incoming.message {
                    feed.configure(incoming.channel, fields);
                    feed.rows.clear();
                    let again = read(GREEKS, &mut feed);
                    assert!(again.is_ok() || feed.rows.is_empty());
                }
            } else {
                assert!(feed.rows.is_empty(), "{text}");
            }
        }
    };
    for message in &messages {
        let bytes = message.as_bytes();
        harmless(bytes);
        for at in 0..bytes.len() {
            harmless(&bytes[..at]);
            for change in [b'"', b'[', b'}', b'0', b'\\', b' '] {
                let mut changed = bytes.to_vec();
                changed[at] = change;
                harmless(&changed);
            }
        }
    }
}
