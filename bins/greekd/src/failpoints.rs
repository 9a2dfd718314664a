//! What the fault harness asks of a greekd built for it: to end at a named point, to keep a ledger of what it has
//! accepted, and to fill segments quickly. Its settings are in the environment and are no part of the product.
//!
//! * `GREEKD_FAILPOINTS`: what happens where, `NAME=ACTIONS;..` as the crate `fail` has it. `return` ends the process;
//!   `list` prints the names of all points instead of running.
//! * `GREEKD_LEDGER`: the number of a file descriptor to which each accepted row is written, see [`ledger`].
//! * `GREEKD_FORGETFUL`: the ledger claims one row that was never accepted. A harness that does not notice is worthless.
//! * `GREEKD_SEGMENT_BYTES`, `GREEKD_QUOTA_BYTES`: a journal smaller than anybody would want it.

use std::fs::{File, OpenOptions};
use std::io::Write;

use greeks_journal::Options;
use greeks_model::{GreekSnapshot, Record};
use greeks_processor::AcceptedHook;

use crate::exit::{Code, Failure};
use crate::out;

/// Sets the points up. `true` when only their names were asked for.
pub(crate) fn set_up() -> Result<bool, Failure> {
    let Some(wanted) = variable("GREEKD_FAILPOINTS") else { return Ok(false) };
    if wanted == "list" {
        for name in names() {
            out::say(name)?;
        }
        return Ok(true);
    }
    for setting in wanted.split(';').filter(|setting| !setting.is_empty()) {
        let (name, actions) = setting.split_once('=').ok_or_else(|| refuse("NAME=ACTIONS", setting))?;
        if !names().any(|known| known == name) {
            return Err(refuse("a point that exists", name));
        }
        fail::cfg(name, actions).map_err(|error| refuse("actions", error))?;
    }
    Ok(false)
}

/// Calls `next`, and writes a line for each accepted row, those of a batch in one write, so that a killed process leaves
/// whole lines: `row SOURCE ACCOUNT EVENT_TIME RECEIVED_AT CONTRACT`, the times in microseconds and the contract with `_` for each
/// space, then the bits of delta, gamma, theta, vega, rho, implied volatility, option price and the underlying's price in
/// hexadecimal, `-` for unknown. Other records have a line as well, for they have numbers: `other`.
pub(crate) fn ledger(next: Option<AcceptedHook>) -> Option<AcceptedHook> {
    let Some(descriptor) = variable("GREEKD_LEDGER") else { return next };
    let opened = OpenOptions::new().append(true).open(format!("/dev/fd/{descriptor}"));
    let mut ledger = opened.unwrap_or_else(|error| give_up(&error));
    let mut lies = usize::from(variable("GREEKD_FORGETFUL").is_some());
    let mut lines = String::new();
    let mut next = next;
    Some(Box::new(move |records| {
        if let Some(next) = &mut next {
            next(records);
        }
        lines.clear();
        for record in records {
            let Record::Snapshot(row) = record else {
                lines.push_str("other\n");
                continue;
            };
            line(&mut lines, row, 0);
            if lies > 0 {
                line(&mut lines, row, 1);
                lies -= 1;
            }
        }
        write(&mut ledger, &lines);
    }))
}

/// Makes the journal as small as the harness wants it.
pub(crate) fn shrink(mut options: Options) -> Options {
    let bytes = |name| variable(name).and_then(|value| value.parse().ok());
    options.segment_bytes = bytes("GREEKD_SEGMENT_BYTES").unwrap_or(options.segment_bytes);
    options.max_bytes = bytes("GREEKD_QUOTA_BYTES").unwrap_or(options.max_bytes);
    options
}

fn names() -> impl Iterator<Item = &'static str> {
    greeks_journal::FAILPOINTS.iter().chain(greeks_store::FAILPOINTS).copied()
}

fn variable(name: &str) -> Option<String> {
    std::env::vars_os().find(|(key, _)| key == name)?.1.into_string().ok()
}

fn refuse(wanted: &str, found: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Config, format!("GREEKD_FAILPOINTS: {wanted} wanted, found {found}"))
}

fn line(into: &mut String, row: &GreekSnapshot, later: i64) {
    let series = &row.series;
    let contract = series.contract.to_string().replace(' ', "_");
    let (event_time, received_at) = (row.event_time.as_micros(), row.received_at.as_micros() + later);
    let account = series.account_id.as_str();
    into.push_str(&format!("row {} {account} {event_time} {received_at} {contract}", series.broker));
    for value in row.broker_values().into_iter().chain([row.underlying_price]) {
        match value {
            Some(value) => into.push_str(&format!(" {:016x}", value.to_bits())),
            None => into.push_str(" -"),
        }
    }
    into.push('\n');
}

fn write(ledger: &mut File, lines: &str) {
    if let Err(error) = ledger.write_all(lines.as_bytes()) {
        give_up(&error);
    }
}

/// Without its ledger a run proves nothing.
fn give_up(error: &std::io::Error) -> ! {
    tracing::error!(%error, "the ledger of the fault harness cannot be written");
    std::process::exit(Code::Disk as i32)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use greeks_model::{AccountId, Decimal, Series, SourceId, UnixNanos};

    use super::*;

    #[test]
    fn a_line_has_everything_that_a_row_is_told_by() {
        let series = Arc::new(Series {
            broker: SourceId::new("ibkr").unwrap(),
            account_id: AccountId::new("U1").unwrap(),
            contract: "SPXW  261124P06650000".parse().unwrap(),
            underlying: "SPX".into(),
            multiplier: Decimal::ONE_HUNDRED,
        });
        let mut row = GreekSnapshot::new(series, UnixNanos::from_micros(5), UnixNanos::from_nanos(7_999), 1.0);
        row.delta = Some(-0.0);
        row.underlying_price = Some(1.0);
        let mut lines = String::new();
        line(&mut lines, &row, 0);
        let wanted = "row ibkr U1 5 7 SPXW__261124P06650000 8000000000000000 - - - - - - 3ff0000000000000\n";
        assert_eq!(lines, wanted);
    }

    #[test]
    fn every_point_has_one_name() {
        let all: Vec<_> = names().collect();
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert!(all.contains(&"journal.after_write"));
    }
}
