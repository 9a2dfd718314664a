//! The tables.

use std::fmt::Write;

use crate::options::LatencyOptions;
use crate::stats::{Spread, percentile, short};
use crate::{baseline, product};

/// What was measured at one rate in one round.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) rate: f64,
    /// Milliseconds of each commit of one row.
    pub(crate) floor: Vec<f64>,
    pub(crate) greekd: product::Sample,
    pub(crate) baseline: Option<baseline::Sample>,
}

impl Turn {
    fn floor_p95(&self) -> Option<f64> {
        percentile(&self.floor, 0.95)
    }

    fn python(&self, figure: impl Fn(&baseline::Sample) -> f64) -> Option<f64> {
        self.baseline.as_ref().map(figure)
    }
}

/// One line about one turn.
pub(crate) fn progress(turn: &Turn) -> String {
    let known = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), short);
    let (floor, greekd, python) = (turn.floor_p95(), Some(turn.greekd.p95), turn.python(|python| python.p95));
    let [floor, greekd, python] = [floor, greekd, python].map(known);
    format!("{} events/s: p95 in ms: floor {floor}, greekd {greekd}, Python {python}", turn.rate)
}

/// Two tables: what is promised, and what explains it. Ratios are taken within a round.
pub(crate) fn render(turns: &[Turn], options: &LatencyOptions) -> String {
    let python = turns.iter().any(|turn| turn.baseline.is_some());
    let promised: [Column; 5] = [
        ("floor", Turn::floor_p95),
        ("greekd", |turn| Some(turn.greekd.p95)),
        ("greekd / floor", |turn| Some(turn.greekd.p95 / turn.floor_p95()?)),
        ("Python", |turn| turn.python(|python| python.p95)),
        ("Python / greekd", |turn| turn.python(|python| python.p95 / turn.greekd.p95)),
    ];
    let explained: [Column; 11] = [
        ("floor p50", |turn| percentile(&turn.floor, 0.5)),
        ("p50", |turn| Some(turn.greekd.p50)),
        ("p99", |turn| Some(turn.greekd.p99)),
        ("due p95", |turn| turn.greekd.due_p95),
        ("sent/s", |turn| Some(turn.greekd.events_per_second)),
        ("CPU", |turn| turn.greekd.client_cpu),
        ("server CPU", |turn| turn.greekd.server_cpu),
        ("Python due p95", |turn| turn.python(|python| python.due_p95)),
        ("Python rows/s", |turn| turn.python(|python| python.rows_per_second)),
        ("Python CPU", |turn| turn.python(|python| python.client_cpu)),
        ("Python server CPU", |turn| turn.python(|python| python.server_cpu)),
    ];
    let shown = |columns: &[Column]| -> Vec<Column> {
        columns.iter().filter(|(name, _)| python || !name.contains("Python")).copied().collect()
    };
    let (rounds, seconds) = (options.rounds, options.seconds);
    let mut out = format!("p95 of received -> durable in ms: median (min..max) of {rounds} rounds of {seconds} s\n\n");
    out.push_str(&table(turns, &shown(&promised)));
    out.push_str(
        "\nmore of greekd: times in ms, CPU in seconds for 100,000 events; due: from the source's stamp on\n\n",
    );
    out.push_str(&table(turns, &shown(&explained)));
    out
}

type Column = (&'static str, fn(&Turn) -> Option<f64>);

/// A Markdown table with a line for each rate, in the order of their first turns.
fn table(turns: &[Turn], columns: &[Column]) -> String {
    let mut rates: Vec<f64> = Vec::new();
    for turn in turns {
        if !rates.contains(&turn.rate) {
            rates.push(turn.rate);
        }
    }
    let mut cells = vec![vec!["events/s".to_owned()]];
    cells.extend(columns.iter().map(|(name, _)| vec![(*name).to_owned()]));
    for rate in rates {
        let here: Vec<&Turn> = turns.iter().filter(|turn| turn.rate.total_cmp(&rate).is_eq()).collect();
        let figures = columns.iter().map(|(_, figure)| {
            let spread = Spread::of(here.iter().filter_map(|turn| figure(turn)));
            spread.map_or_else(|| "-".to_owned(), |spread| spread.to_string())
        });
        for (column, cell) in cells.iter_mut().zip(std::iter::once(rate.to_string()).chain(figures)) {
            column.push(cell);
        }
    }
    markdown(&cells)
}

/// Columns of cells, the first of each its heading, padded to be read in a terminal as well.
pub(crate) fn markdown(columns: &[Vec<String>]) -> String {
    let widths: Vec<usize> = columns.iter().map(|cells| cells.iter().map(String::len).max().unwrap_or(0)).collect();
    let lines = columns.iter().map(Vec::len).max().unwrap_or(0);
    let mut out = String::new();
    for line in 0..lines {
        for (cells, width) in columns.iter().zip(&widths) {
            // Writing to a String cannot fail.
            write!(out, "| {:>width$} ", cells.get(line).map_or("", String::as_str)).ok();
        }
        out.push_str("|\n");
        if line == 0 {
            for width in &widths {
                write!(out, "|{}:", "-".repeat(width + 1)).ok();
            }
            out.push_str("|\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(rate: f64, floor: f64, p95: f64, python: Option<f64>) -> Turn {
        let greekd = product::Sample {
            p50: 0.5,
            p95,
            accepted_p99: 0.2,
            p99: 9.0,
            due_p95: None,
            started: 0.5,
            events_per_second: rate,
            rows_per_second: rate,
            oldest: 0.0,
            resident: 1e7,
            client_cpu: Some(2.0),
            server_cpu: None,
        };
        let baseline = python.map(|p95| baseline::Sample {
            p95,
            due_p95: p95,
            rows_per_second: rate,
            client_cpu: 1.0,
            server_cpu: 1.0,
        });
        Turn { rate, floor: vec![floor], greekd, baseline }
    }

    fn options() -> LatencyOptions {
        LatencyOptions { baseline: None, rates: vec![5.0, 50.0], seconds: 10, rounds: 2 }
    }

    #[test]
    fn rounds_of_a_rate_are_one_line_and_ratios_are_within_rounds() {
        let turns = [
            turn(5.0, 1.0, 2.0, Some(900.0)),
            turn(50.0, 0.5, 1.0, Some(950.0)),
            turn(5.0, 10.0, 40.0, Some(1000.0)),
            turn(50.0, 0.5, 1.0, Some(950.0)),
        ];
        let text = render(&turns, &options());
        let lines: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .take(4)
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        assert_eq!(lines[0], ["events/s", "floor", "greekd", "greekd / floor", "Python", "Python / greekd"]);
        assert_eq!(
            lines[2],
            ["5", "5.50 (1.00..10.0)", "21.0 (2.00..40.0)", "3.00 (2.00..4.00)", "950 (900..1000)", "238 (25.0..450)"]
        );
        assert_eq!(lines[3], ["50", "0.50", "1.00", "2.00", "950", "950"]);
        let widths: Vec<usize> = text.lines().skip(2).take(4).map(str::len).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
    }

    #[test]
    fn without_a_baseline_nothing_is_said_of_it_and_unknown_figures_are_dashes() {
        let text = render(&[turn(5.0, 1.0, 2.0, None)], &options());
        assert!(!text.contains("Python"), "{text}");
        assert!(progress(&turn(5.0, 1.0, 2.0, None)).ends_with("floor 1.00, greekd 2.00, Python -"));
        let last: Vec<&str> = text.lines().last().unwrap().trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(last, ["5", "1.00", "0.50", "9.00", "-", "5.00", "2.00", "-"]);
    }
}
