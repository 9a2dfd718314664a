//! What the database must hold, worked out from what the double sent: an independent statement of the rules.

use std::collections::{BTreeMap, HashMap, HashSet};

use broker_sim::{GreekValues, LedgerEntry, SimPosition};
use greeks_store::tokio_postgres::Client;

/// An account and a contract.
pub type Line = (String, String);

/// One row: milliseconds of `event_time`, then the bits of delta, gamma, theta, vega, rho, volatility, price.
pub type Row = (i64, [Option<u64>; 7]);

/// The rows that follow from what was sent, in order, per line: from the first known Greek of a connection on, NULL for
/// NaN, without a repetition of the line's last row, once for each account that holds the contract.
pub fn from_ledger(entries: &[LedgerEntry], positions: &[SimPosition]) -> BTreeMap<Line, Vec<Row>> {
    let mut holders: HashMap<String, Vec<Line>> = HashMap::new();
    for position in positions.iter().filter(|position| position.is_open_option()) {
        let Some(listing) = position.listing() else { continue };
        let line = (position.account.clone(), listing.contract.to_string());
        holders.entry(listing.streamer_symbol.clone()).or_default().push(line);
    }
    let strip = |(line, rows): (Line, Vec<(usize, Row)>)| (line, rows.into_iter().map(|(_, row)| row).collect());
    from_entries(entries, &holders).into_iter().map(strip).collect()
}

/// The same for holders by streamer symbol, each row with the place of its entry.
pub fn from_entries(
    entries: &[LedgerEntry],
    holders: &HashMap<String, Vec<Line>>,
) -> BTreeMap<Line, Vec<(usize, Row)>> {
    let mut known = HashSet::new();
    let mut rows: BTreeMap<Line, Vec<(usize, Row)>> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let values = &entry.values;
        if [values.delta, values.gamma, values.theta, values.vega, values.rho].iter().any(|greek| !greek.is_nan()) {
            known.insert((entry.connection, &entry.symbol));
        }
        if !known.contains(&(entry.connection, &entry.symbol)) {
            continue;
        }
        let row = (entry.stamp.time, bits(values));
        for line in holders.get(&*entry.symbol).into_iter().flatten() {
            let stored = rows.entry(line.clone()).or_default();
            if stored.last().map(|(_, last)| last) != Some(&row) {
                stored.push((at, row));
            }
        }
    }
    rows
}

fn bits(values: &GreekValues) -> [Option<u64>; 7] {
    let GreekValues { price, volatility, delta, gamma, theta, rho, vega } = *values;
    [delta, gamma, theta, vega, rho, volatility, price].map(|value| (!value.is_nan()).then(|| value.to_bits()))
}

/// What the database holds of this broker, in the order it was received, per line.
///
/// # Panics
/// When the query fails.
pub async fn from_database(client: &Client) -> BTreeMap<Line, Vec<Row>> {
    let sql = "SELECT s.account_id, s.contract_key, (extract(epoch FROM t.event_time) * 1000)::bigint,
                      t.delta, t.gamma, t.theta, t.vega, t.rho, t.implied_volatility, t.option_price
                 FROM greek_ticks t JOIN series s USING (series_id) WHERE s.broker = 'tastytrade' ORDER BY t.seq";
    let mut rows: BTreeMap<Line, Vec<Row>> = BTreeMap::new();
    for row in client.query(sql, &[]).await.expect("the rows") {
        let values = std::array::from_fn(|at| row.get::<_, Option<f64>>(at + 3).map(f64::to_bits));
        rows.entry((row.get(0), row.get(1))).or_default().push((row.get(2), values));
    }
    rows
}

/// Where two sets of rows differ first, for messages; `None` when they are the same.
pub fn difference(expected: &BTreeMap<Line, Vec<Row>>, stored: &BTreeMap<Line, Vec<Row>>) -> Option<String> {
    let empty = Vec::new();
    for line in expected.keys().chain(stored.keys()) {
        let (want, have) = (expected.get(line).unwrap_or(&empty), stored.get(line).unwrap_or(&empty));
        if want == have {
            continue;
        }
        let at = want.iter().zip(have).take_while(|(want, have)| want == have).count();
        return Some(format!(
            "{line:?}: {} rows expected, {} stored; the first difference is at {at}: expected {:?}, stored {:?}",
            want.len(),
            have.len(),
            want.get(at),
            have.get(at)
        ));
    }
    None
}
