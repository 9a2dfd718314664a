//! Aligned columns for people.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use greeks_model::UnixNanos;

/// The title of a column, and whether its cells are text: text stands to the left, numbers to the right.
pub(crate) type Column = (&'static str, bool);

/// Writes the titles and the lines below them.
pub(crate) fn write<const N: usize>(
    columns: &[Column; N],
    lines: &[[String; N]],
    out: &mut impl Write,
) -> io::Result<()> {
    let titles = columns.map(|(title, _)| title.to_owned());
    let mut widths = titles.each_ref().map(|title| title.chars().count());
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for line in std::iter::once(&titles).chain(lines) {
        let mut text = String::new();
        for ((cell, width), (_, left)) in line.iter().zip(widths).zip(columns) {
            let padded = if *left { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") };
            text.push_str(&padded);
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// A number a person can take in; a dash when it is not known.
pub(crate) fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), figure)
}

/// Five significant digits, two to eight of them behind the point: a yen future moves in the seventh.
pub(crate) fn figure(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    // Between 2 and 8 by the clamp.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let digits = (4.0 - magnitude).clamp(2.0, 8.0) as usize;
    format!("{value:.digits$}")
}

/// A length of time in its largest unit.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7_200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A time to the millisecond, which is what brokers give.
pub(crate) struct Millis(pub(crate) UnixNanos);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0.to_timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_what_matters() {
        for (value, text) in [
            (6616.474, "6616.47"),
            (233.1, "233.10"),
            (-0.462_14, "-0.46214"),
            (0.006_651_23, "0.0066512"),
            (0.0, "0.0000"),
            (-1e-12, "-0.00000000"),
        ] {
            assert_eq!(figure(value), text);
        }
        assert_eq!(shown(None), "-");
    }

    #[test]
    fn ages_have_one_unit() {
        for (seconds, text) in
            [(0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (172_799, "47h"), (172_800, "2d")]
        {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn cells_are_aligned() {
        let columns: [Column; 2] = [("name", true), ("n", false)];
        let mut out = Vec::new();
        write(&columns, &[["a".into(), "10".into()], ["δδδδδ".into(), "1".into()]], &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "name    n\na      10\nδδδδδ   1\n");
    }
}
