//! The page as a browser shows it, one test at a time: some of them measure.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

mod choices;
mod contact;
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

/// A script that sets up `page` for looking at rows: their names, such as `leg 7` and `group SPY`, and their figures by
/// name, without ages, which grow by themselves.
pub(crate) const FIGURES: &str = "
    window.rowName = (row) => `${row.classList[0]} ${row.dataset.line ?? row.querySelector('.label').textContent}`;
    window.figures = () => Object.fromEntries([...document.querySelectorAll('#rows tr')].map((row) =>
        [rowName(row), [...row.cells].slice(0, -1).map((cell) => cell.innerText).join(' | ')]));
    true
";
