//! JSON of servers that write a number now bare, now in quotes.

use std::borrow::Cow;

use greeks_model::Decimal;
use serde_json::value::RawValue;

/// A text or a number as text; empty for anything else.
#[must_use]
pub fn plain(raw: &RawValue) -> Cow<'_, str> {
    let text = raw.get();
    if text.starts_with('"') {
        return serde_json::from_str(text).map(Cow::Owned).unwrap_or_default();
    }
    let number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    Cow::Borrowed(if number { text } else { "" })
}

/// A decimal, in quotes or not.
#[must_use]
pub fn decimal(raw: &RawValue) -> Option<Decimal> {
    let text = plain(raw);
    let text = text.trim();
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()
}

/// A double, in quotes or not; finite.
#[must_use]
pub fn double(raw: &RawValue) -> Option<f64> {
    plain(raw).trim().parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).unwrap()
    }

    #[test]
    fn numbers_in_or_out_of_quotes() {
        for (text, expected) in [("2", 2.0), ("\"2\"", 2.0), ("\"0.50\"", 0.5), (" 1e2", 100.0), ("\" 3 \"", 3.0)] {
            let raw = raw(text.trim());
            assert_eq!(double(&raw), Some(expected));
            assert_eq!(decimal(&raw).and_then(|d| d.to_string().parse().ok()), Some(expected));
        }
        for text in ["null", "\"\"", "true", "\"NaN\"", "\"inf\"", "[1]", "{}"] {
            assert_eq!((double(&raw(text)), decimal(&raw(text))), (None, None), "{text}");
        }
    }

    #[test]
    fn texts_lose_their_quotes_and_nothing_else_is_text() {
        for (text, expected) in
            [("\"a\\u0062\"", "ab"), ("12", "12"), ("-1.5e3", "-1.5e3"), ("null", ""), ("true", ""), ("{}", "")]
        {
            assert_eq!(plain(&raw(text)), expected, "{text}");
        }
    }
}
