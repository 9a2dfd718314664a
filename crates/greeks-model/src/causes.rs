//! Errors in words.

use std::error::Error;

/// An error with all its causes on one line: `cannot open the log: permission denied`.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Outer {
        text: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn causes_follow_on_one_line_each_once() {
        for (text, expected) in
            [("outer", "outer: line one line two"), ("outer: line one\nline two", "outer: line one line two")]
        {
            let error = Outer { text, source: std::io::Error::other("line one\nline two") };
            assert_eq!(with_causes(&error), expected);
        }
    }
}
