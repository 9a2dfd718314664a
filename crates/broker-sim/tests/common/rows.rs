//! Reading rows as a client does: by the announced columns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{HashMap, HashSet};

use broker_sim::{LedgerEntry, TastySim};
use serde_json::Value;

use super::Raw;

/// One decoded row.
pub(crate) type Row = HashMap<String, Value>;

/// Decodes by the announced columns, and checks the shape.
#[derive(Default)]
pub(crate) struct Decoder {
    pub(crate) fields: HashMap<String, Vec<String>>,
}

impl Decoder {
    pub(crate) fn take(&mut self, message: &Value) -> Vec<Row> {
        match message["type"].as_str().unwrap() {
            "FEED_CONFIG" => {
                for (kind, names) in message["eventFields"].as_object().into_iter().flatten() {
                    self.fields.insert(kind.clone(), serde_json::from_value(names.clone()).unwrap());
                }
                Vec::new()
            }
            "FEED_DATA" => self.rows(message["data"].as_array().unwrap()),
            "KEEPALIVE" => Vec::new(),
            other => panic!("{other}: {message}"),
        }
    }

    fn rows(&self, data: &[Value]) -> Vec<Row> {
        if data.first().is_some_and(Value::is_object) {
            return data.iter().map(|row| row.as_object().unwrap().clone().into_iter().collect()).collect();
        }
        let mut rows = Vec::new();
        for pair in data.chunks(2) {
            let fields = self.fields.get(pair[0].as_str().unwrap()).expect("announced before its first data");
            let values = pair[1].as_array().unwrap();
            assert_eq!(values.len() % fields.len(), 0);
            assert!(!values.is_empty());
            for row in values.chunks(fields.len()) {
                rows.push(fields.iter().cloned().zip(row.iter().cloned()).collect());
            }
        }
        rows
    }
}

pub(crate) async fn read_until(
    raw: &mut Raw,
    decoder: &mut Decoder,
    mut enough: impl FnMut(&[Row]) -> bool,
) -> Vec<Row> {
    let mut rows = Vec::new();
    while !enough(&rows) {
        let message = raw.next().await.expect("open").expect("no close");
        rows.extend(decoder.take(&message));
    }
    rows
}

pub(crate) fn text<'a>(row: &'a Row, field: &str) -> &'a str {
    row[field].as_str().unwrap()
}

pub(crate) fn number(row: &Row, field: &str) -> f64 {
    match &row[field] {
        Value::String(word) => word.parse().unwrap(),
        value => value.as_f64().unwrap(),
    }
}

pub(crate) fn same(row: &Row, entry: &LedgerEntry) -> bool {
    let v = entry.values;
    let figures = [
        ("price", v.price),
        ("volatility", v.volatility),
        ("delta", v.delta),
        ("gamma", v.gamma),
        ("theta", v.theta),
        ("rho", v.rho),
        ("vega", v.vega),
    ];
    text(row, "eventSymbol") == &*entry.symbol
        && row["time"].as_i64() == Some(entry.stamp.time)
        && row["sequence"].as_u64() == Some(u64::from(entry.stamp.sequence))
        && row["index"].as_i64() == Some(entry.stamp.index())
        && figures.iter().all(|(name, value)| number(row, name).to_bits() == value.to_bits())
}

pub(crate) fn options(sim: &TastySim) -> Vec<String> {
    let set: HashSet<String> = sim
        .positions()
        .iter()
        .filter(|position| position.is_open_option())
        .map(|position| position.listing().unwrap().streamer_symbol.clone())
        .collect();
    set.into_iter().collect()
}

pub(crate) async fn subscribe_all(raw: &mut Raw, sim: &TastySim) -> usize {
    let symbols = options(sim);
    raw.subscribe("Greeks", &symbols.iter().map(String::as_str).collect::<Vec<_>>()).await;
    symbols.len()
}

pub(crate) fn greeks(rows: &[Row]) -> Vec<&Row> {
    rows.iter().filter(|row| text(row, "eventType") == "Greeks").collect()
}
