//! Frames as the brokers send them, the same ones from the same seed, for what measures decoding.

use std::fmt::Write;

use fastrand::Rng;
use greeks_model::{Instrument, InstrumentId, InstrumentTable, Underlying, UnixNanos};
use ibkr_stream::frames::Frames as IbkrFrames;
use tasty_dxlink::frames::Frames as DxlinkFrames;

/// Events in what is decoded to count instructions.
pub const EVENTS: u32 = 2_000;
/// Contracts that the frames are about.
const CONTRACTS: u32 = 400;
/// The first of their numbers at IBKR.
const FIRST_CONID: u32 = 495_512_500;
/// When the first frame came.
const AT: UnixNanos = UnixNanos::from_millis(1_795_000_000_000);
/// The part of events for which the server has no value of everything.
const UNKNOWN: f64 = 0.04;

/// DXLink COMPACT frames of so many Greeks events each, `events` in all.
#[must_use]
pub fn dxlink(events: u32, per_frame: u32) -> Vec<String> {
    let mut rng = Rng::with_seed(7);
    let mut left = events;
    let mut frames = Vec::new();
    while left > 0 {
        let now = left.min(per_frame);
        let rows: Vec<String> = (left - now..left).rev().map(|left| greeks(&mut rng, events - 1 - left)).collect();
        frames.push(format!(r#"{{"type":"FEED_DATA","channel":1,"data":["Greeks",[{}]]}}"#, rows.join(",")));
        left -= now;
    }
    frames
}

/// IBKR market data frames of 3 to 12 fields.
#[must_use]
pub fn ibkr(frames: u32) -> Vec<String> {
    let mut rng = Rng::with_seed(7);
    (0..frames).map(|number| market_data(&mut rng, number)).collect()
}

/// A session at tastytrade's streamer to which the frames of [`dxlink`] belong.
///
/// # Panics
/// When the session is not as it should be.
#[must_use]
pub fn dxlink_session() -> DxlinkFrames {
    let ids = instruments();
    DxlinkFrames::new((0..CONTRACTS).map(symbol).zip(ids), AT).expect("a session that streams")
}

/// A session at IBKR's gateway to which the frames of [`ibkr`] belong.
///
/// # Panics
/// When the session is not as it should be.
#[must_use]
pub fn ibkr_session() -> IbkrFrames {
    let ids = instruments();
    IbkrFrames::new((0..CONTRACTS).map(|i| i64::from(FIRST_CONID + i)).zip(ids), AT).expect("a session that streams")
}

fn instruments() -> Vec<InstrumentId> {
    let table = InstrumentTable::new();
    (0..CONTRACTS).map(|i| table.intern(&Instrument::Underlying(Underlying::new(&symbol(i))))).collect()
}

fn symbol(contract: u32) -> String {
    let (side, strike) = (if contract.is_multiple_of(2) { 'C' } else { 'P' }, 5_000 + 5 * (contract / 2));
    format!(".SPXW261218{side}{strike}")
}

/// The thirteen columns that are asked for, of one event.
fn greeks(rng: &mut Rng, number: u32) -> String {
    let symbol = symbol(rng.u32(..CONTRACTS));
    let time = 1_795_000_000_000_u64 + u64::from(number) * 37;
    let (sequence, index) = (rng.u32(..4_194_304), (time / 1_000) << 32 | u64::from(rng.u32(..4_194_304)));
    // price, volatility, delta, gamma, theta, rho, vega
    let ranges = [(0.05, 400.0), (0.05, 1.5), (-1.0, 1.0), (1e-6, 1e-2), (-9.0, -1e-3), (-5.0, 5.0), (1e-4, 9.0)];
    let unknown = rng.f64() < UNKNOWN;
    let mut text = format!(r#""Greeks","{symbol}",{time},{sequence},{index},0"#);
    for (low, high) in ranges {
        // Far out of the money everything is small.
        let scale = if rng.u8(..) < 12 { 1e-6 } else { 1.0 };
        let value = (low + (high - low) * rng.f64()) * scale;
        match unknown && rng.bool() {
            true => text.push_str(r#","NaN""#),
            false => write!(text, ",{}", java_double(value)).expect("a String takes everything"),
        }
    }
    text
}

/// A double with 15 significant digits, written as Java writes doubles.
fn java_double(value: f64) -> String {
    let text = format!("{value:.14e}");
    let (mantissa, exponent) = text.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    let (digits, exponent) = if (-3..7).contains(&exponent) {
        (format!("{value:.*}", usize::try_from(14 - exponent).expect("few digits")), String::new())
    } else {
        (mantissa.to_owned(), format!("E{exponent}"))
    };
    let trimmed = digits.trim_end_matches('0');
    format!("{trimmed}{}{exponent}", if trimmed.ends_with('.') { "0" } else { "" })
}

fn market_data(rng: &mut Rng, number: u32) -> String {
    let conid = FIRST_CONID + rng.u32(..CONTRACTS);
    let updated = 1_795_000_000_000_u64 + u64::from(number) * 37;
    let decimal = |rng: &mut Rng, low: i32, high: i32, decimals: usize| {
        let unit = 10_f64.powi(i32::try_from(decimals).expect("few"));
        format!("{:.decimals$}", f64::from(rng.i32(low..high)) / unit)
    };
    let mut fields = vec![
        ("6509", "RpB".to_owned()),
        ("31", format!("{}{}", if rng.u8(..) < 25 { "C" } else { "" }, decimal(rng, 5, 40_000, 2))),
        ("84", decimal(rng, 5, 40_000, 2)),
        ("86", decimal(rng, 5, 40_000, 2)),
        ("88", rng.u32(1..900).to_string()),
        ("85", rng.u32(1..900).to_string()),
        ("7308", decimal(rng, -1_000, 1_000, 3)),
        ("7309", decimal(rng, 0, 100, 3)),
        ("7310", decimal(rng, -2_000, 0, 3)),
        ("7311", decimal(rng, 0, 900, 3)),
        ("7633", decimal(rng, 50, 990, 1) + "%"),
        ("7635", decimal(rng, 5, 40_000, 2)),
    ];
    rng.shuffle(&mut fields);
    // Something that gives an event is always among them.
    let greek = fields.iter().position(|(tag, _)| *tag == "7308").expect("a delta");
    fields.swap(0, greek);
    fields.truncate(rng.usize(3..=12));
    if rng.f64() < UNKNOWN {
        fields[0].1.clear();
    }
    let fields: Vec<String> = fields.iter().map(|(tag, value)| format!(r#""{tag}":"{value}""#)).collect();
    format!(
        r#"{{"server_id":"q12","conidEx":"{conid}","conid":{conid},"_updated":{updated},"6119":"q12",{},"topic":"smd+{conid}"}}"#,
        fields.join(",")
    )
}

#[cfg(test)]
mod tests {
    use greeks_model::SourceEvent;

    use super::*;

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        for (value, text) in [
            (0.679_123_456_789_012, "0.679123456789012"),
            (-0.026_123_456_789_012_3, "-0.0261234567890123"),
            (3.130_448_948_645_15e-9, "3.13044894864515E-9"),
            (5.0, "5.0"),
            (0.001, "0.001"),
            (9.5e-4, "9.5E-4"),
        ] {
            assert_eq!(java_double(value), text);
        }
    }

    #[test]
    fn every_frame_is_data_and_each_event_comes_out() {
        for per_frame in [1, 10, 100] {
            let frames = dxlink(1_000, per_frame);
            assert_eq!(frames, dxlink(1_000, per_frame), "the same from the same seed");
            let (mut session, mut events, mut unknown) = (dxlink_session(), 0, 0);
            for frame in &frames {
                assert!(session.read(frame).unwrap(), "{frame}");
                while let Some(SourceEvent::Quote { update, .. }) = session.next_event() {
                    events += 1;
                    let values = [update.delta, update.gamma, update.theta, update.vega, update.rho];
                    unknown += usize::from(values.iter().any(|value| value.unwrap().is_nan()));
                }
            }
            assert_eq!(events, 1_000);
            assert!((20..60).contains(&unknown), "{unknown}");
        }
        let (mut session, mut events) = (ibkr_session(), 0);
        for frame in ibkr(1_000) {
            assert!(session.read(frame.as_bytes()).unwrap(), "{frame}");
            events += usize::from(
                session
                    .next_event()
                    .is_some_and(|event| matches!(event, SourceEvent::Quote { update, .. } if update.delta.is_some())),
            );
        }
        assert_eq!(events, 1_000);
    }
}
