//! Columns of each event type, and how a value is printed.

use super::feed::Style;
use crate::config::ColumnOrder;
use crate::market::{Body, Event, Kind};
use crate::tasty::faults::Escapes;

/// A negotiated field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    EventType,
    EventSymbol,
    /// 0 unless a server was asked for event times, and so always 0 here.
    EventTime,
    EventFlags,
    Index,
    Time,
    Sequence,
    TimeNanoPart,
    Price,
    Volatility,
    Delta,
    Gamma,
    Theta,
    Rho,
    Vega,
    BidTime,
    BidExchangeCode,
    BidPrice,
    BidSize,
    AskTime,
    AskExchangeCode,
    AskPrice,
    AskSize,
    ExchangeCode,
    Change,
    Size,
    DayId,
    DayVolume,
    DayTurnover,
    TickDirection,
    ExtendedTradingHours,
}

use Column as C;

/// As the specification lists them (dxLink AsyncAPI, event schemas).
const GREEKS: &[(&str, Column)] = &[
    ("eventType", C::EventType),
    ("eventSymbol", C::EventSymbol),
    ("eventTime", C::EventTime),
    ("eventFlags", C::EventFlags),
    ("index", C::Index),
    ("time", C::Time),
    ("sequence", C::Sequence),
    ("price", C::Price),
    ("volatility", C::Volatility),
    ("delta", C::Delta),
    ("gamma", C::Gamma),
    ("theta", C::Theta),
    ("rho", C::Rho),
    ("vega", C::Vega),
];

const QUOTE: &[(&str, Column)] = &[
    ("eventType", C::EventType),
    ("eventSymbol", C::EventSymbol),
    ("eventTime", C::EventTime),
    ("sequence", C::Sequence),
    ("timeNanoPart", C::TimeNanoPart),
    ("bidTime", C::BidTime),
    ("bidExchangeCode", C::BidExchangeCode),
    ("bidPrice", C::BidPrice),
    ("bidSize", C::BidSize),
    ("askTime", C::AskTime),
    ("askExchangeCode", C::AskExchangeCode),
    ("askPrice", C::AskPrice),
    ("askSize", C::AskSize),
];

const TRADE: &[(&str, Column)] = &[
    ("eventType", C::EventType),
    ("eventSymbol", C::EventSymbol),
    ("eventTime", C::EventTime),
    ("time", C::Time),
    ("timeNanoPart", C::TimeNanoPart),
    ("sequence", C::Sequence),
    ("exchangeCode", C::ExchangeCode),
    ("price", C::Price),
    ("change", C::Change),
    ("size", C::Size),
    ("dayId", C::DayId),
    ("dayVolume", C::DayVolume),
    ("dayTurnover", C::DayTurnover),
    ("tickDirection", C::TickDirection),
    ("extendedTradingHours", C::ExtendedTradingHours),
];

const fn schema(kind: Kind) -> &'static [(&'static str, Column)] {
    match kind {
        Kind::Greeks => GREEKS,
        Kind::Quote => QUOTE,
        Kind::Trade => TRADE,
    }
}

/// The columns the server settles on: what was asked for and exists, in the server's order; everything if nothing was
/// asked.
pub(crate) fn negotiate(kind: Kind, asked: Option<&[String]>, order: ColumnOrder) -> Vec<(&'static str, Column)> {
    let known = schema(kind);
    let Some(asked) = asked else { return known.to_vec() };
    if order == ColumnOrder::Asked {
        return asked.iter().filter_map(|name| known.iter().find(|(known, _)| known == name).copied()).collect();
    }
    let mut columns: Vec<_> =
        known.iter().filter(|(name, _)| asked.iter().any(|asked| asked == name)).copied().collect();
    if order == ColumnOrder::Scrambled {
        columns.sort_by_key(|(name, column)| (!matches!(column, C::EventType | C::EventSymbol), *name));
    }
    columns
}

/// Appends one value as JSON.
pub(crate) fn write_value(out: &mut Vec<u8>, column: Column, event: &Event, symbol: &str, style: Style) {
    let write_double = |out: &mut Vec<u8>, value| write_double(out, value, style.whole_numbers);
    match (column, event.body) {
        (C::EventType, _) => write_text(out, event.kind().name()),
        (C::EventSymbol, _) => write_symbol(out, symbol, style.escapes),
        (C::Index, _) => write_integer(out, event.stamp.index()),
        (C::Time, _) => write_integer(out, event.stamp.time),
        (C::Sequence, _) => write_integer(out, i64::from(event.stamp.sequence)),
        (C::Price, Body::Greeks(values)) => write_double(out, values.price),
        (C::Price, Body::Trade { price, .. }) => write_double(out, price),
        (C::Volatility, Body::Greeks(values)) => write_double(out, values.volatility),
        (C::Delta, Body::Greeks(values)) => write_double(out, values.delta),
        (C::Gamma, Body::Greeks(values)) => write_double(out, values.gamma),
        (C::Theta, Body::Greeks(values)) => write_double(out, values.theta),
        (C::Rho, Body::Greeks(values)) => write_double(out, values.rho),
        (C::Vega, Body::Greeks(values)) => write_double(out, values.vega),
        (C::BidPrice, Body::Quote { bid, .. }) => write_double(out, bid),
        (C::AskPrice, Body::Quote { ask, .. }) => write_double(out, ask),
        (C::BidSize | C::AskSize, Body::Quote { size, .. }) | (C::Size, Body::Trade { size, .. }) => {
            write_double(out, size);
        }
        (C::Change, Body::Trade { change, .. }) => write_double(out, change),
        (C::DayVolume | C::DayTurnover, _) => write_double(out, f64::NAN),
        (C::BidExchangeCode | C::AskExchangeCode | C::ExchangeCode, _) => write_text(out, "Q"),
        (C::TickDirection, _) => write_text(out, "UNDEFINED"),
        (C::ExtendedTradingHours, _) => out.extend_from_slice(b"false"),
        (C::DayId, _) => write_integer(out, event.stamp.time.div_euclid(86_400_000)),
        // Always 0 in production, the times of both sides of a quote included.
        _ => out.push(b'0'),
    }
}

/// The shortest decimal that reads back as the same double; what JSON cannot write is a string. A whole number can do
/// without its point, but for minus zero.
fn write_double(out: &mut Vec<u8>, value: f64, whole: bool) {
    if whole && value.fract() == 0.0 && value.abs() < 1e15 && (value != 0.0 || value.is_sign_positive()) {
        out.extend_from_slice(format!("{value:.0}").as_bytes());
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    } else {
        // Writing into memory cannot fail.
        serde_json::to_writer(out, &value).ok();
    }
}

fn write_symbol(out: &mut Vec<u8>, symbol: &str, escapes: Escapes) {
    if escapes == Escapes::None {
        return write_text(out, symbol);
    }
    out.push(b'"');
    for letter in symbol.chars() {
        match (letter, escapes) {
            ('/', Escapes::Slash) => out.extend_from_slice(b"\\/"),
            (_, Escapes::Unicode) if !letter.is_ascii_alphanumeric() => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
            // Symbols have no quotation marks; whatever else there is, stands for itself.
            _ => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

fn write_integer(out: &mut Vec<u8>, value: i64) {
    serde_json::to_writer(out, &value).ok();
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{GreekValues, Stamp, SymbolId};

    fn names(columns: &[(&'static str, Column)]) -> Vec<&'static str> {
        columns.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn server_order_is_its_own_and_unknown_fields_are_left_out() {
        let asked: Vec<String> =
            ["eventType", "eventSymbol", "time", "vega", "delta", "theta", "colour"].map(str::to_owned).into();
        let of = |order| names(&negotiate(Kind::Greeks, Some(&asked), order));
        assert_eq!(of(ColumnOrder::Scrambled), ["eventSymbol", "eventType", "delta", "theta", "time", "vega"]);
        assert_eq!(of(ColumnOrder::Schema), ["eventType", "eventSymbol", "time", "delta", "theta", "vega"]);
        assert_eq!(of(ColumnOrder::Asked), ["eventType", "eventSymbol", "time", "vega", "delta", "theta"]);
        assert_eq!(negotiate(Kind::Greeks, None, ColumnOrder::Scrambled).len(), 14);
    }

    #[test]
    fn doubles_read_back_bit_for_bit() {
        let values =
            [0.1 + 0.2, 1e-300, f64::MIN_POSITIVE / 3.0, f64::MAX, -0.0, 1.0, 2695.79, 0.007_162_499_999_999_999];
        for value in values {
            let mut out = Vec::new();
            write_double(&mut out, value, false);
            let read: f64 = serde_json::from_slice(&out).unwrap();
            assert_eq!(read.to_bits(), value.to_bits(), "{value}");
        }
        for (value, text) in [(f64::NAN, "\"NaN\""), (f64::INFINITY, "\"Infinity\""), (-f64::INFINITY, "\"-Infinity\"")]
        {
            let mut out = Vec::new();
            write_double(&mut out, value, false);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn whole_numbers_and_escapes_read_back_as_the_same() {
        for (value, text) in [(2.0, "2"), (-0.0, "-0.0"), (0.0, "0"), (-3.0, "-3"), (1e300, "1e300"), (0.5, "0.5")] {
            let mut out = Vec::new();
            write_double(&mut out, value, true);
            assert_eq!(String::from_utf8(out).unwrap().replace("e+", "e"), text);
        }
        let symbol = "./EW4X26P5000:XCME";
        for (escapes, text) in [
            (Escapes::None, r#""./EW4X26P5000:XCME""#),
            (Escapes::Slash, r#"".\/EW4X26P5000:XCME""#),
            (Escapes::Unicode, r#""\u002e\u002fEW4X26P5000\u003aXCME""#),
        ] {
            let mut out = Vec::new();
            write_symbol(&mut out, symbol, escapes);
            assert_eq!(std::str::from_utf8(&out).unwrap(), text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), symbol);
        }
    }

    #[test]
    fn every_column_of_an_event_is_its_own_value() {
        let values =
            GreekValues { price: 1.5, volatility: 2.5, delta: 3.5, gamma: 4.5, theta: 5.5, rho: 6.5, vega: 7.5 };
        let stamp = Stamp { time: 1_795_000_000_123, sequence: 9 };
        let event = Event { symbol: SymbolId(0), stamp, body: Body::Greeks(values) };
        let printed: Vec<String> = GREEKS
            .iter()
            .map(|(_, column)| {
                let mut out = Vec::new();
                write_value(&mut out, *column, &event, ".A", Style::default());
                String::from_utf8(out).unwrap()
            })
            .collect();
        let index = stamp.index().to_string();
        assert_eq!(
            printed,
            [
                "\"Greeks\"",
                "\".A\"",
                "0",
                "0",
                index.as_str(),
                "1795000000123",
                "9",
                "1.5",
                "2.5",
                "3.5",
                "4.5",
                "5.5",
                "6.5",
                "7.5"
            ]
        );
    }
}
