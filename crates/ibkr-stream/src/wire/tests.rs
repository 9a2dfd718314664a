//! Frames as they were recorded and as the documents describe them, and their neighbours.

use proptest::prelude::*;

use super::frame::Values;
use super::*;

/// An ES future, 2023, copied from the wire.
pub(super) const FUTURE: &str = r#"{"server_id":"q0","conidEx":"495512572","conid":495512572,"_updated":1678666665031,"6119":"q0","84":"3913.25","31":"3913.50","86":"3913.75","6509":"RB","topic":"smd+495512572"}"#;
/// A stock, 2021.
pub(super) const STOCK: &str = r#"{"server_id":"q0","conid":265598,"_updated":1615300714892,"6119":"q0","87":"12.2M","87_raw":1.22E7,"31":"119.46","6509":"RpB","topic":"smd+265598"}"#;

fn read_frame(text: &str) -> (Incoming, Frame) {
    let mut frame = Frame::default();
    let incoming = read(text.as_bytes(), &mut frame).unwrap_or_else(|defect| panic!("{defect:?} of {text}"));
    (incoming, frame)
}

fn incoming(text: &str) -> Incoming {
    read_frame(text).0
}

fn conid(number: i64) -> Option<Conid> {
    Conid::new(number)
}

fn value(text: &str) -> Option<Decorated> {
    Decorated::from_text(text)
}

fn error(text: &str, number: i64) -> Incoming {
    Incoming::Error { text: text.into(), conid: conid(number) }
}

fn status(text: &str) -> Status {
    match incoming(&format!(r#"{{"topic":"sts","args":{text}}}"#)) {
        Incoming::Status(status) => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn recorded_market_data() {
    let (kind, frame) = read_frame(FUTURE);
    assert_eq!(kind, Incoming::MarketData);
    assert_eq!((frame.conid, frame.updated), (conid(495_512_572), Some(1_678_666_665_031)));
    assert_eq!(frame.availability, Some(Availability::Live));
    let expected = Values { last: value("3913.50"), bid: value("3913.25"), ask: value("3913.75"), ..Values::default() };
    assert_eq!((frame.values, frame.odd_values), (expected, 0));
    let (kind, frame) = read_frame(STOCK);
    assert_eq!(kind, Incoming::MarketData);
    assert_eq!(frame.values, Values { last: value("119.46"), ..Values::default() });
}

#[test]
fn all_fields_of_an_option() {
    let (_, frame) = read_frame(
        r#"{"31":"C5.20","84":"5.1","86":"5.3","7635":"331.33","7308":"-0.257","7309":"0.016","7310":"-0.518","7311":"0.026","7633":"85.6%","6509":"ZBd","conid":"9","_updated":"1678666665031","topic":"smd+9@NYSE"}"#,
    );
    let expected = Values {
        last: value("C5.20"),
        bid: value("5.1"),
        ask: value("5.3"),
        mark: value("331.33"),
        delta: value("-0.257"),
        gamma: value("0.016"),
        theta: value("-0.518"),
        vega: value("0.026"),
        implied_volatility: value("85.6%"),
    };
    assert_eq!((frame.values, frame.conid, frame.updated), (expected, conid(9), Some(1_678_666_665_031)));
    assert_eq!(frame.availability, Some(Availability::Frozen));
}

#[test]
fn a_value_of_another_kind_is_unknown_and_counted() {
    let (_, frame) = read_frame(
        r#"{"conid":9,"84":[1,{"31":"7"}],"86":{"84":"9"},"7308":true,"7309":null,"7310":"x","7311":"12%","7633":0.32,"31":5,"7635":1.22E7,"topic":"smd+9"}"#,
    );
    let number = |value: Option<Decorated>| value.unwrap().value;
    let v = frame.values;
    for unknown in [v.bid, v.ask, v.delta, v.gamma, v.theta, v.vega] {
        assert!(number(unknown).is_nan());
    }
    // null says "unknown" in good order.
    assert_eq!(frame.odd_values, 5);
    assert_eq!((number(v.implied_volatility), number(v.last), number(v.mark)), (0.32, 5.0, 1.22e7));
    assert!(!v.implied_volatility.unwrap().percent);
}

#[test]
fn whose_frame_it_is() {
    for (text, expected) in [
        (r#"{"conid":7,"31":"1","topic":"smd+8"}"#, Some(7)),
        (r#"{"conid":"7","31":"1","topic":"smd+8@NYSE"}"#, Some(7)),
        (r#"{"conidEx":"7@NYSE","31":"1","topic":"smd+8"}"#, Some(7)),
        (r#"{"conidEx":7,"31":"1","topic":"smd+8"}"#, Some(7)),
        (r#"{"conid":7.0,"31":"1","topic":"smd+8"}"#, Some(7)),
        (r#"{"conid":[7],"31":"1","topic":"smd+8@ARCA"}"#, Some(8)),
        (r#"{"conid":0,"31":"1","topic":"smd+8"}"#, Some(8)),
        (r#"{"6509":"N","topic":"smd+8"}"#, Some(8)),
        (r#"{"31":"1","topic":"smd+8+{\"fields\":[\"31\"]}"}"#, Some(8)),
        // Without data: empty updates, to be ignored.
        (r#"{"server_id":"q0","topic":"smd+8"}"#, None),
        (r#"{"conid":7,"server_id":"q0","topic":"smd+8"}"#, None),
        (r#"{"31":"1","topic":"smd+x"}"#, None),
        // Without a topic.
        (r#"{"conid":7,"31":"1"}"#, Some(7)),
        (r#"{"server_id":"q0","conid":"7","7308":"0.5"}"#, Some(7)),
        (r#"{"conid":7,"31":1.5,"topic":null}"#, Some(7)),
        (r#"{"conid":7,"6509":"RpB"}"#, None),
        (r#"{"conid":7,"55":"SPY"}"#, None),
        (r#"{"31":"1"}"#, None),
        (r#"{"conid":7,"31":"1","topic":"smh+7"}"#, None),
        (r#"{"conid":7,"31":"1","topic":["smd+7"]}"#, None),
    ] {
        let (kind, frame) = read_frame(text);
        assert_eq!(frame.conid, expected.and_then(Conid::new), "{text}");
        assert_eq!(kind == Incoming::MarketData, expected.is_some(), "{text}");
    }
}

#[test]
fn times_that_are_none() {
    for time in ["0", "-5", "\"soon\"", "null", "[1]", "1.5", "18446744073709551615"] {
        let (kind, frame) = read_frame(&format!(r#"{{"conid":7,"_updated":{time},"31":"1","topic":"smd+7"}}"#));
        assert_eq!((kind, frame.updated), (Incoming::MarketData, None), "{time}");
    }
    let (_, frame) = read_frame(r#"{"conid":7,"_updated":1.678666665031E12,"31":"1","topic":"smd+7"}"#);
    assert_eq!(frame.updated, Some(1_678_666_665_031));
}

#[test]
fn availability_is_the_first_letter() {
    use Availability::{Delayed, Frozen, FrozenDelayed, Live, NotAcknowledged, NotSubscribed};
    for (text, expected) in [
        ("RpB", Some(Live)),
        ("S", Some(Live)),
        ("DPB", Some(Delayed)),
        ("ZBd", Some(Frozen)),
        ("Y", Some(FrozenDelayed)),
        ("N", Some(NotSubscribed)),
        ("O", Some(NotAcknowledged)),
        ("X", None),
        ("", None),
        ("-", None),
    ] {
        let (_, frame) = read_frame(&format!(r#"{{"conid":7,"6509":"{text}","topic":"smd+7"}}"#));
        assert_eq!(frame.availability, expected, "{text}");
    }
}

#[test]
fn everything_else() {
    for (text, expected) in [
        (r#"{"topic":"system","success":"user123","isFT":false,"isPaper":true}"#, Incoming::System(System::Success)),
        (r#"{"topic":"system","hb":1594677336001}"#, Incoming::System(System::Heartbeat)),
        (r#"{"hb":1594677336001,"topic":"system"}"#, Incoming::System(System::Heartbeat)),
        (r#"{"topic":"system"}"#, Incoming::Empty),
        (r#"{"topic":"act","args":{"accounts":["U1"]}}"#, Incoming::Act),
        (r#"{"topic":"tic","alive":true,"id":"a","lastAccessed":1}"#, Incoming::Tic),
        (r#"{"topic":"ntf","args":{"id":"1","text":"b","title":"a","url":""}}"#, Incoming::Notice("a: b".into())),
        (r#"{"topic":"ntf","args":[{"text":"a"},{"text":"b"},7]}"#, Incoming::Notice("a; b".into())),
        (r#"{"topic":"blt","args":[{"id":"1","message":"m"}]}"#, Incoming::Notice("m".into())),
        (r#"{"topic":"blt","args":"m"}"#, Incoming::Notice("m".into())),
        (r#"{"topic":"ntf"}"#, Incoming::Notice(String::new())),
        (r#"{"topic":"str","args":[{"execution_id":"x"}]}"#, Incoming::Execution),
        (r#"{"topic":"str","args":[ ]}"#, Incoming::Empty),
        (r#"{"topic":"str"}"#, Incoming::Empty),
        (r#"{"topic":"error","message":"m"}"#, Incoming::Error { text: "m".into(), conid: None }),
        (r#"{"topic":"sor","error":"m"}"#, Incoming::Error { text: "m".into(), conid: None }),
        (r#"{"error":"m"}"#, Incoming::Error { text: "m".into(), conid: None }),
        (r#"{"error":{"a":1}}"#, Incoming::Error { text: "{\"a\":1}".into(), conid: None }),
        (r#"{"error":"m","topic":"smd+7"}"#, error("m", 7)),
        (r#"{"error":"m","conid":7,"topic":"smd+7"}"#, error("m", 7)),
        // An "empty update" is no answer: nothing may pass for alive by it.
        (r#"{"error":null,"topic":"smd+7","conid":7}"#, Incoming::Empty),
        (
            r#"{"server_id":"q0","conidEx":"7","conid":7,"_updated":1678666665031,"6119":"q0","topic":"smd+7"}"#,
            Incoming::Empty,
        ),
        (r#"{"error":null}"#, Incoming::Empty),
        (r#"{"message":"waiting for session"}"#, Incoming::WaitingForSession),
        (r#"{"message":"Unsubscribed 5"}"#, Incoming::Notice("Unsubscribed 5".into())),
        (r#"{"result":"unsubscribed from ledger"}"#, Incoming::Empty),
        (r#"{"result":[{"a":[]}],"topic":"sld+U1"}"#, Incoming::Unknown),
        ("{}", Incoming::Empty),
        (" {} \n", Incoming::Empty),
        ("ech+hb", Incoming::Echo),
        ("Topic unknown 'xyz'", Incoming::Error { text: "Topic unknown 'xyz'".into(), conid: None }),
        ("\"Topic unknown 'xyz'\"", Incoming::Error { text: "Topic unknown 'xyz'".into(), conid: None }),
    ] {
        assert_eq!(incoming(text), expected, "{text}");
    }
}

#[test]
fn an_error_beside_data_costs_no_data() {
    let (kind, frame) = read_frame(r#"{"error":"m","conid":7,"84":"1","topic":"smd+7"}"#);
    assert_eq!((kind, frame.error.as_deref(), frame.values.bid), (Incoming::MarketData, Some("m"), value("1")));
}

#[test]
fn each_key_of_a_status_stands_for_itself() {
    let none = Status::default();
    assert_eq!(status(r#"{"authenticated":true}"#), Status { authenticated: Some(true), ..none.clone() });
    assert_eq!(status(r#"{"authenticated":false}"#).authenticated, Some(false));
    assert_eq!(status(r#"{"authenticated":"false"}"#).authenticated, Some(false));
    assert_eq!(status(r#"{"competing":false}"#), Status { competing: Some(false), ..none.clone() });
    assert_eq!(status(r#"{"connected":false}"#), Status { connected: Some(false), ..none.clone() });
    assert_eq!(status(r#"{"message":""}"#), none);
    assert_eq!(status(r#"{"fail":" why "}"#), Status { fail: "why".into(), ..none.clone() });
    assert_eq!(
        status(r#"[{"authenticated":true},{"competing":true},{"message":"m"}]"#),
        Status { authenticated: Some(true), competing: Some(true), message: "m".into(), ..none.clone() }
    );
    for text in [r#"{"authenticated":1,"serverName":"x"}"#, "null", "7", "[]", r#"{"authenticated":null}"#] {
        assert_eq!(status(text), none, "{text}");
    }
    assert_eq!(incoming(r#"{"topic":"sts"}"#), Incoming::Status(none));
}

#[test]
fn a_status_may_stand_beside_its_topic() {
    let flat = |fields: &str| match incoming(&format!(r#"{{"topic":"sts",{fields}}}"#)) {
        Incoming::Status(status) => status,
        other => panic!("{other:?}"),
    };
    let none = Status::default();
    assert_eq!(flat(r#""authenticated":true"#), Status { authenticated: Some(true), ..none.clone() });
    assert_eq!(flat(r#""authenticated":"false""#), Status { authenticated: Some(false), ..none.clone() });
    assert_eq!(
        flat(r#""competing":true,"connected":false,"message":"m","fail":"f""#),
        Status { competing: Some(true), connected: Some(false), message: "m".into(), fail: "f".into(), ..none.clone() }
    );
    assert_eq!(flat(r#""conid":7,"31":"1","fail":"""#), none);
    // The worse counts, wherever it stands.
    for (inner, outer) in [(true, false), (false, true)] {
        let both = flat(&format!(
            r#""authenticated":{outer},"competing":{outer},"args":{{"authenticated":{inner},"competing":{inner}}}"#
        ));
        assert_eq!((both.authenticated, both.competing), (Some(false), Some(true)));
    }
}

#[test]
fn what_is_no_frame_is_dropped_with_a_reason() {
    let mut frame = Frame::default();
    for (bytes, defect) in [
        (&b""[..], Defect::Malformed),
        (b"hello", Defect::Malformed),
        (b"{", Defect::Malformed),
        (b"{\"topic\":\"smd+7\"} x", Defect::Malformed),
        (b"{\"87_raw\":1.2.3}", Defect::Malformed),
        (b"\x99\x98", Defect::Malformed),
        (b"[1]", Defect::Shape),
        (b"null", Defect::Shape),
        (b"\"x\"", Defect::Shape),
    ] {
        assert_eq!(read(bytes, &mut frame), Err(defect), "{bytes:?}");
    }
}

#[test]
fn bytes_that_are_no_utf8_cost_no_number() {
    let mut frame = Frame::default();
    let bytes = b"{\"conid\":7,\"55\":\"CAF\x99\",\"84\":\"1.5\",\"86\":\"\x99\",\"topic\":\"smd+7\"}";
    assert_eq!(read(bytes, &mut frame), Ok(Incoming::MarketData));
    assert_eq!((frame.values.bid, frame.odd_values), (value("1.5"), 1));
}

#[test]
fn nothing_of_a_frame_is_left_for_the_next() {
    let mut frame = Frame::default();
    read(br#"{"conid":7,"84":"x","7308":"1","6509":"D","_updated":5,"error":"m","topic":"smd+7"}"#, &mut frame)
        .unwrap();
    read(br#"{"conid":8,"86":"2","topic":"smd+8"}"#, &mut frame).unwrap();
    assert_eq!(frame.values, Values { ask: value("2"), ..Values::default() });
    assert_eq!((frame.conid, frame.updated, frame.availability, frame.odd_values), (conid(8), None, None, 0));
    assert_eq!(frame.error, None);
}

#[test]
fn market_data_costs_no_allocation() {
    let mut frame = Frame::default();
    let texts = [FUTURE, STOCK, r#"{"conid":7,"31":"C6,512.30","7633":"85.6%","86":1.5e2,"topic":"smd+7"}"#];
    let counted = allocation_counter::measure(|| {
        for text in texts {
            assert_eq!(read(text.as_bytes(), &mut frame), Ok(Incoming::MarketData));
        }
    });
    assert_eq!(counted.count_total, 0);
    assert_ne!(allocation_counter::measure(|| drop(FUTURE.to_owned())).count_total, 0, "the counter counts");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut frame = Frame::default();
        let read = read(&bytes, &mut frame);
        prop_assert!(read.is_err() || frame.conid.is_none() || read == Ok(Incoming::MarketData));
    }

    #[test]
    fn damaged_frames_do_no_harm(position in 0usize..400, byte in any::<u8>(), cut in any::<bool>()) {
        for text in [FUTURE, STOCK, r#"{"topic":"sts","args":[{"authenticated":true}]}"#, r#"{"message":"waiting for session"}"#] {
            let mut bytes = text.as_bytes().to_vec();
            let position = position % bytes.len();
            if cut { bytes.truncate(position) } else { bytes[position] = byte }
            let read = read(&bytes, &mut Frame::default());
            prop_assert!(!cut || read.is_err());
        }
    }

    #[test]
    fn keys_in_any_order_read_the_same(
        keys in Just(vec![0usize, 1, 2, 3, 4, 5, 6]).prop_shuffle(), bid in any::<f64>().prop_filter("finite", |v| v.is_finite()),
    ) {
        let parts = [
            r#""conid":7"#.to_owned(), r#""_updated":1678666665031"#.into(), format!(r#""84":"{bid}""#), format!(r#""86":{bid:?}"#),
            r#""deep":{"84":"9","x":[[[{"topic":"sts"}]]]}"#.into(), r#""84_raw":8.4E1"#.into(), r#""topic":"smd+7""#.into(),
        ];
        let body: Vec<&str> = keys.iter().map(|i| &*parts[*i]).collect();
        let (kind, frame) = read_frame(&format!("{{{}}}", body.join(",")));
        prop_assert_eq!(kind, Incoming::MarketData);
        prop_assert_eq!(frame.values.bid.unwrap().value.to_bits(), bid.to_bits());
        prop_assert_eq!(frame.values.ask.unwrap().value.to_bits(), bid.to_bits());
        prop_assert_eq!((frame.conid, frame.updated), (conid(7), Some(1_678_666_665_031)));
    }
}
