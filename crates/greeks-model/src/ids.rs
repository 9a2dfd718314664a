//! Names of sources and accounts.

use std::fmt;
use std::sync::Arc;

/// A source and the broker behind it: `ibkr`, `tastytrade`, or a third party's own short lower-case name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(Arc<str>);

impl SourceId {
    /// Takes 1 to 32 characters of `a-z`, `0-9`, `_` and `-`: the name is a metric label and a column value.
    ///
    /// # Errors
    /// [`InvalidId`] when the name is empty, longer, or holds another character.
    pub fn new(name: &str) -> Result<Self, InvalidId> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(allowed) {
            return Err(InvalidId { what: "source", text: name.into() });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A broker's account number. `Display` and `Debug` show the last four characters only, since both end up in logs;
/// [`AccountId::as_str`] gives the number as the broker writes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// Takes the account number as the broker writes it, 1 to 64 bytes of visible characters.
    ///
    /// # Errors
    /// [`InvalidId`] when the number is empty, longer, or holds blanks or control characters.
    pub fn new(number: &str) -> Result<Self, InvalidId> {
        if number.is_empty() || number.len() > 64 || number.chars().any(|c| c.is_control() || c.is_whitespace()) {
            // The number itself has no place in an error, which ends up in logs.
            return Err(InvalidId { what: "account", text: format!("{} bytes", number.len()) });
        }
        Ok(Self(number.into()))
    }

    /// The account number in full.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.chars().count();
        // A number of four characters or fewer would be shown whole: hide all but the last.
        let shown = if length > 4 { 4 } else { 1 };
        f.write_str("··")?;
        self.0.chars().skip(length.saturating_sub(shown)).try_for_each(|c| write!(f, "{c}"))
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name that cannot be a source or an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what} name: {text}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_masked_in_text() {
        let account = AccountId::new("5WT00001").unwrap();
        assert_eq!(format!("{account} {account:?}"), "··0001 ··0001");
        assert_eq!(account.as_str(), "5WT00001");
        assert_eq!(AccountId::new("U123").unwrap().to_string(), "··3");
    }

    #[test]
    fn names_that_would_break_labels_are_refused() {
        for name in ["", "IBKR", "a b", "ü", "x\"", &"a".repeat(33)] {
            assert!(SourceId::new(name).is_err(), "{name}");
        }
        assert_eq!(SourceId::new("tastytrade").unwrap().as_str(), "tastytrade");
        for number in ["", "a b", "a\n", &"1".repeat(65)] {
            assert!(AccountId::new(number).is_err(), "{number}");
        }
    }
}
