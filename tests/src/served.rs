//! The server over a book that a test feeds by hand.

use std::sync::Arc;

use async_trait::async_trait;
use greeks_model::{
    AccountId, Clock, Contract, Decimal, GreekSnapshot, PositionsRecord, Record, Series, SessionState, SourceId,
    UnixNanos,
};
use greeks_processor::SystemClock;
use greeks_processor::book::{BookConfig, LiveBook};
use greeks_server::{
    Api, Control, ControlError, DatabaseDocument, DatabaseState, JournalDocument, LatencyDocument, MarketDocument,
    Server, ServerConfig, SourceDocument, SourceState, StatusDocument, StatusSource, Time,
};
use greeks_store::{DatabaseConfig, Queries};
use tokio::sync::{broadcast, oneshot};
use tokio::task::JoinHandle;

/// What runs; it ends when this is dropped. Its database is down: nothing listens on port 9 of this machine.
#[derive(Debug)]
pub struct Served {
    /// Such as `http://127.0.0.1:9850`.
    pub origin: String,
    /// What is served.
    pub book: Arc<LiveBook>,
    _stop: oneshot::Sender<()>,
    _serving: JoinHandle<()>,
}

impl Served {
    /// Serves an empty book with one broker, which is connected.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start() -> Self {
        let server = Server::bind(ServerConfig::new(([127, 0, 0, 1], 0).into())).await.expect("a port");
        let origin = format!("http://{}", server.address());
        let database = DatabaseConfig::parse("postgres://nobody@127.0.0.1:9/none?sslmode=disable").expect("an address");
        let book = Arc::new(LiveBook::new(BookConfig::default()));
        book.source_state(&source(), &SessionState::Connected, now());
        let api = Api {
            book: Arc::clone(&book),
            queries: Queries::new(&database, 1).expect("a pool"),
            status: Arc::new(Desk),
            control: Arc::new(Desk),
            alerts: broadcast::Sender::new(16),
            metrics: Arc::new(String::new),
            clock: Arc::new(SystemClock::new()),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.run(api, async { drop(stopped.await) }));
        Self { origin, book, _stop: stop, _serving: serving }
    }

    /// One position each of these.
    ///
    /// # Panics
    /// When an account has no name.
    pub fn hold(&self, account: &str, held: &[Arc<Series>]) {
        let positions = held.iter().map(|series| (Arc::clone(series), 1.0)).collect();
        let (source, account_id) = (source(), AccountId::new(account).expect("an account"));
        self.book.accept(&[Record::Positions(PositionsRecord { source, account_id, observed_at: now(), positions })]);
    }

    /// New Greeks for each of these, all moved by `by`.
    pub fn tick(&self, held: &[Arc<Series>], by: f64) {
        let rows: Vec<_> = held
            .iter()
            .map(|series| {
                let mut row = GreekSnapshot::new(Arc::clone(series), now(), now(), 1.0);
                (row.delta, row.gamma, row.theta, row.vega) = (Some(0.5 + by), Some(0.01), Some(-0.1 - by), Some(0.2));
                (row.underlying_price, row.option_price, row.implied_volatility) =
                    (Some(640.0), Some(12.5 + by), Some(0.25));
                Record::Snapshot(row)
            })
            .collect();
        self.book.accept(&rows);
    }
}

/// A line of `contract`, whose underlying is called `underlying`.
///
/// # Panics
/// When that is no contract.
pub fn series(account: &str, contract: &str, underlying: &str) -> Arc<Series> {
    Arc::new(Series {
        broker: source(),
        account_id: AccountId::new(account).expect("an account"),
        contract: contract.parse::<Contract>().expect("a contract"),
        underlying: underlying.into(),
        multiplier: Decimal::ONE_HUNDRED,
    })
}

fn source() -> SourceId {
    SourceId::new("one").expect("a name")
}

fn now() -> UnixNanos {
    SystemClock::new().now()
}

/// A status without news.
#[derive(Debug)]
struct Desk;

impl StatusSource for Desk {
    fn status(&self, now: UnixNanos) -> StatusDocument {
        let at = Some(Time(now));
        StatusDocument {
            version: "0".into(),
            simulated: true,
            as_of: Time(now),
            started_at: Time(now),
            sources: vec![SourceDocument {
                source: "one".into(),
                state: SourceState::Connected,
                reason: None,
                since: at,
                retry_at: None,
                wanted: true,
                last_heartbeat: at,
                last_message: at,
                reconnect_attempt: 0,
                subscriptions: 1,
                last_error: None,
            }],
            database: DatabaseDocument {
                state: DatabaseState::Retrying,
                last_error: Some("<b>refused</b>".into()),
                waiting_records: 0,
                durable: None,
                quarantined: 0,
            },
            journal: JournalDocument { bytes: 0, oldest_seconds: None, quota_share: 0.0, full: false },
            receive_to_durable: LatencyDocument::default(),
            gaps_open: 0,
            market: MarketDocument { state: "open".into(), until: None },
            alerts: Vec::new(),
        }
    }
}

#[async_trait]
impl Control for Desk {
    async fn start(&self, source: &SourceId) -> Result<(), ControlError> {
        Err(ControlError::UnknownSource { source_id: source.clone() })
    }

    async fn stop(&self, source: &SourceId) -> Result<(), ControlError> {
        self.start(source).await
    }
}
