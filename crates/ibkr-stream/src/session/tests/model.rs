//! Random partial frames against a merge that anybody can check.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TAGS: [&str; 9] = ["31", "84", "86", "7635", "7308", "7309", "7310", "7311", "7633"];

/// What is known of one contract, by tag; `None` for what the broker says it does not know.
type Known = BTreeMap<&'static str, Option<u64>>;

/// A value on the wire, and what it is worth: nothing said, unknown, or a number.
fn worth(tag: &str, form: usize, number: f64) -> (String, Option<Option<f64>>) {
    let percent = |value: f64| if tag == "7633" { value / 100.0 } else { value };
    match form {
        0 => (r#""""#.into(), Some(None)),
        1 => (r#""-""#.into(), Some(None)),
        2 => (format!("{number:?}"), Some(Some(percent(number)))),
        3 => (format!(r#""H{number}""#), Some(Some(percent(number)))),
        4 if tag == "31" => (format!(r#""C{number}""#), None),
        4 => (format!(r#""C{number}""#), Some(Some(percent(number)))),
        5 if tag == "7633" => (format!(r#""{number}%""#), Some(Some(number / 100.0))),
        6 => (r#"{"31":"1"}"#.into(), Some(None)),
        _ => (format!(r#""{number}""#), Some(Some(percent(number)))),
    }
}

fn fields(update: &QuoteUpdate) -> [Option<f64>; 9] {
    [
        update.last_price,
        update.bid_price,
        update.ask_price,
        update.option_price,
        update.delta,
        update.gamma,
        update.theta,
        update.vega,
        update.implied_volatility,
    ]
}

fn merge(known: &mut Known, tag: &'static str, value: f64) {
    known.insert(tag, (!value.is_nan()).then(|| value.to_bits()));
}

proptest! {
    #[test]
    fn events_merge_to_what_the_frames_said(
        frames in proptest::collection::vec(
            (1i64..7, proptest::collection::btree_map(0usize..9, (0usize..9, any::<f64>().prop_filter("finite", |v| v.is_finite())), 0..9),
             any::<bool>(), 0usize..4),
            1..60,
        ),
        pick_up in proptest::collection::vec(any::<bool>(), 60),
    ) {
        let mut bench = Bench::open(settings());
        // 5 and 6 are underlyings, which have the first three fields only.
        let under = |number: i64| if number > 4 { UNDERLYINGS + number } else { number };
        bench.want(&[(1, Some(under(5))), (2, None), (3, None), (4, None)], &[under(5), under(6)]);
        bench.texts(1.0);
        let mut expected: BTreeMap<i64, Known> = BTreeMap::new();
        let mut seen: BTreeMap<i64, Known> = BTreeMap::new();
        let (mut carrying, mut events) = (0, Vec::new());
        for ((number, values, topic_first, naming), now) in frames.into_iter().zip(pick_up) {
            let conid = under(number);
            let mut body = match naming {
                0 => vec![format!(r#""conid":"{conid}""#)],
                1 => vec![format!(r#""conidEx":"{conid}@SMART""#)],
                2 if !values.is_empty() => vec![],
                _ => vec![format!(r#""conid":{conid}"#), r#""9999":[1,{"31":"7"}],"31_raw":1.5E3"#.into()],
            };
            let mut carries = false;
            for (index, (form, number)) in values {
                let (tag, (text, worth)) = (TAGS[index], worth(TAGS[index], form, number));
                body.push(format!(r#""{tag}":{text}"#));
                let Some(value) = worth.filter(|_| conid < UNDERLYINGS || index < 3) else { continue };
                carries = true;
                merge(expected.entry(conid).or_default(), tag, value.unwrap_or(f64::NAN));
            }
            let topic = format!(r#""topic":"smd+{conid}""#);
            body.insert(if topic_first { 0 } else { body.len() }, topic);
            carrying += usize::from(carries);
            bench.frame(&format!("{{{}}}", body.join(","))).unwrap();
            if now {
                events.extend(bench.events());
            }
        }
        events.extend(bench.events());
        prop_assert_eq!(events.len(), carrying, "one event for each frame that says something");
        for update in events {
            let conid = (1..7).map(under).find(|conid| bench.instrument(*conid) == update.instrument).unwrap();
            for (tag, value) in TAGS.into_iter().zip(fields(&update)) {
                if let Some(value) = value {
                    merge(seen.entry(conid).or_default(), tag, value);
                }
            }
        }
        prop_assert_eq!(seen, expected);
    }
}
