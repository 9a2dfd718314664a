//! greekd connected to the double of a Client Portal gateway, and what its database must hold then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use broker_sim::{IbkrEntry, IbkrPosition, IbkrSim, IbkrUnderlying};
use greeks_model::Flags;
use greeks_store::tokio_postgres::Client;

use crate::cluster::Database;
use crate::daemon::{Daemon, tail};
use crate::expected::Line;
use crate::tasty::PATIENCE;
use crate::wait::until;

/// What a run of greekd needs in its environment to use the double.
pub fn environment(sim: &IbkrSim) -> Vec<(&'static str, String)> {
    let mut environment = vec![("IBKR_GATEWAY_URL", sim.gateway_url())];
    if let Some(fingerprint) = sim.fingerprint() {
        environment.push(("IBKR_TLS", format!("sha256:{fingerprint}")));
    }
    environment
}

/// `greekd run` with the double as its only broker.
pub fn daemon(sim: &IbkrSim, database: &Database) -> Daemon {
    Daemon::run_with(database, &environment(sim))
}

/// What is stored of a frame, in the order delta, gamma, theta, vega, rho, volatility, price.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `event_time` in milliseconds.
    pub millis: i64,
    /// The bits of each value. `None` where the gateway never sent the field: what stands there was computed, if anything.
    pub values: [Option<Option<u64>>; 7],
    /// The bits of the underlying's price.
    pub underlying: Option<u64>,
    /// Contracts held.
    pub quantity: f64,
    /// Delayed and frozen.
    pub flags: u16,
}

const JUDGED: u16 = Flags::DELAYED.bits() | Flags::FROZEN.bits();

/// The rows that follow from what was sent, in order, per line.
pub fn from_ledger(entries: &[IbkrEntry], positions: &[IbkrPosition]) -> BTreeMap<Line, Vec<Row>> {
    let mut holders: HashMap<i64, Vec<(Line, f64)>> = HashMap::new();
    for position in positions.iter().filter(|position| position.is_open_option()) {
        let Some(contract) = position.contract() else { continue };
        let line = (position.account.clone(), contract.to_string());
        holders.entry(position.conid).or_default().push((line, position.quantity as f64));
    }
    let mut rows: BTreeMap<Line, Vec<Row>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.known) {
        let state = &entry.state;
        let sent = [state.delta, state.gamma, state.theta, state.vega, None, state.volatility, state.mark];
        let availability = entry.availability.as_deref().and_then(|text| text.chars().next());
        let flag = |letters: &str, flag: Flags| {
            if availability.is_some_and(|letter| letters.contains(letter)) { flag.bits() } else { 0 }
        };
        for (line, quantity) in holders.get(&entry.conid).into_iter().flatten() {
            let row = Row {
                millis: entry.updated,
                values: sent.map(|value| value.map(bits)),
                underlying: price(&entry.underlying, entry.contract.starts_with('/')).map(f64::to_bits),
                quantity: *quantity,
                flags: flag("DY", Flags::DELAYED) | flag("ZY", Flags::FROZEN),
            };
            let stored = rows.entry(line.clone()).or_default();
            // The price of the underlying is not part of what makes a repetition.
            if stored.last().is_none_or(|last| (last.millis, last.values) != (row.millis, row.values)) {
                stored.push(row);
            }
        }
    }
    rows
}

/// NaN was sent as unknown; a zero has no sign.
fn bits(value: f64) -> Option<u64> {
    (!value.is_nan()).then(|| (value + 0.0).to_bits())
}

fn price(underlying: &IbkrUnderlying, of_a_future: bool) -> Option<f64> {
    let usable = |price: &f64| price.is_finite() && (of_a_future || *price > 0.0);
    let middle = || Some(f64::midpoint(underlying.bid.filter(usable)?, underlying.ask.filter(usable)?));
    underlying.last.filter(usable).or_else(middle)
}

/// What the database holds of this broker, in the order it was received, per line; computed values left out.
///
/// # Panics
/// When the query fails.
pub async fn from_database(client: &Client) -> BTreeMap<Line, Vec<Row>> {
    let sql = "SELECT s.account_id, s.contract_key, (extract(epoch FROM t.event_time) * 1000)::bigint,
                      t.delta, t.gamma, t.theta, t.vega, t.rho, t.implied_volatility, t.option_price,
                      t.underlying_price, t.quantity, t.flags
                 FROM greek_ticks t JOIN series s USING (series_id) WHERE s.broker = 'ibkr' ORDER BY t.seq";
    let mut rows: BTreeMap<Line, Vec<Row>> = BTreeMap::new();
    for row in client.query(sql, &[]).await.expect("the rows") {
        let value = |at: usize| row.get::<_, Option<f64>>(at).and_then(bits);
        let flags = Flags::from_bits(u16::try_from(row.get::<_, i16>(12)).expect("flags"));
        rows.entry((row.get(0), row.get(1))).or_default().push(Row {
            millis: row.get(2),
            // Which of them were computed is known from what was sent.
            values: std::array::from_fn(|at| Some(value(at + 3))),
            underlying: value(10),
            quantity: row.get(11),
            flags: flags.bits(),
        });
    }
    rows
}

/// Where what is stored differs first from what follows from the ledger; `None` when nowhere. A field that the gateway
/// never sent may hold a computed value, if the row says so.
pub fn difference(expected: &BTreeMap<Line, Vec<Row>>, stored: &BTreeMap<Line, Vec<Row>>) -> Option<String> {
    let empty = Vec::new();
    for line in expected.keys().chain(stored.keys()) {
        let (want, have) = (expected.get(line).unwrap_or(&empty), stored.get(line).unwrap_or(&empty));
        let at = want.iter().zip(have).take_while(|(want, have)| is_that(want, have)).count();
        if at == want.len() && at == have.len() {
            continue;
        }
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

fn is_that(want: &Row, have: &Row) -> bool {
    let computed = Flags::from_bits(have.flags).contains(Flags::COMPUTED);
    let values = want.values.iter().zip(have.values.iter()).enumerate().all(|(at, (want, have))| match want {
        Some(_) => want == have,
        // Only Greeks are computed.
        None => *have == Some(None) || computed && at < 5,
    });
    let rest = |row: &Row| (row.millis, row.underlying, row.quantity.to_bits(), row.flags & JUDGED);
    values && rest(want) == rest(have)
}

/// Ends the stream such that all that was sent has been received: stops the market, closes the sockets, and lets no other
/// come. What the ledger holds then is final.
///
/// # Panics
/// When the connections do not end.
pub async fn settle(sim: &IbkrSim) {
    let control = sim.control();
    control.pause().await.expect("the market stops");
    control.maintenance(true);
    sim.wait_until(PATIENCE, |stats| stats.open == 0).await.expect("the sockets are closed");
}

/// Waits for the rows that follow from what was sent, to those who hold `positions`, stops the daemon, and compares bit
/// for bit. Returns how many rows there are.
///
/// # Panics
/// When anything is missing, doubled or different, or the client broke a rule.
pub async fn stop_and_compare(sim: &IbkrSim, positions: &[IbkrPosition], database: &Database, daemon: Daemon) -> usize {
    settle(sim).await;
    let ledger = sim.ledger().snapshot();
    assert_eq!(ledger.overflowed, 0);
    let wanted = from_ledger(&ledger.entries, positions);
    let count = wanted.values().map(Vec::len).sum::<usize>();
    until("every row is stored", PATIENCE, async || (rows(database).await >= count).then_some(())).await;
    let ended = daemon.stop().await;
    assert!(ended.status.success(), "{:?}\n{}", ended.status, tail(&ended.stderr));
    let stored = from_database(&database.client).await;
    assert_eq!(difference(&wanted, &stored), None, "\n{}", tail(&ended.stderr));
    assert_eq!(sim.violations(), []);
    count
}

/// Rows of this broker; none before the schema is there.
pub async fn rows(database: &Database) -> usize {
    let sql = "SELECT count(*) FROM greek_ticks JOIN series USING (series_id) WHERE broker = 'ibkr'";
    let count = database.client.query_one(sql, &[]).await;
    count.map_or(0, |row| usize::try_from(row.get::<_, i64>(0)).expect("a count"))
}

/// Contracts of options that somebody holds.
pub fn options(sim: &IbkrSim) -> u64 {
    let open = sim.positions().into_iter().filter(|position| position.is_open_option());
    open.map(|position| position.conid).collect::<BTreeSet<_>>().len() as u64
}

/// All that a client has to subscribe: the options of `positions`, and what they are written on.
pub fn contracts(positions: &[IbkrPosition]) -> u64 {
    let open = positions.iter().filter(|position| position.is_open_option());
    open.flat_map(|position| [Some(position.conid), position.underlying_conid]).flatten().collect::<BTreeSet<_>>().len()
        as u64
}

/// Waits until so many options stream.
///
/// # Panics
/// When they do not; with the log.
pub async fn streams(sim: &IbkrSim, daemon: &Daemon, options: u64) {
    let all = sim.wait_until(PATIENCE, move |stats| stats.streaming == options).await;
    all.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", sim.stats(), tail(&daemon.stderr())));
}

/// Requests so far whose path has this part.
pub fn asked(sim: &IbkrSim, part: &str) -> usize {
    sim.requests().iter().filter(|line| line.path.contains(part)).count()
}

/// Lines of the log with these words.
pub fn said(daemon: &Daemon, words: &str) -> usize {
    daemon.stderr().iter().filter(|line| line.contains(words)).count()
}

/// Waits until the log has these words.
///
/// # Panics
/// When it does not get them; with the log.
pub async fn says(daemon: &Daemon, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    while said(daemon, words) == 0 {
        assert!(Instant::now() < deadline, "the log has no {words:?}:\n{}", daemon.stderr().join("\n"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Gaps noted for this reason: their length in milliseconds, `None` while they last, and how many rows were received
/// in their midst.
///
/// # Panics
/// When the query fails.
pub async fn gaps(database: &Database, reason: &str) -> Vec<(Option<i64>, i64)> {
    let sql = "SELECT (extract(epoch FROM gap_to - gap_from) * 1000)::bigint,
                      (SELECT count(*) FROM greek_ticks JOIN series USING (series_id)
                        WHERE broker = 'ibkr' AND received_at > gap_from AND received_at < gap_to)
                 FROM ingest_gaps WHERE source = 'ibkr' AND kind = 'gap' AND reason = $1 ORDER BY gap_from";
    let rows = database.client.query(sql, &[&reason]).await.expect("the gaps");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The quantity in the newest row, and when that was received.
///
/// # Panics
/// When the query fails.
pub async fn newest_row(database: &Database, account: &str, contract: &str) -> (Option<f64>, Option<jiff::Timestamp>) {
    let sql = "SELECT quantity, received_at FROM greek_snapshots WHERE account_id = $1 AND contract_key = $2
               ORDER BY received_at DESC LIMIT 1";
    let row = database.client.query_opt(sql, &[&account, &contract]).await.expect("the rows");
    row.map_or((None, None), |row| (row.get(0), row.get(1)))
}

/// Series with rows received after that.
///
/// # Panics
/// When the query fails.
pub async fn series_after(database: &Database, after: jiff::Timestamp) -> usize {
    let sql = "SELECT count(DISTINCT series_id) FROM greek_ticks WHERE received_at > $1";
    usize::try_from(database.client.query_one(sql, &[&after]).await.expect("the rows").get::<_, i64>(0))
        .expect("a count")
}

/// Every position that was ever told to be closed.
///
/// # Panics
/// When the query fails.
pub async fn told_closed(database: &Database) -> Vec<Line> {
    let sql = "SELECT account_id, contract_key FROM positions_history WHERE quantity = 0 ORDER BY 1, 2";
    database.client.query(sql, &[]).await.expect("the rows").iter().map(|row| (row.get(0), row.get(1))).collect()
}
