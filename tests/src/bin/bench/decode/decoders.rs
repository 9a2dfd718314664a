//! The ways to decode that run in this program.

use greekd_tests::frames::{dxlink_session, ibkr_session};
use greeks_model::SourceEvent;
use serde_json::Value;

use super::bound;
use super::sum::Sum;
use crate::Result;

/// Decodes all these frames.
pub(crate) type Decode = Box<dyn FnMut(&[String]) -> Result<Sum>>;

/// From the text frame to the event that goes to the channel, as a session does it; the socket and the clock are left out.
pub(crate) fn greekd_dxlink() -> Decode {
    let mut session = dxlink_session();
    Box::new(move |frames| {
        let mut sum = Sum::default();
        for frame in frames {
            session.read(frame)?;
            while let Some(event) = session.next_event() {
                add(&mut sum, &event);
            }
        }
        Ok(sum)
    })
}

/// The same at IBKR.
pub(crate) fn greekd_ibkr() -> Decode {
    let mut session = ibkr_session();
    Box::new(move |frames| {
        let mut sum = Sum::default();
        for frame in frames {
            session.read(frame.as_bytes())?;
            while let Some(event) = session.next_event() {
                add(&mut sum, &event);
            }
        }
        Ok(sum)
    })
}

fn add(sum: &mut Sum, event: &SourceEvent) {
    if let SourceEvent::Quote { update, .. } = event {
        sum.add_update(update);
    }
}

/// See [`bound`].
pub(crate) fn least_dxlink() -> Decode {
    Box::new(|frames| Ok(bound::dxlink(frames)))
}

/// What everybody writes first: a tree of values, and the columns by their places.
pub(crate) fn value_dxlink() -> Decode {
    Box::new(|frames| {
        let mut sum = Sum::default();
        for frame in frames {
            let message: Value = serde_json::from_str(frame)?;
            let rows = message["data"][1].as_array().ok_or("no rows")?;
            for row in rows.chunks_exact(13) {
                row[1].as_str().ok_or("no symbol")?;
                let number = |place: usize| row[place].as_f64().unwrap_or(f64::NAN);
                let greeks = [8, 9, 10, 12, 11, 7].map(number);
                sum.add(greeks, number(6), row[2].as_i64().unwrap_or_default());
            }
        }
        Ok(sum)
    })
}

/// The same for IBKR's fields.
pub(crate) fn value_ibkr() -> Decode {
    Box::new(|frames| {
        let mut sum = Sum::default();
        for frame in frames {
            let message: Value = serde_json::from_str(frame)?;
            message["conid"].as_i64().ok_or("no contract")?;
            let number = |tag: &str| match message[tag].as_str() {
                None => 0.0,
                Some(text) => text.trim_end_matches('%').parse().unwrap_or(f64::NAN),
            };
            let volatility = number("7633") / 100.0;
            let greeks = [number("7308"), number("7309"), number("7310"), number("7311"), 0.0, volatility];
            sum.add(greeks, number("7635"), message["_updated"].as_i64().unwrap_or_default());
        }
        Ok(sum)
    })
}
