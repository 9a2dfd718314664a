//! Positions as text. JSON and CSV hold the columns of `v_positions` under their names, all but `persisted_at`, and numbers
//! that read back to the same doubles; the table is for eyes.

use std::io::{self, Write};

use greeks_store::{LatestValues, PositionRow};
use serde::Serialize;

use super::compare::{Difference, Group, groups};
use crate::table::{self, Column, shown};

/// One position; its fields are the columns of the CSV.
#[derive(Serialize)]
struct Object<'a> {
    broker: &'a str,
    account_id: &'a str,
    underlying: &'a str,
    contract_key: &'a str,
    expiration: String,
    // Decimals as text: a JSON number would be read as a double.
    strike: String,
    option_type: &'a str,
    quantity: f64,
    multiplier: String,
    quantity_since: String,
    event_time: Option<String>,
    received_at: Option<String>,
    age_seconds: Option<f64>,
    delta: Option<f64>,
    gamma: Option<f64>,
    theta: Option<f64>,
    vega: Option<f64>,
    rho: Option<f64>,
    implied_volatility: Option<f64>,
    option_price: Option<f64>,
    underlying_price: Option<f64>,
    flags: Option<u16>,
    /// Who else holds the contract: the next broker by name, the first after the last.
    other_broker: Option<&'a str>,
    /// This position's less the newest of the other broker.
    delta_difference: Option<f64>,
    implied_volatility_difference: Option<f64>,
}

const COLUMNS: [&str; 25] = [
    "broker",
    "account_id",
    "underlying",
    "contract_key",
    "expiration",
    "strike",
    "option_type",
    "quantity",
    "multiplier",
    "quantity_since",
    "event_time",
    "received_at",
    "age_seconds",
    "delta",
    "gamma",
    "theta",
    "vega",
    "rho",
    "implied_volatility",
    "option_price",
    "underlying_price",
    "flags",
    "other_broker",
    "delta_difference",
    "implied_volatility_difference",
];

impl<'a> Object<'a> {
    fn new(row: &'a PositionRow, group: &Group<'a>) -> Self {
        let latest = row.latest.as_ref();
        let value = |of: fn(&LatestValues) -> Option<f64>| latest.and_then(of);
        let difference = group.against_next(row);
        Self {
            broker: &row.broker,
            account_id: &row.account_id,
            underlying: &row.underlying,
            contract_key: &row.contract_key,
            expiration: row.expiration.to_string(),
            strike: row.strike.to_string(),
            option_type: &row.option_type,
            quantity: row.quantity,
            multiplier: row.multiplier.to_string(),
            quantity_since: row.quantity_since.to_string(),
            event_time: latest.map(|latest| latest.event_time.to_string()),
            received_at: latest.map(|latest| latest.received_at.to_string()),
            age_seconds: latest.map(|latest| latest.age.as_secs_f64()),
            delta: value(|latest| latest.delta),
            gamma: value(|latest| latest.gamma),
            theta: value(|latest| latest.theta),
            vega: value(|latest| latest.vega),
            rho: value(|latest| latest.rho),
            implied_volatility: value(|latest| latest.implied_volatility),
            option_price: value(|latest| latest.option_price),
            underlying_price: value(|latest| latest.underlying_price),
            flags: latest.map(|latest| latest.flags.bits()),
            other_broker: difference.map(|difference| difference.from),
            delta_difference: difference.and_then(|difference| difference.delta),
            implied_volatility_difference: difference.and_then(|difference| difference.implied_volatility),
        }
    }
}

fn objects(rows: &[PositionRow]) -> impl Iterator<Item = Object<'_>> {
    groups(rows).flat_map(|group| group.positions.iter().map(|row| Object::new(row, &group)).collect::<Vec<_>>())
}

/// An array with one object a line.
pub(super) fn json(rows: &[PositionRow], out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"[")?;
    for (place, object) in objects(rows).enumerate() {
        out.write_all(if place == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &object)?;
    }
    out.write_all(b"\n]\n")
}

/// A header, though there be no position, and one line a position; unknown values are empty.
pub(super) fn csv(rows: &[PositionRow], out: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    let io = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        // A record of another length than the header: a test holds both together.
        other => io::Error::other(format!("{other:?}")),
    };
    writer.write_record(COLUMNS).map_err(io)?;
    for object in objects(rows) {
        writer.serialize(object).map_err(io)?;
    }
    writer.flush()
}

/// The columns a person looks at; below a contract that two brokers hold, how far they differ.
pub(super) fn table(rows: &[PositionRow], out: &mut impl Write) -> io::Result<()> {
    const TITLES: [Column; 14] = [
        ("contract", true),
        ("broker", true),
        ("account", true),
        ("qty", false),
        ("delta", false),
        ("gamma", false),
        ("theta/d", false),
        ("vega/pt", false),
        ("rho/%", false),
        ("IV", false),
        ("price", false),
        ("underlying", false),
        ("age", false),
        ("flags", true),
    ];
    let mut lines = Vec::new();
    for group in groups(rows) {
        lines.extend(group.positions.iter().map(cells));
        lines.extend(group.pairs().map(|difference| difference_cells(&difference)));
    }
    table::write(&TITLES, &lines, out)?;
    if rows.is_empty() {
        writeln!(out, "(no positions)")?;
    }
    Ok(())
}

fn cells(row: &PositionRow) -> [String; 14] {
    let latest = row.latest.as_ref();
    let show = |of: fn(&LatestValues) -> Option<f64>| shown(latest.and_then(of));
    [
        row.contract_key.clone(),
        row.broker.clone(),
        row.account_id.clone(),
        row.quantity.to_string(),
        show(|latest| latest.delta),
        show(|latest| latest.gamma),
        show(|latest| latest.theta),
        show(|latest| latest.vega),
        show(|latest| latest.rho),
        show(|latest| latest.implied_volatility),
        show(|latest| latest.option_price),
        show(|latest| latest.underlying_price),
        latest.map_or_else(|| "-".into(), |latest| table::age(latest.age)),
        latest.map(|latest| latest.flags.to_string()).unwrap_or_default(),
    ]
}

fn difference_cells(difference: &Difference<'_>) -> [String; 14] {
    let signed = |value: Option<f64>| match value {
        Some(value) if value > 0.0 => format!("+{}", table::figure(value)),
        other => shown(other),
    };
    let mut cells = [const { String::new() }; 14];
    let [contract, _, _, _, delta, _, _, _, _, implied_volatility, ..] = &mut cells;
    *contract = format!("  {} - {}", difference.of, difference.from);
    *delta = signed(difference.delta);
    *implied_volatility = signed(difference.implied_volatility);
    cells
}
