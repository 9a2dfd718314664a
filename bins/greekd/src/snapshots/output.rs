//! Rows as text. JSON and CSV hold every column under its name in `greek_snapshots`, and numbers that read back to the
//! same doubles; the table is for eyes.

use std::io::{self, Write};

use greeks_store::SnapshotRow;
use serde::Serialize;

use crate::table::{self, Column, Millis, shown};

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
    const COLUMNS: [Column; 13] = [
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
    table::write(&COLUMNS, &lines, out)?;
    if rows.is_empty() {
        writeln!(out, "(no rows)")?;
    }
    Ok(())
}

fn cells(row: &SnapshotRow) -> [String; 13] {
    [
        Millis(row.event_time).to_string(),
        row.broker.clone(),
        row.account_id.clone(),
        row.contract_key.clone(),
        row.quantity.to_string(),
        shown(row.delta),
        shown(row.gamma),
        shown(row.theta),
        shown(row.vega),
        shown(row.rho),
        shown(row.implied_volatility),
        shown(row.option_price),
        shown(row.underlying_price),
    ]
}
