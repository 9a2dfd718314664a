//! What a failed statement means for what to do next.

use tokio_postgres::error::SqlState;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may pass: try again soon.
    Transient,
    /// This data is refused, other data would not be.
    Data,
    /// A person has to act; try again slowly.
    Operator,
}

impl Failure {
    /// By the class of the error code (PostgreSQL, Appendix A); no code means that the connection failed.
    pub(crate) fn of(code: Option<&SqlState>) -> Self {
        let Some(code) = code else { return Self::Transient };
        match code.code().get(..2).unwrap_or_default() {
            // Data exception, integrity constraint.
            "22" | "23" => Self::Data,
            // Feature not supported, authorization, database or schema missing, syntax and access, corruption.
            "0A" | "28" | "3D" | "3F" | "42" => Self::Operator,
            "XX" if matches!(code.code(), "XX001" | "XX002") => Self::Operator,
            _ => Self::Transient,
        }
    }

    /// Of an error of the driver.
    pub(crate) fn of_error(error: &tokio_postgres::Error) -> Self {
        Self::of(error.code())
    }
}

/// An error with all its causes on one line. Of an error of the database only message and code are shown: its detail may
/// quote values.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let driver = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::as_db_error);
        let (part, end) = match driver {
            Some(db) => (format!("{} (SQLSTATE {})", db.message(), db.code().code()), true),
            None => (error.to_string(), false),
        };
        // Some errors repeat their cause.
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        next = if end { None } else { error.source() };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_to_do() {
        let of = |code: &str| Failure::of(Some(&SqlState::from_code(code)));
        for code in ["08006", "57P01", "57P03", "53300", "53100", "55P03", "40001", "40P01", "25006", "XX000"] {
            assert_eq!(of(code), Failure::Transient, "{code}");
        }
        for code in ["22003", "22P03", "22P05", "23502", "23505", "23514"] {
            assert_eq!(of(code), Failure::Data, "{code}");
        }
        for code in ["42501", "42P01", "28P01", "3D000", "0A000", "XX001"] {
            assert_eq!(of(code), Failure::Operator, "{code}");
        }
        assert_eq!(Failure::of(None), Failure::Transient);
    }
}
