//! Foreign words.

/// The most characters that [`clean`] lets through.
const LONGEST: usize = 160;

/// Foreign words made fit for an error text: secrets hidden, control characters escaped, cut short.
#[must_use]
pub fn clean(words: &str, secrets: &[&str]) -> String {
    let mut words = words.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        words = words.replace(secret, "***");
    }
    words.trim().chars().take(LONGEST).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_are_tamed() {
        assert_eq!(clean("bad token abc123\n\u{1b}[31m", &["abc123", ""]), "bad token ***\\n\\u{1b}[31m");
        assert_eq!(clean(&"x".repeat(500), &[]).len(), LONGEST);
    }
}
