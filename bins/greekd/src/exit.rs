//! How the program ends: one line, what to do, and the exit code that scripts and systemd look at.

use std::fmt;
use std::process::ExitCode;

pub(crate) use greeks_model::with_causes;

/// The published exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// All is well.
    Success = 0,
    /// A failure while running.
    Runtime = 1,
    /// Something needed cannot be reached.
    Unavailable = 69,
    /// The disk or the data directory refuses.
    Disk = 74,
    /// A broker or the database refused the credentials, or a broker wants a person to log in.
    Credentials = 77,
    /// The configuration is wrong.
    Config = 78,
    /// Stopped by a second signal, as shells report a program that SIGINT ended.
    CutShort = 130,
}

/// Why the program stops, and what a person can do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    what: String,
    remedy: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, what: impl fmt::Display) -> Self {
        Self { code, what: what.to_string(), remedy: None }
    }

    /// Nothing to say and nobody to say it to: whoever reads our output has gone.
    pub(crate) const fn quiet() -> Self {
        Self { code: Code::Success, what: String::new(), remedy: None }
    }

    pub(crate) fn remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }

    pub(crate) const fn is_quiet(&self) -> bool {
        self.what.is_empty()
    }

    #[cfg(test)]
    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.remedy.iter().try_for_each(|remedy| write!(f, "; {remedy}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn one_line_with_cause_and_remedy() {
        let error = Outer(std::io::Error::other("line one\nline two"));
        let failure = Failure::new(Code::Disk, with_causes(&error)).remedy("free some space");
        assert_eq!(failure.to_string(), "outer: line one line two; free some space");
        assert_eq!(failure.code(), Code::Disk);
        assert!(!failure.is_quiet() && Failure::quiet().is_quiet());
    }
}
