//! Rows as text. JSON and CSV hold every column under its name in `greek_snapshots`, and numbers that read back to the
//! same doubles; the table is for eyes.

use std::io::{self, Write};

use greeks_store::SnapshotRow;
use serde::Serialize;

/// One row as an object; the order is that of the view's columns.
#[derive(Serialize)]
struct Object<'a> {
    event_time: String,
    received_at: String,
    persisted_at: String,
    broker: &'a str,
    account_id: &'a str,
    underlying: &'a str,
    contract_key: &'a str,
    expiration: String,
    strike: String,
    option_type: &'a str,
    quantity: f64,
    multiplier: String,
    delta: Option<f64>,
    gamma: Option<f64>,
    theta: Option<f64>,
    vega: Option<f64>,
    rho: Option<f64>,
    implied_volatility: Option<f64>,
    option_price: Option<f64>,
    underlying_price: Option<f64>,
    flags: u16,
    /// JSON in JSON output, the same text in CSV.
    source_payload: Option<&'a serde_json::value::RawValue>,
}

impl<'a> From<&'a SnapshotRow> for Object<'a> {
    fn from(row: &'a SnapshotRow) -> Self {
        Self {
            event_time: row.event_time.to_string(),
            received_at: row.received_at.to_string(),
            persisted_at: row.persisted_at.to_string(),
            broker: &row.broker,
            account_id: &row.account_id,
            underlying: &row.underlying,
            contract_key: &row.contract_key,
            expiration: row.expiration.to_string(),
            // Decimals as text: a JSON number would be read as a double.
            strike: row.strike.to_string(),
            option_type: &row.option_type,
            quantity: row.quantity,
            multiplier: row.multiplier.to_string(),
            delta: row.delta,
            gamma: row.gamma,
            theta: row.theta,
            vega: row.vega,
            rho: row.rho,
            implied_volatility: row.implied_volatility,
            option_price: row.option_price,
            underlying_price: row.underlying_price,
            flags: row.flags.bits(),
            source_payload: row.source_payload.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        }
    }
}

/// An array with one object a line.
pub(super) fn json(rows: &[SnapshotRow], out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"[")?;
    for (place, row) in rows.iter().enumerate() {
        out.write_all(if place == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &Object::from(row))?;
    }
    out.write_all(b"\n]\n")
}

/// A header and one line a row; unknown values are empty.
pub(super) fn csv(rows: &[SnapshotRow], out: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let io = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        // A record of another length than the header: impossible, since both are counted by the compiler.
        other => io::Error::other(format!("{other:?}")),
    };
    writer.write_record(COLUMNS).map_err(io)?;
    for row in rows {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let object = Object::from(row);
        let fields: [&str; COLUMNS.len()] = [
            object.event_time.as_str(),
            &object.received_at,
            &object.persisted_at,
            object.broker,
            object.account_id,
            object.underlying,
            object.contract_key,
            &object.expiration,
            &object.strike,
            object.option_type,
            &object.quantity.to_string(),
            &object.multiplier,
            &number(object.delta),
            &number(object.gamma),
            &number(object.theta),
            &number(object.vega),
            &number(object.rho),
            &number(object.implied_volatility),
            &number(object.option_price),
            &number(object.underlying_price),
            &object.flags.to_string(),
            row.source_payload.as_deref().unwrap_or_default(),
        ];
        writer.write_record(fields).map_err(io)?;
    }
    writer.flush()
}

const COLUMNS: [&str; 22] = [
    "event_time",
    "received_at",
    "persisted_at",
    "broker",
    "account_id",
    "underlying",
    "contract_key",
    "expiration",
    "strike",
    "option_type",
    "quantity",
    "multiplier",
    "delta",
    "gamma",
    "theta",
    "vega",
    "rho",
    "implied_volatility",
    "option_price",
    "underlying_price",
    "flags",
    "source_payload",
];

/// The columns a person looks at, aligned: text to the left, numbers to the right, unknown as a dash.
pub(super) fn table(rows: &[SnapshotRow], out: &mut impl Write) -> io::Result<()> {
    const HEADER: [(&str, bool); 13] = [
        ("event time", true),
        ("broker", true),
        ("account", true),
        ("contract", true),
        ("qty", false),
        ("delta", false),
        ("gamma", false),
        ("theta/d", false),
        ("vega/pt", false),
        ("rho/%", false),
        ("IV", false),
        ("price", false),
        ("underlying", false),
    ];
    let lines: Vec<[String; 13]> = rows.iter().map(cells).collect();
    let mut widths = HEADER.map(|(title, _)| title.chars().count());
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let titles = HEADER.map(|(title, _)| title.to_owned());
    for line in std::iter::once(&titles).chain(&lines) {
        let mut text = String::new();
        for ((cell, width), (_, left)) in line.iter().zip(widths).zip(HEADER) {
            let padded = if left { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") };
            text.push_str(&padded);
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    if rows.is_empty() {
        writeln!(out, "(no rows)")?;
    }
    Ok(())
}

fn cells(row: &SnapshotRow) -> [String; 13] {
    let show = |value: Option<f64>| value.map_or_else(|| "-".into(), figure);
    [
        Millis(row.event_time).to_string(),
        row.broker.clone(),
        row.account_id.clone(),
        row.contract_key.clone(),
        row.quantity.to_string(),
        show(row.delta),
        show(row.gamma),
        show(row.theta),
        show(row.vega),
        show(row.rho),
        show(row.implied_volatility),
        show(row.option_price),
        show(row.underlying_price),
    ]
}

/// Five significant digits, two to eight of them behind the point: a yen future moves in the seventh.
fn figure(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    // Between 2 and 8 by the clamp.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let digits = (4.0 - magnitude).clamp(2.0, 8.0) as usize;
    format!("{value:.digits$}")
}

/// A time to the millisecond, which is what brokers give.
struct Millis(greeks_model::UnixNanos);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    }
}
