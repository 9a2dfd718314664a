//! The page as a browser shows it, one test at a time: some of them measure.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

mod choices;
mod guests;
mod live;
mod load;
mod shots;

use tokio::sync::{Mutex, MutexGuard};

/// Whose turn it is.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A script that sets up `page` for looking at rows: their figures by key, without ages, which grow by themselves.
pub(crate) const FIGURES: &str = "
    window.figures = () => Object.fromEntries([...document.querySelectorAll('#rows tr')].map((row) =>
        [`${row.classList[0]} ${row.dataset.key}`, [...row.cells].slice(0, -1).map((cell) => cell.innerText).join(' | ')]));
    true
";
