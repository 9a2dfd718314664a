//! JSON as servers write it: no blanks between values, texts without escapes.
//!
//! Such text can be read value by value at a fraction of what a parser of all JSON costs, which has to be ready for
//! everything at every byte. A [`Cursor`] reads it, or says with `None` that something else stands there: then the whole
//! text is to be given to a real parser. What a cursor does read is JSON, and reads the same there.

/// A place in a text.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The beginning of a text.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Whether nothing follows.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// The next byte.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes these bytes if they are next.
    #[inline]
    pub fn pass(&mut self, bytes: &[u8]) -> Option<()> {
        self.rest().starts_with(bytes).then(|| self.at += bytes.len())
    }

    /// Passes this byte if it is next.
    #[inline]
    pub fn pass_byte(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    /// A text without escapes, which lies in quotes.
    #[inline]
    pub fn text(&mut self) -> Option<&'a str> {
        self.pass_byte(b'"')?;
        let length = plain_length(self.rest());
        let text = self.text.get(self.at..self.at + length)?;
        self.at += length;
        self.pass_byte(b'"')?;
        Some(text)
    }

    /// A whole number of at most 18 digits, without fraction or exponent.
    #[inline]
    pub fn integer(&mut self) -> Option<i64> {
        let number = self.number()?;
        let value = i64::try_from(number.mantissa).ok().filter(|_| number.is_whole && number.digits <= 18)?;
        // An integer has no negative zero.
        match number.is_negative {
            true if value == 0 => None,
            true => Some(-value),
            false => Some(value),
        }
    }

    /// The double that is nearest to a number; a number beyond all doubles is none.
    #[inline]
    pub fn double(&mut self) -> Option<f64> {
        let start = self.at;
        let number = self.number()?;
        number.exact().or_else(|| self.text.get(start..self.at)?.parse().ok().filter(|value: &f64| value.is_finite()))
    }

    /// Passes a number of any size.
    #[inline]
    pub fn pass_number(&mut self) -> Option<()> {
        self.number().map(|_| ())
    }

    #[inline]
    fn number(&mut self) -> Option<Number> {
        let is_negative = self.pass_byte(b'-').is_some();
        let mut number = Number { is_negative, is_whole: true, mantissa: 0, digits: 0, exponent: 0 };
        let starts_with_zero = self.peek() == Some(b'0');
        self.digits(&mut number);
        if number.digits == 0 || starts_with_zero && number.digits > 1 {
            return None;
        }
        if self.pass_byte(b'.').is_some() {
            let before = number.digits;
            self.digits(&mut number);
            number.exponent = -i32::try_from(number.digits - before).ok()?;
            number.is_whole = false;
            if number.exponent == 0 {
                return None;
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            number.is_whole = false;
            number.exponent = number.exponent.checked_add(self.exponent()?)?;
        }
        Some(number)
    }

    #[inline]
    fn digits(&mut self, number: &mut Number) {
        loop {
            let (value, count) = leading_digits(self.rest());
            let Some(scale) = SCALES.get(count as usize) else { return };
            // Nobody looks at the mantissa of a number with too many digits.
            number.mantissa = number.mantissa.wrapping_mul(*scale).wrapping_add(value);
            number.digits = number.digits.saturating_add(count);
            self.at += count as usize;
            if count < 8 {
                return;
            }
        }
    }

    /// By value: a number whose address is given away is kept in memory, not in registers.
    fn exponent(&mut self) -> Option<i32> {
        let is_negative = self.pass_byte(b'-').is_some();
        if !is_negative {
            self.pass_byte(b'+');
        }
        let mut exponent = Number { is_negative, is_whole: true, mantissa: 0, digits: 0, exponent: 0 };
        self.digits(&mut exponent);
        let value = i32::try_from(exponent.mantissa).ok().filter(|_| (1..=9).contains(&exponent.digits))?;
        Some(if is_negative { -value } else { value })
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
}

/// `mantissa` times ten to the power of `exponent`.
struct Number {
    is_negative: bool,
    /// Neither fraction nor exponent.
    is_whole: bool,
    /// Of use only with up to 19 digits.
    mantissa: u64,
    digits: u32,
    exponent: i32,
}

impl Number {
    /// The value if one operation on two exact doubles gives it: that rounds once, as it should (Clinger, "How to Read
    /// Floating Point Numbers Accurately", 1990).
    #[inline]
    fn exact(&self) -> Option<f64> {
        const EXACT: u64 = 1 << 53;
        if self.digits > 19 || self.mantissa > EXACT {
            return None;
        }
        let mantissa = self.mantissa as f64;
        let power = *POWERS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let value = if self.exponent < 0 { mantissa / power } else { mantissa * power };
        Some(if self.is_negative { -value } else { value })
    }
}

/// Powers of ten that are exact doubles.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// What so many digits more multiply a number by.
const SCALES: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// A one in each byte of a word.
const EACH: u64 = 0x0101_0101_0101_0101;

/// The first eight bytes, the first of them the lowest; zeros where there are fewer.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut chunk = [0; 8];
        chunk.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        chunk
    }))
}

/// How many bytes there are before a quote, a backslash or a control character, or to the end.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    // Subtraction borrows from the highest bit of a byte below the limit; what it does to bytes above the first such does
    // not matter.
    let below = |word: u64, limit: u64| word.wrapping_sub(EACH * limit) & !word & (EACH * 0x80);
    let mut length = 0;
    while let Some(rest) = bytes.get(length..).filter(|rest| !rest.is_empty()) {
        let word = word(rest);
        let (quote, backslash) = (u64::from(b'"'), u64::from(b'\\'));
        let ends = below(word, 0x20) | below(word ^ (EACH * quote), 1) | below(word ^ (EACH * backslash), 1);
        if ends != 0 {
            return bytes.len().min(length + (ends.trailing_zeros() / 8) as usize);
        }
        length += 8;
    }
    bytes.len()
}

/// The number that up to eight digits at the beginning make, and how many there are: all at once, each in its byte of a
/// word.
#[inline]
fn leading_digits(bytes: &[u8]) -> (u64, u32) {
    // A digit becomes its value; the highest bit tells what is none.
    let values = word(bytes) ^ (EACH * 0x30);
    let others = (((values & (EACH * 0x7f)) + EACH * 0x76) | values) & (EACH * 0x80);
    let count = others.trailing_zeros() / 8;
    if count == 0 {
        return (0, 0);
    }
    // Zeros in front; then neighbours are joined to twos, twos to fours, fours to eight.
    let values = values << (64 - 8 * count);
    let twos = (values * 10 + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    let eight = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    (eight, count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn whole<'a, T>(text: &'a str, read: impl FnOnce(&mut Cursor<'a>) -> Option<T>) -> Option<T> {
        let mut cursor = Cursor::new(text);
        read(&mut cursor).filter(|_| cursor.is_at_end())
    }

    fn double(text: &str) -> Option<f64> {
        whole(text, Cursor::double)
    }

    fn integer(text: &str) -> Option<i64> {
        whole(text, Cursor::integer)
    }

    /// Reads as the parser does, or not at all.
    fn check(text: &str) {
        let json = serde_json::from_str::<Value>(text).ok();
        if let Some(value) = double(text) {
            let expected = json.as_ref().and_then(Value::as_f64);
            assert_eq!(Some(value.to_bits()), expected.map(f64::to_bits), "{text}");
        }
        if let Some(value) = integer(text) {
            assert_eq!(Some(value), json.as_ref().and_then(Value::as_i64), "{text}");
        }
        if let Some(value) = whole(text, Cursor::text) {
            assert_eq!(Some(value), json.as_ref().and_then(Value::as_str), "{text}");
        }
        if whole(text, Cursor::pass_number).is_some() {
            assert!(serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn numbers_as_they_are_usual_are_read() {
        for (text, value) in [
            ("0", 0.0),
            ("-0.0", -0.0),
            ("-0", -0.0),
            ("5", 5.0),
            ("1700000000123", 1.700_000_000_123e12),
            ("0.679123456789012", 0.679_123_456_789_012),
            ("-0.0261234567890123", -0.026_123_456_789_012_3),
            ("3.13044894864515E-9", 3.130_448_948_645_15e-9),
            ("0.1234567890123456789", 0.123_456_789_012_345_68),
            ("17976931348623157e292", f64::MAX),
            ("4.9E-324", f64::from_bits(1)),
            ("1e-400", 0.0),
            ("12345678901234567890123", 1.234_567_890_123_456_8e22),
        ] {
            assert_eq!(double(text).map(f64::to_bits), Some(value.to_bits()), "{text}");
            assert!(whole(text, Cursor::pass_number).is_some(), "{text}");
            check(text);
        }
        assert_eq!(integer("1700000000123"), Some(1_700_000_000_123));
        assert_eq!(
            [integer("0"), integer("-7"), integer("999999999999999999")],
            [0, -7, 999_999_999_999_999_999].map(Some)
        );
        assert_eq!(whole(r#"".SPXW261218C5000""#, Cursor::text), Some(".SPXW261218C5000"));
        assert_eq!(whole(r#""é""#, Cursor::text), Some("é"));
        for length in 0..40 {
            let text = "é~\u{7f}!#[]".chars().cycle().take(length).collect::<String>();
            assert_eq!(whole(&format!("\"{text}\""), Cursor::text), Some(&*text));
            for end in ["\\\"", "\u{1f}\"", "\u{0}\"", ""] {
                assert_eq!(whole(&format!("\"{text}{end}"), Cursor::text), None);
            }
        }
    }

    #[test]
    fn everything_else_is_left_to_the_parser() {
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-01",
            "00",
            ".5",
            "5.",
            "5.e1",
            "1e",
            "1e+",
            "1E-",
            "e5",
            "--1",
            "1.2.3",
            "1,",
            "0x1",
            "NaN",
            "inf",
            "1e999",
            "-1e999",
            "1e9999999999",
            "١",
            "1 ",
            " 1",
            "\"1\"",
        ] {
            assert_eq!(double(text), None, "{text}");
        }
        for text in ["-0", "1.0", "1e3", "1234567890123456789", "\"1\""] {
            assert_eq!(integer(text), None, "{text}");
        }
        for text in ["\"", "\"a", "\"a\\\"", "\"\\u0041\"", "\"a\nb\"", "a\"", "\"a\"b"] {
            assert_eq!(whole(text, Cursor::text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_double_in_any_writing(bits in any::<u64>(), decimals in 0usize..20) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [format!("{value:?}"), format!("{value}"), format!("{value:e}"), format!("{value:.decimals$e}")] {
                check(&text);
                // With few decimals the largest doubles are rounded to more than a double holds.
                let expected = text.parse().ok().filter(|value: &f64| value.is_finite());
                prop_assert_eq!(double(&text).map(f64::to_bits), expected.map(f64::to_bits), "{}", text);
            }
        }

        #[test]
        fn numbers_as_a_grammar_makes_them(text in "-?[0-9]{1,22}(\\.[0-9]{1,22})?([eE][-+]?[0-9]{1,4})?", tail in "[-+.eE0-9,\\]\"x]{0,3}") {
            check(&text);
            check(&format!("{text}{tail}"));
        }

        #[test]
        fn any_text(text in "\\PC{0,24}", quoted in r#""[a-zA-Z0-9. \\"é/-]{0,12}"?"#) {
            check(&text);
            check(&quoted);
        }
    }
}
