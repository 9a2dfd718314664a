//! Lines for people on stdout.

use std::fmt;
use std::io::{self, Write};

use crate::exit::{Code, Failure};

/// Prints one line.
///
/// # Errors
/// A quiet [`Failure`] when whoever reads us has seen enough, as `head` does; a disk failure when it cannot be written.
pub(crate) fn say(line: impl fmt::Display) -> Result<(), Failure> {
    print(|stdout| writeln!(stdout, "{line}"))
}

/// Prints what `write` writes.
///
/// # Errors
/// As [`say`].
pub(crate) fn print(write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    write(&mut stdout).and_then(|()| stdout.flush()).map_err(|error| unwritten(&error))
}

/// What a failed write to stdout means.
fn unwritten(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::quiet()
    } else {
        Failure::new(Code::Disk, format!("the output cannot be written: {error}"))
    }
}
