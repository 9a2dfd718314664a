//! The reader of usual messages against the reader of all JSON: the same, or nothing.

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::incoming::{Incoming, Message, read_any};
use super::super::tests::{GREEKS, SEVERAL, bits, configure, feed};
use super::*;

const QUOTES: &str = r#"{"type":"FEED_DATA","channel":3,"data":["Quote",["Quote","SPX",5000.25,"NaN"],"Trade",["Trade","SPX",1699999200000,5000.5]]}"#;
/// Columns in another order, one of them of no use.
const REORDERED: &str =
    r#"{"type":"FEED_CONFIG","channel":1,"eventFields":{"Greeks":["delta","novelty","eventSymbol","time","delta"]}}"#;
const REORDERED_GREEKS: &str =
    r#"{"type":"FEED_DATA","channel":1,"data":["Greeks",[0.5,7301577213829054464,".A",1,0.25,-0.5,1e999,"SPX",0,1]]}"#;

/// As asked for; and otherwise, with something left of a message before.
fn feeds() -> [Feed; 2] {
    let mut reordered = feed();
    assert_eq!(configure(&mut reordered, REORDERED), 0);
    read_any(QUOTES, &mut reordered).unwrap();
    reordered.tally.removals = 5;
    [feed(), reordered]
}

/// Whether the message was read; whatever was made of it, the reader of all JSON makes the same.
fn check(text: &str) -> bool {
    let mut any = false;
    for (i, mut fast) in feeds().into_iter().enumerate() {
        let before = (bits(&fast.rows), fast.tally);
        let channel = read(text, &mut fast);
        let Some(channel) = channel else {
            assert_eq!((bits(&fast.rows), fast.tally), before, "something is left of {text}");
            continue;
        };
        any = true;
        let mut feeds = feeds();
        let whole = &mut feeds[i];
        assert_eq!(read_any(text, whole), Ok(Incoming { channel, message: Message::FeedData }), "{text}");
        assert_eq!((bits(&fast.rows), fast.tally), (bits(&whole.rows), whole.tally), "{text}");
        assert!(fast.rows.iter().all(|row| row.payload.is_none()));
    }
    any
}

/// As the fixture has it, without the infinite values.
fn finite_greeks() -> String {
    GREEKS.trim().replace("\"Infinity\"", "1").replace("\"-Infinity\"", "-1E-7")
}

/// Bytes that are no text never get here.
fn check_bytes(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(text);
    }
}

#[test]
fn usual_messages_are_read_here() {
    for text in [QUOTES, REORDERED_GREEKS, &finite_greeks()] {
        assert!(check(text), "{text}");
    }
    // A word for an infinite value, a type that is not read: rare, and left to the other.
    for text in [GREEKS.trim(), SEVERAL.trim()] {
        assert!(!check(text), "{text}");
    }
}

#[test]
fn payloads_are_kept_by_the_other_reader() {
    let mut feed = Feed { keep_payload: true, ..feed() };
    assert_eq!(read(QUOTES, &mut feed), None);
    assert!(feed.rows.is_empty());
}

#[test]
fn everything_unusual_is_left_to_the_other_reader() {
    let quote = |row: &str| format!(r#"{{"type":"FEED_DATA","channel":3,"data":["Quote",[{row}]]}}"#);
    assert!(check(&quote(r#""Quote","SPX",1,2"#)));
    for row in [
        "",
        r#""Quote","SPX",1"#,
        r#""Quote","SPX",1,2,"#,
        r#""Quote","SPX",1,2,"Quote""#,
        r#""Quote","SPX",1,2,"Trade","SPX",1,2"#,
        r#""Trade","SPX",1,2"#,
        r#""Quote",null,1,2"#,
        r#""Quote",5,1,2"#,
        r#""Quote","S\u0050X",1,2"#,
        r#""Quote","BRK\/B",1,2"#,
        r#""Quote","SPX",null,2"#,
        r#""Quote","SPX","1",2"#,
        r#""Quote","SPX","nan",2"#,
        r#""Quote","SPX","NaN ",2"#,
        r#""Quote","SPX",NaN,2"#,
        r#""Quote","SPX",true,2"#,
        r#""Quote","SPX",1 ,2"#,
        r#""Quote", "SPX",1,2"#,
        r#""Quote","SPX",01,2"#,
        r#""Quote","SPX",1.,2"#,
        r#""Quote","SPX",.1,2"#,
        r#""Quote","SPX",+1,2"#,
        r#""Quote","SPX",1e,2"#,
        r#""Quote","SPX",1e999,2"#,
        r#""Quote","SPX",[1],2"#,
        r#""Quote","SPX",{"a":1},2"#,
        "\"Quote\",\"SP\nX\",1,2",
    ] {
        assert!(!check(&quote(row)), "{row}");
    }
    let usual = quote(r#""Quote","SPX",1,2"#);
    for text in [
        usual.replace(":3,", ":03,"),
        usual.replace(":3,", ":3.0,"),
        usual.replace(":3,", ":-0,"),
        usual.replace(":3,", ":\"3\","),
        // Nobody has opened it.
        usual.replace(":3,", ":5,"),
        usual.replace("]}", "],\"data\":[]}"),
        usual.replace("]}", "]} "),
        usual.replace("]}", "]}x"),
        usual.replace("]}", "]"),
        usual.replace("{\"type\"", "{\"type\":\"SETUP\",\"type\""),
        usual.replace("FEED_DATA", "FEED_CONFIG"),
        format!(" {usual}"),
        format!("\u{feff}{usual}"),
        usual.replace("2]]", &"[".repeat(100_000)),
    ] {
        assert!(!check(&text), "{text:.120}");
    }
}

#[test]
fn the_corpus_and_its_neighbours_read_the_same() {
    let corpus =
        [include_str!("../../../tests/corpus/data.jsonl"), include_str!("../../../tests/corpus/control.jsonl")];
    let mut read_here = 0;
    for message in corpus.iter().flat_map(|lines| lines.lines()).chain([QUOTES, REORDERED_GREEKS, &finite_greeks()]) {
        read_here += u32::from(check(message));
        let bytes = message.as_bytes();
        for at in 0..bytes.len() {
            check_bytes(&bytes[..at]);
            check_bytes(&[&bytes[..at], &bytes[at + 1..]].concat());
            for byte in *b"\"[]{},:-+.eE019\\ N" {
                let mut changed = bytes.to_vec();
                changed[at] = byte;
                check_bytes(&changed);
                changed.insert(at + 1, bytes[at]);
                check_bytes(&changed);
            }
        }
    }
    // The three, and what of the corpus is usual.
    assert!(read_here > 3, "{read_here}");
}

/// What a server may write where a number is due, the usual more often.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<f64>().prop_filter("JSON has no others", |value| value.is_finite()).prop_map(|value| format!("{value:?}")),
        4 => (-1e3..1e3_f64, 0usize..20).prop_map(|(value, decimals)| format!("{value:.decimals$}")),
        2 => (-1e3..1e3_f64, 0usize..18, -330i32..310).prop_map(|(value, decimals, exponent)| format!("{value:.decimals$}E{exponent}")),
        2 => any::<i64>().prop_map(|value| value.to_string()),
        1 => "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][-+]?[0-9]{1,12})?",
        2 => Just(r#""NaN""#.to_owned()),
        1 => prop::sample::select(vec!["-0", "0", "-0.0", "0e0", r#""Infinity""#, r#""-Infinity""#, "null", r#""0.5""#, "true", "[]", "01", ""]).prop_map(str::to_owned),
    ]
}

fn row() -> impl Strategy<Value = String> {
    let symbol = prop::sample::select(vec![".A", ".B", "./ESZ26", "SPX", ".STRANGE", "é", "", r".\/ESZ26"]);
    let flags = prop_oneof![8 => Just("0".to_owned()), 1 => Just("2".to_owned()), 1 => number()];
    let numbers =
        prop::collection::vec(prop_oneof![9 => (-9.0..9.0_f64).prop_map(|value| value.to_string()), 1 => number()], 7);
    let integers = prop_oneof![9 => (any::<u32>(), any::<u64>()).prop_map(|(a, b)| [a.to_string(), a.to_string(), b.to_string()]), 1 => [number(), number(), number()]];
    (symbol, integers, flags, numbers).prop_map(|(symbol, integers, flags, numbers)| {
        format!(r#""Greeks","{symbol}",{},{flags},{}"#, integers.join(","), numbers.join(","))
    })
}

fn message() -> impl Strategy<Value = String> {
    prop::collection::vec(row(), 1..4)
        .prop_map(|rows| format!(r#"{{"type":"FEED_DATA","channel":1,"data":["Greeks",[{}]]}}"#, rows.join(",")))
}

/// A change of a text at a place.
#[derive(Clone, Debug)]
enum Change {
    Flip(u8),
    Insert(Vec<u8>),
    Remove(usize),
    Cut,
    Repeat(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0u8..8).prop_map(|bit| Change::Flip(1 << bit)),
        "[-+.,:eE0-9\"\\[\\]{} NaN]{1,6}".prop_map(|text| Change::Insert(text.into_bytes())),
        (1usize..6).prop_map(Change::Remove),
        Just(Change::Cut),
        (1usize..40).prop_map(Change::Repeat),
    ]
}

fn changed(text: &str, changes: &[(Index, Change)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (place, change) in changes {
        let at = place.index(bytes.len() + 1).min(bytes.len().saturating_sub(1));
        let until = |length: &usize| (at + length).min(bytes.len());
        match change {
            _ if bytes.is_empty() => {}
            Change::Flip(bit) => bytes[at] ^= bit,
            Change::Insert(text) => drop(bytes.splice(at..at, text.iter().copied())),
            Change::Remove(length) => drop(bytes.drain(at..until(length))),
            Change::Cut => bytes.truncate(at),
            Change::Repeat(length) => {
                let again = bytes[at..until(length)].to_vec();
                drop(bytes.splice(at..at, again));
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_value_in_any_row(text in message()) {
        check(&text);
    }

    #[test]
    fn a_number_of_any_writing(number in number()) {
        check(&format!(r#"{{"type":"FEED_DATA","channel":3,"data":["Quote",["Quote","SPX",{number},1]]}}"#));
        check(&format!(r#"{{"type":"FEED_DATA","channel":3,"data":["Trade",["Trade","SPX",{number},1]]}}"#));
    }

    #[test]
    fn damaged_messages(
        text in prop_oneof![message(), prop::sample::select(vec![QUOTES, REORDERED_GREEKS, GREEKS, SEVERAL]).prop_map(str::to_owned)],
        changes in prop::collection::vec((any::<Index>(), change()), 1..4),
    ) {
        check_bytes(&changed(&text, &changes));
    }
}
