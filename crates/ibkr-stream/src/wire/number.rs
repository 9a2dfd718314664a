//! Numbers as IBKR writes them: texts with prefixes, thousands commas, percent signs and scales.

use std::str;

use broker_net::plain::Cursor;

/// Longer texts with commas or a scale are no prices.
const LONGEST: usize = 64;

/// A number and what was written around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decorated {
    /// The double nearest to the text, a percentage as it stands; NaN when IBKR says that it does not know.
    pub(crate) value: f64,
    pub(crate) mark: Option<Mark>,
    pub(crate) percent: bool,
}

/// A letter before a price (IBKR, "Market Data Fields", field 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// `C`: the close of the day before.
    PreviousClose,
    /// `H`: trading is halted.
    Halted,
}

impl Mark {
    const LETTERS: [(&str, Self); 2] = [("C", Self::PreviousClose), ("H", Self::Halted)];
}

impl Decorated {
    /// IBKR says that it does not know.
    pub(crate) const UNKNOWN: Self = Self::plain(f64::NAN);

    pub(crate) const fn plain(value: f64) -> Self {
        Self { value, mark: None, percent: false }
    }

    /// Passes a text in quotes that is a number as most are: with no more than a mark before it and a percent sign behind
    /// it. What it gives, [`Decorated::from_text`] gives too.
    pub(super) fn pass_usual(cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut ahead = *cursor;
        ahead.pass_byte(b'"')?;
        let mark = Mark::LETTERS.into_iter().find_map(|(letter, mark)| ahead.pass(letter.as_bytes()).map(|()| mark));
        let value = ahead.double()?;
        let percent = ahead.pass_byte(b'%').is_some();
        ahead.pass_byte(b'"')?;
        *cursor = ahead;
        Some(Self { value, mark, percent })
    }

    /// Reads a text; `None` when it is of no known form.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let marked =
            Mark::LETTERS.into_iter().find_map(|(letter, mark)| Some((text.strip_prefix(letter)?, Some(mark))));
        let (text, mark) = marked.map_or((text, None), |(text, mark)| (text.trim_start(), mark));
        if text.is_empty() || text == "-" || text.eq_ignore_ascii_case("N/A") {
            return Some(Self { mark, ..Self::UNKNOWN });
        }
        let (text, percent) = match text.strip_suffix('%') {
            Some(rest) => (rest.trim_end(), true),
            None => (text, false),
        };
        let (text, scale) = split_scale(text);
        let value = match (scale, text.contains(',')) {
            (None, false) => undecorated(text)?,
            _ => joined(text, scale)?,
        };
        Some(Self { value, mark, percent })
    }
}

/// Takes `K`, `M` or `B` off the end; gives it as an exponent.
fn split_scale(text: &str) -> (&str, Option<&'static str>) {
    for (letter, exponent) in [('K', "e3"), ('M', "e6"), ('B', "e9")] {
        if let Some(rest) = text.strip_suffix(letter) {
            return (rest, Some(exponent));
        }
    }
    (text, None)
}

/// The standard parser knows words too, which a wire must not.
fn undecorated(text: &str) -> Option<f64> {
    let known = |byte: u8| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E');
    if !text.bytes().all(known) {
        return None;
    }
    text.parse().ok()
}

/// The number without its commas and with its scale as exponent, so that it is rounded once.
fn joined(text: &str, scale: Option<&str>) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = unsigned.split('.').next()?;
    let fraction = unsigned.get(whole.len()..)?;
    if !are_thousands(whole) || fraction.contains([',', 'e', 'E']) {
        return None;
    }
    let mut digits = [0; LONGEST];
    let mut length = 0;
    for byte in text.bytes().filter(|byte| *byte != b',').chain(scale.unwrap_or_default().bytes()) {
        *digits.get_mut(length)? = byte;
        length += 1;
    }
    undecorated(str::from_utf8(digits.get(..length)?).ok()?)
}

/// Whether every comma has three digits behind it, and the first something to count before it. Another may be a decimal
/// one, as in "0,257": the number is not guessed.
fn are_thousands(whole: &str) -> bool {
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    if !whole.contains(',') {
        return digits(first);
    }
    let leads = (1..=3).contains(&first.len()) && digits(first) && !first.starts_with('0');
    leads && groups.all(|group| group.len() == 3 && digits(group))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_is_read_as_it_is_meant() {
        use Mark::{Halted, PreviousClose};
        for (text, value, mark, percent) in [
            ("3913.25", 3913.25, None, false),
            ("C5.20", 5.2, Some(PreviousClose), false),
            ("H5.20", 5.2, Some(Halted), false),
            ("C -0.05", -0.05, Some(PreviousClose), false),
            ("C1,300.5", 1300.5, Some(PreviousClose), false),
            ("1,300", 1300.0, None, false),
            ("-12,345,678.25", -12_345_678.25, None, false),
            ("12.2M", 12_200_000.0, None, false),
            ("3.45K", 3450.0, None, false),
            ("1.1B", 1_100_000_000.0, None, false),
            ("1,234.5K", 1_234_500.0, None, false),
            ("28.0%", 28.0, None, true),
            ("+0.54%", 0.54, None, true),
            ("1,020.5 %", 1020.5, None, true),
            ("85.6%", 85.6, None, true),
            ("-0.257", -0.257, None, false),
            ("1.22E7", 1.22e7, None, false),
            (" 735 ", 735.0, None, false),
            (".5", 0.5, None, false),
        ] {
            let read = Decorated::from_text(text);
            assert_eq!(read, Some(Decorated { value, mark, percent }), "{text}");
        }
        assert_eq!(Decorated::from_text("-0.000").map(|it| it.value), Some(0.0));
    }

    #[test]
    fn unknown_is_no_number_and_no_fault() {
        for text in ["", "  ", "-", "N/A", "n/a"] {
            let read = Decorated::from_text(text).unwrap();
            assert!(read.value.is_nan() && read.mark.is_none() && !read.percent, "{text}");
        }
        let closed = Decorated::from_text("C").unwrap();
        assert!(closed.value.is_nan() && closed.mark == Some(Mark::PreviousClose));
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for text in [
            "abc",
            "NaN",
            "inf",
            "Infinity",
            "1,5",
            "1,30",
            "12,3456",
            ",100",
            "1234,567",
            "0,257",
            "-0,257",
            "012,345",
            "1.2,345",
            "1,234e3",
            "1e3K",
            "K",
            "%",
            "C%",
            "1.2.3",
            "--1",
            "1 000",
            "0x10",
            "CH5",
            "5C",
            "1,٣٤٥",
            "€5",
            "1,-234",
            "1,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000",
        ] {
            assert_eq!(Decorated::from_text(text), None, "{text}");
        }
    }

    fn grouped(whole: &str) -> String {
        let mut out = String::new();
        for (i, digit) in whole.chars().enumerate() {
            if i > 0 && (whole.len() - i).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        out
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}", close in "[CH]?[-+]?[0-9,.]{0,20}[KMB]?[eE]?[0-9]{0,3}%?") {
            for text in [text, close] {
                if let Some(read) = Decorated::from_text(&text) {
                    prop_assert_eq!(read.percent, text.trim().ends_with('%'));
                }
            }
        }

        #[test]
        fn a_printed_number_reads_back(value in any::<f64>().prop_filter("finite", |v| v.is_finite()), mark in 0usize..3, percent in any::<bool>()) {
            let prefix = ["", "C", "H"][mark];
            let suffix = if percent { "%" } else { "" };
            for printed in [format!("{value}"), format!("{value:?}"), format!("{value:E}")] {
                let read = Decorated::from_text(&format!("{prefix}{printed}{suffix}")).unwrap();
                prop_assert_eq!(read.value.to_bits(), value.to_bits());
                prop_assert_eq!(read.percent, percent);
                prop_assert_eq!(read.mark, [None, Some(Mark::PreviousClose), Some(Mark::Halted)][mark]);
            }
        }

        #[test]
        fn commas_and_scales_are_rounded_once(
            whole in 0u64..1_000_000_000_000_000, fraction in "[0-9]{0,6}", negative in any::<bool>(), scale in 0usize..4,
        ) {
            let sign = if negative { "-" } else { "" };
            let dot = if fraction.is_empty() { "" } else { "." };
            let (letter, exponent) = [("", "e0"), ("K", "e3"), ("M", "e6"), ("B", "e9")][scale];
            let expected: f64 = format!("{sign}{whole}{dot}{fraction}{exponent}").parse().unwrap();
            let text = format!("{sign}{}{dot}{fraction}{letter}", grouped(&whole.to_string()));
            prop_assert_eq!(Decorated::from_text(&text).map(|it| it.value.to_bits()), Some(expected.to_bits()), "{}", text);
        }
    }
}
