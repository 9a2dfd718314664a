//! greekd connected to the double of tastytrade.

use std::time::Duration;

use broker_sim::{Disconnect, SimPosition, TastySim};

use crate::cluster::Database;
use crate::daemon::{Daemon, tail};
use crate::expected;
use crate::wait::until;

/// For the daemon to start and for what was sent to arrive; generous, since machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a run of greekd needs in its environment to use the double.
pub fn environment(sim: &TastySim) -> Vec<(&'static str, String)> {
    let credentials = sim.credentials();
    vec![
        ("TASTYTRADE_API_URL", sim.api_url()),
        ("TASTYTRADE_STREAMER_URL", sim.streamer_url()),
        ("TASTYTRADE_REFRESH_TOKEN", credentials.refresh_token),
        ("TASTYTRADE_CLIENT_SECRET", credentials.client_secret),
    ]
}

/// `greekd run` with the double as its only broker.
pub fn daemon(sim: &TastySim, database: &Database) -> Daemon {
    Daemon::run_with(database, &environment(sim))
}

/// Rows of this broker; none before the schema is there.
pub async fn rows(database: &Database) -> i64 {
    let sql = "SELECT count(*) FROM greek_ticks JOIN series USING (series_id) WHERE broker = 'tastytrade'";
    let count = database.client.query_one(sql, &[]).await;
    count.map_or(0, |row| row.get(0))
}

/// Gaps noted for this reason.
///
/// # Panics
/// When the query fails.
pub async fn gaps(database: &Database, reason: &str) -> i64 {
    let sql = "SELECT count(*) FROM ingest_gaps WHERE source = 'tastytrade' AND kind = 'gap' AND reason = $1";
    database.client.query_one(sql, &[&reason]).await.expect("the gaps").get(0)
}

/// Ends the stream such that all that was sent has been received: stops the market, lets the connection flush and close,
/// and accepts no other. What the ledger holds then is final.
///
/// # Panics
/// When the connection does not end.
pub async fn settle(sim: &TastySim) {
    let control = sim.control();
    control.pause().await.expect("the market stops");
    control.refuse_connections(true);
    control.disconnect_all(Disconnect::Orderly).await.expect("the connection ends");
}

/// Waits until as many rows are stored as follow from what was sent. The market has to be paused.
///
/// # Panics
/// When they are not.
pub async fn all_stored(sim: &TastySim, positions: &[SimPosition], database: &Database) {
    // What waits in the double for its aggregation period is sent a moment after the pause.
    until("every row is stored", PATIENCE, async || {
        let wanted = expected::from_ledger(&sim.ledger().snapshot().entries, positions);
        let wanted = wanted.values().map(Vec::len).sum::<usize>();
        usize::try_from(rows(database).await).is_ok_and(|stored| stored >= wanted).then_some(())
    })
    .await;
}

/// Waits for the rows that follow from what was sent, to those who hold `positions`, stops the daemon, and compares bit
/// for bit. The market has to be paused. Returns how many rows there are.
///
/// # Panics
/// When anything is missing, doubled or different, or the client broke a rule.
pub async fn stop_and_compare(sim: &TastySim, positions: &[SimPosition], database: &Database, daemon: Daemon) -> usize {
    settle(sim).await;
    all_stored(sim, positions, database).await;
    let ended = daemon.stop().await;
    assert!(ended.status.success(), "{:?}\n{}", ended.status, tail(&ended.stderr));
    let ledger = sim.ledger().snapshot();
    assert_eq!(ledger.overflowed, 0);
    let wanted = expected::from_ledger(&ledger.entries, positions);
    let stored = expected::from_database(&database.client).await;
    assert_eq!(expected::difference(&wanted, &stored), None, "\n{}", tail(&ended.stderr));
    assert_eq!(sim.violations(), []);
    assert_eq!(sim.unknown_symbols(), Vec::<String>::new());
    stored.values().map(Vec::len).sum()
}
