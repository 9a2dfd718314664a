//! Values to bytes; the form is described at [`Record`](super::Record).

use std::sync::Arc;

use super::{GAP, POSITIONS, Record, SHED, SNAPSHOT};
use crate::{Decimal, GreekSnapshot, Series, UnixNanos};

/// `series` writes one series as the function of that name does.
pub(super) fn record(record: &Record, out: &mut Vec<u8>, mut series: impl FnMut(&Arc<Series>, &mut Vec<u8>)) {
    out.push(Record::VERSION);
    match record {
        Record::Snapshot(value) => {
            out.push(SNAPSHOT);
            series(&value.series, out);
            snapshot(value, out);
        }
        Record::Positions(value) => {
            out.push(POSITIONS);
            text(value.source.as_str(), out);
            text(value.account_id.as_str(), out);
            time(value.observed_at, out);
            let count = u32::try_from(value.positions.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&count.to_le_bytes());
            for (held, quantity) in value.positions.iter().take(count as usize) {
                series(held, out);
                out.extend_from_slice(&quantity.to_le_bytes());
            }
        }
        Record::Gap(value) => {
            out.push(GAP);
            text(value.source.as_str(), out);
            time(value.from, out);
            out.push(u8::from(value.to.is_some()));
            if let Some(to) = value.to {
                time(to, out);
            }
            text(value.reason.as_str(), out);
            out.push(u8::from(value.count.is_some()));
            if let Some(count) = value.count {
                out.extend_from_slice(&count.to_le_bytes());
            }
        }
        Record::Shed(value) => {
            out.push(SHED);
            text(value.source.as_str(), out);
            time(value.from, out);
            time(value.to, out);
            out.extend_from_slice(&value.count.to_le_bytes());
        }
    }
}

/// All but the series, which comes first.
fn snapshot(value: &GreekSnapshot, out: &mut Vec<u8>) {
    time(value.event_time, out);
    time(value.received_at, out);
    out.extend_from_slice(&value.flags.bits().to_le_bytes());
    out.extend_from_slice(&value.quantity.to_le_bytes());
    let values = [
        value.delta,
        value.gamma,
        value.theta,
        value.vega,
        value.rho,
        value.implied_volatility,
        value.option_price,
        value.underlying_price,
    ];
    let mask = values.iter().enumerate().fold(0u16, |mask, (bit, v)| mask | (u16::from(v.is_some()) << bit));
    out.extend_from_slice(&mask.to_le_bytes());
    for known in values.into_iter().flatten() {
        out.extend_from_slice(&known.to_le_bytes());
    }
    match &value.source_payload {
        None => out.extend_from_slice(&u32::MAX.to_le_bytes()),
        Some(payload) => {
            let bytes = payload.as_bytes();
            // A payload comes from one websocket message, whose size is limited far below 4 GiB.
            out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

pub(super) fn series(value: &Series, out: &mut Vec<u8>) {
    text(value.broker.as_str(), out);
    text(value.account_id.as_str(), out);
    // Written in place: a key has at most 64 bytes and needs no buffer of its own.
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    // Writing into a vector cannot fail, and a contract is valid by construction.
    let written = std::io::Write::write_fmt(out, format_args!("{}", value.contract));
    debug_assert!(written.is_ok(), "a valid contract always has a key");
    let length = u16::try_from(out.len() - at - 2).unwrap_or(0).to_le_bytes();
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&length);
    }
    text(&value.underlying, out);
    decimal(value.multiplier, out);
}

/// Texts are symbols and names; one whose length cannot be written in two bytes is cut at a character.
fn text(value: &str, out: &mut Vec<u8>) {
    let mut end = value.len().min(usize::from(u16::MAX));
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let bytes = value.as_bytes().get(..end).unwrap_or_default();
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn time(value: UnixNanos, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.as_nanos().to_le_bytes());
}

fn decimal(value: Decimal, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.mantissa().to_le_bytes());
    out.push(u8::try_from(value.scale()).unwrap_or(0));
}
