//! A contract that is held at both brokers: what follows from what the two doubles sent, and what the database says.

use std::collections::BTreeMap;

use broker_sim::{IbkrEntry, IbkrPosition, LedgerEntry, SimPosition};

use crate::cluster::Database;

/// What two brokers say of a contract, IBKR first.
#[derive(Clone, Debug, PartialEq)]
pub struct Both {
    /// `event_time` of the newest row in milliseconds.
    pub times: [i64; 2],
    /// Contracts over all accounts.
    pub quantities: [f64; 2],
    /// IBKR's less the other's.
    pub delta: Option<f64>,
    /// IBKR's less the other's.
    pub volatility: Option<f64>,
}

/// By `contract_key`.
pub type ByContract = BTreeMap<String, Both>;

/// What follows from what both sent last, for all that is held at both.
///
/// # Panics
/// When a contract that is held was never sent.
pub fn from_ledgers(
    (ibkr, held_there): (&[IbkrEntry], &[IbkrPosition]),
    (tastytrade, held_here): (&[LedgerEntry], &[SimPosition]),
) -> ByContract {
    let mut ours: BTreeMap<String, f64> = BTreeMap::new();
    for row in held_there.iter().filter(|row| row.is_open_option()) {
        let Some(contract) = row.contract() else { continue };
        *ours.entry(contract.to_string()).or_default() += row.quantity as f64;
    }
    let mut theirs: BTreeMap<String, (&str, f64)> = BTreeMap::new();
    for row in held_here.iter().filter(|row| row.is_open_option()) {
        let Some(listing) = row.listing() else { continue };
        let held = theirs.entry(listing.contract.to_string()).or_insert((&listing.streamer_symbol, 0.0));
        held.1 += row.quantity as f64;
    }
    let known = |value: f64| (!value.is_nan()).then_some(value);
    let less = |a: Option<f64>, b: Option<f64>| Some(a? - b?);
    let compare = |(key, quantity): (String, f64)| {
        let (symbol, other) = theirs.get(&key)?;
        let a = ibkr.iter().filter(|entry| *entry.contract == *key).max_by_key(|entry| entry.updated);
        let b = tastytrade.iter().filter(|entry| *entry.symbol == **symbol).max_by_key(|entry| entry.stamp.time);
        let (a, b) = (a.expect("sent by IBKR"), b.expect("sent by tastytrade"));
        let both = Both {
            times: [a.updated, b.stamp.time],
            quantities: [quantity, *other],
            delta: less(a.state.delta.and_then(known), known(b.values.delta)),
            volatility: less(a.state.volatility.and_then(known), known(b.values.volatility)),
        };
        Some((key, both))
    };
    ours.into_iter().filter_map(compare).collect()
}

/// What `v_cross_broker` says; a time that is not known is 0.
///
/// # Panics
/// When the query fails.
pub async fn from_database(database: &Database) -> ByContract {
    let sql = "SELECT contract_key,
                      coalesce(extract(epoch FROM event_time_a) * 1000, 0)::bigint,
                      coalesce(extract(epoch FROM event_time_b) * 1000, 0)::bigint,
                      quantity_a, quantity_b, delta_difference, implied_volatility_difference
                 FROM v_cross_broker WHERE broker_a = 'ibkr' AND broker_b = 'tastytrade'";
    let rows = database.client.query(sql, &[]).await.expect("the contracts");
    let both = |row: &greeks_store::tokio_postgres::Row| Both {
        times: [row.get(1), row.get(2)],
        quantities: [row.get(3), row.get(4)],
        delta: row.get(5),
        volatility: row.get(6),
    };
    rows.iter().map(|row| (row.get(0), both(row))).collect()
}
