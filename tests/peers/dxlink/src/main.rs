//! The `dxlink` crate as a peer of `cargo xtask bench decode --peers`.
//!
//! `peer-dxlink FILE`: FILE holds a frame in each line. For each line of standard input, a number of seconds, all frames are
//! decoded again and again for so long; a JSON object says what processor time that took, how often it was done, and what
//! came out. The crate asks for eight columns, so the frames are brought to those first.

use std::collections::HashMap;
use std::error::Error;
use std::io::BufRead;
use std::sync::Mutex;
use std::time::Duration;

use dxlink::events::{CompactData, GreeksEvent};
use dxlink::messages::FeedDataMessage;
use dxlink::{EventType, MarketEvent, try_parse_compact_data};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Layouts = Mutex<HashMap<u32, HashMap<String, Vec<String>>>>;

/// The columns of the frames, and where the crate's own stand among them.
const WIDTH: usize = 13;
const OWN: [usize; 8] = [0, 1, 8, 9, 10, 12, 11, 7];

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("usage: peer-dxlink FILE")?;
    let frames: Vec<String> = std::fs::read_to_string(path)?.lines().map(in_eight_columns).collect::<Result<_>>()?;
    let fields = EventType::Greeks.compact_fields().ok_or("no columns of Greeks")?;
    assert_eq!(fields, ["eventType", "eventSymbol", "delta", "gamma", "theta", "vega", "rho", "volatility"]);
    let layout = HashMap::from([("Greeks".to_owned(), fields.iter().map(|field| (*field).to_owned()).collect())]);
    let layouts = Mutex::new(HashMap::from([(1, layout)]));
    let (events, greeks) = verify(&frames, &layouts)?;
    for line in std::io::stdin().lock().lines() {
        let limit = Duration::from_secs_f64(line?.parse()?);
        // Does not count: whoever had the processor before has left its caches to itself.
        pass(&frames, &layouts)?;
        let (begin, mut passes) = (thread_cpu()?, 0);
        let used = loop {
            pass(&frames, &layouts)?;
            passes += 1;
            let used = thread_cpu()? - begin;
            if used >= limit {
                break used;
            }
        };
        println!(r#"{{"nanos": {}, "passes": {passes}, "events": {events}, "greeks": {greeks}}}"#, used.as_nanos());
    }
    Ok(())
}

fn pass(frames: &[String], layouts: &Layouts) -> Result<()> {
    for frame in frames {
        for event in decode(frame, layouts)? {
            std::hint::black_box(event);
        }
    }
    Ok(())
}

/// What the client's reader does with a frame, up to the events it hands on.
fn decode(frame: &str, layouts: &Layouts) -> Result<Vec<MarketEvent>> {
    let value: Value = serde_json::from_str(frame)?;
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
    let channel = value.get("channel").and_then(Value::as_u64).and_then(|channel| u32::try_from(channel).ok());
    if kind != "FEED_DATA" {
        return Err("not FEED_DATA".into());
    }
    let layouts = layouts.lock().map_err(|_| "poisoned")?;
    let layout = channel.and_then(|channel| layouts.get(&channel).cloned()).ok_or("no layout")?;
    let message: FeedDataMessage<Vec<CompactData>> = serde_json::from_str(frame)?;
    let events = try_parse_compact_data(&message.data)?;
    drop(layout);
    Ok(events)
}

/// How many events come out and the sum of their values, as the bench makes it. The crate's JSON reader gives about one
/// double of a hundred with its last bit wrong: those are counted, and stand right in the sum.
fn verify(frames: &[String], layouts: &Layouts) -> Result<(u64, u64)> {
    let (mut events, mut sum, mut inexact, mut values) = (0, 0_u64, 0, 0);
    for frame in frames {
        let message: Value = serde_json::from_str(frame)?;
        let mut texts = message["data"][1].as_array().ok_or("no rows")?.len();
        let mut sent = frame.split(['[', ']']).nth(2).ok_or("no rows")?.split(',');
        for event in decode(frame, layouts)? {
            let MarketEvent::Greeks(GreeksEvent { delta, gamma, theta, vega, rho, volatility, .. }) = event else {
                return Err("not Greeks".into());
            };
            (sent.next(), sent.next());
            for (place, read) in (0..).zip([delta, gamma, theta, vega, rho, volatility]) {
                let exact: f64 = sent.next().ok_or("a value too few")?.trim_matches('"').parse()?;
                match read.to_bits().abs_diff(exact.to_bits()) {
                    _ if read.is_nan() && exact.is_nan() => {}
                    0 => {}
                    1 => inexact += 1,
                    _ => return Err(format!("{read} instead of {exact}").into()),
                }
                let bits = if exact.is_nan() { f64::NAN.to_bits() } else { exact.to_bits() };
                sum = sum.wrapping_add(bits.rotate_left(place));
                values += 1;
            }
            events += 1;
            texts -= OWN.len();
        }
        assert_eq!(texts, 0, "values left over");
    }
    eprintln!("dxlink: {inexact} of {values} values differ from what was sent in their last bit");
    Ok((events, sum))
}

/// The same events with the columns that the crate asks for.
fn in_eight_columns(frame: &str) -> Result<String> {
    let mut parts = frame.splitn(3, '[');
    let (head, kind, rest) = (parts.next(), parts.next(), parts.next());
    let values: Vec<&str> = rest.ok_or("no rows")?.trim_end_matches(['}', ']']).split(',').collect();
    let rows: Vec<String> =
        values.chunks_exact(WIDTH).map(|row| OWN.map(|place| row[place]).join(",")).collect();
    Ok(format!("{}[{}[{}]]}}", head.unwrap_or_default(), kind.unwrap_or_default(), rows.join(",")))
}

fn thread_cpu() -> Result<Duration> {
    Ok(Duration::try_from(clock_gettime(ClockId::ThreadCPUTime))?)
}
