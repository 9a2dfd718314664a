//! The reader of usual frames against the reader of all JSON: the same, or nothing.

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::incoming::read_any;
use super::super::number::Decorated;
use super::super::tests::{FUTURE, STOCK};
use super::*;

const OPTION: &str = r#"{"server_id":"q12","conidEx":"9@NYSE","conid":"9","_updated":"1678666665031","31":"C5.20","84":"5.1","86":"","7635":"331.33","7308":"-0.257","7309":"0.016","7310":"-0.518","7311":"x","7633":"85.6%","6509":"ZBd","topic":"smd+9@NYSE"}"#;
const OTHERS: [&str; 8] = [
    r#"{"topic":"sts","args":[{"authenticated":true}]}"#,
    r#"{"topic":"system","hb":1594677336001}"#,
    r#"{"topic":"system","success":"user123","isFT":false}"#,
    r#"{"message":"waiting for session"}"#,
    r#"{"error":"m","conid":7,"84":"1","topic":"smd+7"}"#,
    r#"{"topic":"tic","alive":true,"id":"a","lastAccessed":1}"#,
    r#"{"result":[{"a":[]}],"topic":"sld+U1"}"#,
    r#"{"topic":"str","args":[{"execution_id":"x"}]}"#,
];

/// All of a frame, bit for bit; there are many NaN.
fn all_of(frame: &Frame) -> String {
    let v = &frame.values;
    let bits = |it: Decorated| (if it.value.is_nan() { u64::MAX } else { it.value.to_bits() }, it.mark, it.percent);
    let values =
        [v.last, v.bid, v.ask, v.mark, v.delta, v.gamma, v.theta, v.vega, v.implied_volatility].map(|it| it.map(bits));
    let Frame { conid, updated, availability, odd_values, error, .. } = frame;
    format!("{conid:?} {updated:?} {availability:?} {values:?} {odd_values} {error:?}")
}

/// Whether the frame was read; whatever was made of it, the reader of all JSON makes the same.
fn check(text: &str) -> bool {
    let (mut fast, mut whole) = (Frame::default(), Frame::default());
    let Some(incoming) = read(text, &mut fast) else { return false };
    assert_eq!(read_any(text, &mut whole), Ok(incoming), "{text}");
    assert_eq!(all_of(&fast), all_of(&whole), "{text}");
    true
}

/// As bytes come: what is no text is read as U+FFFD. What an unread frame has left is forgotten.
fn check_bytes(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    check(text);
    let (mut public, mut whole) = (Frame::default(), Frame::default());
    super::super::read(br#"{"conid":7,"84":"x","_updated":5,"error":"m","topic":"smd+7"}"#, &mut public).unwrap();
    let read = super::super::read(bytes, &mut public);
    if text.starts_with('{') {
        assert_eq!(read, read_any(text, &mut whole), "{text}");
        assert_eq!(all_of(&public), all_of(&whole), "{text}");
    }
}

#[test]
fn usual_frames_are_read_here() {
    for text in [
        FUTURE,
        OPTION,
        r#"{"conid":7,"31":5,"86":-12,"topic":"smd+7"}"#,
        r#"{"conid":7,"31":"5","86":-12}"#,
        r#"{"topic":"sts","authenticated":"false"}"#,
        r#"{"conid":7,"conid":8,"31":"1","31":"2","topic":"smd+x","topic":"smd+7"}"#,
    ] {
        assert!(check(text), "{text}");
    }
    // A companion with an exponent is a number, and passed.
    assert!(check(STOCK));
}

#[test]
fn everything_unusual_is_left_to_the_other_reader() {
    for text in [
        "{}",
        "{",
        r#"{"31""#,
        r#"{"31":}"#,
        r#"{"31":"1",}"#,
        r#"{"31":"1"}x"#,
        r#"{"31":"1"} "#,
        r#"{"31":"1" ,"84":"2"}"#,
        r#"{ "31":"1"}"#,
        r#"{"31":1.5}"#,
        r#"{"31":-0}"#,
        r#"{"31":01}"#,
        r#"{"31":1e3}"#,
        r#"{"31":null}"#,
        r#"{"31":true}"#,
        r#"{"31":["1"]}"#,
        r#"{"31":1234567890123456789}"#,
        r#"{"31":"\u0031"}"#,
        r#"{"3\u0031":"1"}"#,
        "{\"31\":\"1\n\"}",
        r#"{"x":1.2.3}"#,
        r#"{"x":{"31":"1"}}"#,
        r#"{"args":"x","topic":"blt"}"#,
        r#"{"hb":5,"topic":"system"}"#,
        r#"{"success":"x","topic":"system"}"#,
        r#"{"message":"waiting for session"}"#,
        r#"{"error":"m"}"#,
    ] {
        assert!(!check(text), "{text}");
        check_bytes(text.as_bytes());
    }
}

#[test]
fn frames_and_their_neighbours_read_the_same() {
    for frame in OTHERS.iter().chain(&[FUTURE, STOCK, OPTION]) {
        let bytes = frame.as_bytes();
        check_bytes(bytes);
        for at in 0..bytes.len() {
            check_bytes(&bytes[..at]);
            check_bytes(&[&bytes[..at], &bytes[at + 1..]].concat());
            for byte in *b"\"[]{},:-+.eE019\\ CHKM%\x99\n" {
                let mut changed = bytes.to_vec();
                changed[at] = byte;
                check_bytes(&changed);
                changed.insert(at + 1, bytes[at]);
                check_bytes(&changed);
            }
        }
    }
}

/// What a gateway may write for a value, the usual more often.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "\"[CH]?-?[0-9]{1,8}(\\.[0-9]{1,12})?[KMB%]?\"",
        2 => "\"[CH]?[-+]?[0-9,.]{0,20}[KMB]?[eE]?[0-9]{0,3}%?\"",
        2 => any::<f64>().prop_map(|value| format!("\"{value}\"")),
        2 => any::<i64>().prop_map(|value| value.to_string()),
        1 => any::<f64>().prop_filter("JSON has no others", |value| value.is_finite()).prop_map(|value| format!("{value:?}")),
        1 => "\"\\PC{0,12}\"",
        1 => prop::sample::select(vec!["null", "true", "[1]", "{\"31\":\"1\"}", "-0", "01", "\"\"", "\"N/A\"", ""]).prop_map(str::to_owned),
    ]
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "31",
        "84",
        "86",
        "7635",
        "7308",
        "7309",
        "7310",
        "7311",
        "7633",
        "6509",
        "6119",
        "87_raw",
        "server_id",
        "conid",
        "conidEx",
        "_updated",
        "topic",
        "hb",
        "error",
        "é",
        "",
    ])
}

fn frame() -> impl Strategy<Value = String> {
    prop::collection::vec((key(), value()), 0..14).prop_map(|fields| {
        let fields: String = fields.iter().map(|(key, value)| format!(r#""{key}":{value},"#)).collect();
        format!(r#"{{"conid":7,{fields}"topic":"smd+7"}}"#)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_value_of_any_key(text in frame()) {
        check_bytes(text.as_bytes());
    }

    #[test]
    fn damaged_frames(
        text in prop_oneof![frame(), prop::sample::select(vec![FUTURE, STOCK, OPTION]).prop_map(str::to_owned)],
        changes in prop::collection::vec((any::<Index>(), prop::collection::vec(any::<u8>(), 0..4), 0usize..6), 1..4),
        cut in prop::option::weighted(0.2, any::<Index>()),
    ) {
        let mut bytes = text.into_bytes();
        for (place, insert, remove) in changes {
            let at = place.index(bytes.len() + 1);
            let until = (at + remove).min(bytes.len());
            drop(bytes.splice(at..until, insert));
        }
        if let Some(place) = cut {
            bytes.truncate(place.index(bytes.len() + 1));
        }
        check_bytes(&bytes);
    }
}
