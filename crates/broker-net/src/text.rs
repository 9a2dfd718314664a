//! Foreign words, and our own.

use std::fmt;

/// The most characters that [`clean`] lets through.
const LONGEST: usize = 160;

/// Foreign words made fit for an error text: secrets hidden, account numbers masked, control characters escaped, cut
/// short.
#[must_use]
pub fn clean(words: &str, secrets: &[&str]) -> String {
    let mut words = words.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        words = words.replace(secret, "***");
    }
    mask_accounts(words.trim()).chars().take(LONGEST).flat_map(char::escape_debug).collect()
}

/// Brokers put account numbers into their messages; in logs only the end of one is shown.
fn mask_accounts(words: &str) -> String {
    let delimiter = |c: char| !c.is_ascii_alphanumeric();
    let mut masked = String::with_capacity(words.len());
    for part in words.split_inclusive(delimiter) {
        let word = part.trim_end_matches(delimiter);
        let start = if is_account_number(word) { word.len() - SHOWN } else { 0 };
        if start > 0 {
            masked.push_str("··");
        }
        masked.push_str(part.get(start..).unwrap_or_default());
    }
    masked
}

/// Characters of an account number that are shown.
const SHOWN: usize = 4;

/// Such as `U1234567`, `DU123456`, `5WT00001`. Numbers of contracts have no letters, their symbols fewer digits or more.
fn is_account_number(word: &str) -> bool {
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    (7..=10).contains(&word.len()) && (1..=3).contains(&letters) && word.len() - letters >= 5
}

/// Writes those of several statements that hold, with `; ` between them.
#[derive(Debug)]
pub struct Clauses<'a, W: ?Sized> {
    out: &'a mut W,
    separator: &'static str,
}

impl<'a, W: fmt::Write + ?Sized> Clauses<'a, W> {
    /// Begins with nothing.
    pub fn new(out: &'a mut W) -> Self {
        Self { out, separator: "" }
    }

    /// Writes the statement if it `holds`.
    ///
    /// # Errors
    /// As `out` refuses.
    pub fn say(&mut self, holds: bool, text: fmt::Arguments<'_>) -> fmt::Result {
        if !holds {
            return Ok(());
        }
        let separator = std::mem::replace(&mut self.separator, "; ");
        write!(self.out, "{separator}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_are_tamed() {
        assert_eq!(clean("bad token abc123\n\u{1b}[31m", &["abc123", ""]), "bad token ***\\n\\u{1b}[31m");
        assert_eq!(clean(&"x".repeat(500), &[]).len(), LONGEST);
    }

    #[test]
    fn account_numbers_are_masked_and_nothing_else_is() {
        for (words, expected) in [
            ("no such account U1234567", "no such account ··4567"),
            ("(DU123456): F1234567,5WT00001.", "(··3456): ··4567,··0001."),
            ("/portfolio/U12345678/positions/0", "/portfolio/··5678/positions/0"),
            ("contract 649180671 ESU6 20261127 status 500", "contract 649180671 ESU6 20261127 status 500"),
            ("SPY   250117C00440000 100, AAPL1 6EZ6 P5000", "SPY   250117C00440000 100, AAPL1 6EZ6 P5000"),
            ("", ""),
        ] {
            assert_eq!(clean(words, &[]), expected);
        }
    }
}
