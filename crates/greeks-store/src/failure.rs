//! What a failed statement means for what to do next.

use tokio_postgres::error::SqlState;

use crate::migrate::MigrateError;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may pass: try again soon.
    Transient,
    /// The server is out of disk or memory, which passes more slowly.
    Full,
    /// This data is refused, other data would not be.
    Data,
    /// A fault of the server or a code of somebody's own: it may pass, and if it does not, the data may be the cause.
    Internal,
    /// A person has to act; try again slowly.
    Operator,
}

/// By error code: whole codes first, then the classes of PostgreSQL, Appendix A, every one of them.
const POLICY: [(&str, Failure); 48] = [
    // Out of disk, out of memory.
    ("53100", Failure::Full),
    ("53200", Failure::Full),
    // Corrupted data, corrupted index: writing on would make it worse.
    ("XX001", Failure::Operator),
    ("XX002", Failure::Operator),
    // Success, warnings and "no data" are no errors: whoever sends them as such is no server we know.
    ("00", Failure::Transient),
    ("01", Failure::Transient),
    ("02", Failure::Transient),
    ("03", Failure::Transient),
    ("08", Failure::Transient),
    // What triggers and routines raise about the row at hand, a plain RAISE EXCEPTION (P0001) above all.
    ("09", Failure::Data),
    ("0A", Failure::Operator),
    ("0B", Failure::Transient),
    ("0F", Failure::Operator),
    ("0L", Failure::Operator),
    ("0P", Failure::Operator),
    ("0Z", Failure::Data),
    ("10", Failure::Data),
    ("20", Failure::Data),
    ("21", Failure::Data),
    ("22", Failure::Data),
    ("23", Failure::Data),
    // States of cursors, transactions and prepared statements: a new connection has none of them.
    ("24", Failure::Transient),
    // Read-only (25006) is a server that was demoted: soon there is a primary again.
    ("25", Failure::Transient),
    ("26", Failure::Transient),
    ("27", Failure::Data),
    ("28", Failure::Operator),
    ("2B", Failure::Operator),
    ("2D", Failure::Transient),
    ("2F", Failure::Data),
    ("34", Failure::Transient),
    ("38", Failure::Data),
    ("39", Failure::Data),
    ("3B", Failure::Transient),
    ("3D", Failure::Operator),
    ("3F", Failure::Operator),
    ("40", Failure::Transient),
    ("42", Failure::Operator),
    ("44", Failure::Data),
    // Other limits than disk and memory: connections above all.
    ("53", Failure::Transient),
    // A row too big for a page or an index entry.
    ("54", Failure::Data),
    ("55", Failure::Transient),
    // Shut down, starting up, cancelled by a time-out.
    ("57", Failure::Transient),
    ("58", Failure::Transient),
    ("72", Failure::Transient),
    ("F0", Failure::Operator),
    // A partition that somebody keeps on another server.
    ("HV", Failure::Transient),
    ("P0", Failure::Data),
    ("XX", Failure::Internal),
];

impl Failure {
    /// By the error code; no code means that the connection failed.
    pub(crate) fn of(code: Option<&SqlState>) -> Self {
        let Some(code) = code else { return Self::Transient };
        let found = POLICY.iter().find(|(prefix, _)| code.code().starts_with(prefix));
        found.map_or(Self::Internal, |(_, failure)| *failure)
    }

    /// Of an error of the driver.
    pub(crate) fn of_error(error: &tokio_postgres::Error) -> Self {
        Self::of(error.code())
    }

    /// Of a migration. No data of ours is in it, so what the server refuses is for a person to look at.
    pub(crate) fn of_migration(error: &MigrateError) -> Self {
        if let MigrateError::Connect(error) = error {
            return Self::of(error.code()).without_data();
        }
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<tokio_postgres::Error>() {
                return match Self::of_error(error) {
                    Self::Data => Self::Operator,
                    other => other.without_data(),
                };
            }
            next = error.source();
        }
        if matches!(error, MigrateError::Deadline(_)) { Self::Transient } else { Self::Operator }
    }

    /// Where no data was sent, no data can be at fault.
    pub(crate) fn without_data(self) -> Self {
        match self {
            Self::Data | Self::Internal => Self::Transient,
            other => other,
        }
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

    /// The classes of PostgreSQL 14 to 18, Appendix A.
    const CLASSES: &str = "00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 \
                           44 53 54 55 57 58 72 F0 HV P0 XX";

    #[test]
    fn every_class_is_in_the_table_once_and_whole_codes_come_before_their_class() {
        let prefixes: Vec<&str> = POLICY.iter().map(|(prefix, _)| *prefix).collect();
        let classes: Vec<&str> = prefixes.iter().copied().filter(|prefix| prefix.len() == 2).collect();
        assert!(classes.iter().copied().eq(CLASSES.split_whitespace()), "{classes:?}");
        for (place, code) in prefixes.iter().enumerate().filter(|(_, prefix)| prefix.len() == 5) {
            let class = prefixes.iter().position(|prefix| code.starts_with(prefix) && prefix.len() == 2);
            assert!(class.is_some_and(|class| place < class), "{code}");
        }
    }

    #[test]
    fn codes_are_sorted_by_what_to_do() {
        let table = [
            (Failure::Transient, "08000 08006 57P01 57P02 57P03 57014 53300 55P03 40001 40P01 25006 25P03 26000 58030"),
            (Failure::Full, "53100 53200"),
            (Failure::Data, "22003 22P03 22P05 22021 23502 23505 23514 P0001 P0004 54000 44000 21000 27000 39004"),
            (Failure::Operator, "42501 42P01 42703 42804 28P01 28000 3D000 3F000 0A000 XX001 XX002"),
            // A code of a trigger's own is in no class of PostgreSQL's.
            (Failure::Internal, "XX000 GR001 ZZ999"),
        ];
        for (failure, codes) in table {
            for code in codes.split_whitespace() {
                assert_eq!(Failure::of(Some(&SqlState::from_code(code))), failure, "{code}");
            }
        }
        assert_eq!(Failure::of(None), Failure::Transient);
    }

    #[test]
    fn a_migration_that_fails_by_itself_needs_a_person() {
        let newer = MigrateError::Newer { found: 9, known: 1 };
        assert_eq!(Failure::of_migration(&newer), Failure::Operator);
        let late = MigrateError::Deadline(std::time::Duration::from_secs(1));
        assert_eq!(Failure::of_migration(&late), Failure::Transient);
    }
}
