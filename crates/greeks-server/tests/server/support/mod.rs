//! A server over a book fed by hand, and a client that shows every byte.
#![allow(unreachable_pub)]

pub mod book;
pub mod sse;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use greeks_model::{Clock, SourceId, UnixNanos};
use greeks_processor::book::LiveBook;
use greeks_server::{
    Api, Control, ControlError, DatabaseDocument, DatabaseState, DurableMark, JournalDocument, LatencyDocument,
    MarketDocument, Server, ServerConfig, SourceDocument, SourceState, StatusDocument, StatusSource, Time,
};
use greeks_store::{DatabaseConfig, Queries};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// 2026-11-20T15:00:00Z.
pub const NOW: UnixNanos = UnixNanos::from_millis(1_795_186_800_000);

/// For whatever should happen at once.
pub const SOON: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Noon;

impl Clock for Noon {
    fn now(&self) -> UnixNanos {
        NOW
    }
}

/// Sources that can be started and stopped, and a status that a test can set.
pub struct Desk {
    pub document: Mutex<StatusDocument>,
}

impl StatusSource for Desk {
    fn status(&self, _: UnixNanos) -> StatusDocument {
        self.document.lock().unwrap().clone()
    }
}

impl Desk {
    pub fn set(&self, change: impl FnOnce(&mut StatusDocument)) {
        change(&mut self.document.lock().unwrap());
    }

    fn turn(&self, source: &SourceId, wanted: bool) -> Result<(), ControlError> {
        let mut document = self.document.lock().unwrap();
        let found = document.sources.iter_mut().find(|known| known.source == source.as_str());
        let known = found.ok_or_else(|| ControlError::UnknownSource { source_id: source.clone() })?;
        if known.subscriptions == 13 {
            return Err(ControlError::Refused { reason: "the source is being replaced".into() });
        }
        known.wanted = wanted;
        known.state = if wanted { SourceState::Connecting } else { SourceState::Disconnected };
        Ok(())
    }
}

#[async_trait]
impl Control for Desk {
    async fn start(&self, source: &SourceId) -> Result<(), ControlError> {
        self.turn(source, true)
    }

    async fn stop(&self, source: &SourceId) -> Result<(), ControlError> {
        self.turn(source, false)
    }
}

pub fn source(name: &str) -> SourceDocument {
    SourceDocument {
        source: name.into(),
        state: SourceState::Connected,
        reason: None,
        since: Some(Time(NOW)),
        retry_at: None,
        wanted: true,
        last_heartbeat: Some(Time(NOW)),
        last_message: Some(Time(UnixNanos::from_nanos(NOW.as_nanos() - 1))),
        reconnect_attempt: 0,
        subscriptions: 7,
        last_error: None,
    }
}

fn document() -> StatusDocument {
    StatusDocument {
        version: "1.2.3".into(),
        simulated: true,
        as_of: Time(NOW),
        started_at: Time(NOW),
        sources: vec![source("one"), source("two")],
        database: DatabaseDocument {
            state: DatabaseState::Connected,
            last_error: None,
            waiting_records: 3,
            durable: Some(DurableMark { seq: 41, at: Some(Time(NOW)) }),
            quarantined: 0,
        },
        journal: JournalDocument { bytes: 4_096, oldest_seconds: Some(0.5), quota_share: 0.25, full: false },
        receive_to_durable: LatencyDocument { count: 9, p50: Some(0.001), p95: Some(0.002), p99: None },
        gaps_open: 0,
        market: MarketDocument { state: "open".into(), until: None },
        alerts: Vec::new(),
    }
}

pub struct Running {
    pub address: SocketAddr,
    pub book: Arc<LiveBook>,
    pub desk: Arc<Desk>,
    pub alerts: broadcast::Sender<greeks_server::Alert>,
    pub serving: JoinHandle<()>,
    pub stop: Option<oneshot::Sender<()>>,
}

/// The database is down: nothing listens on port 9 of this machine.
pub fn no_database() -> Queries {
    Queries::new(&DatabaseConfig::parse("postgres://nobody@127.0.0.1:9/none?sslmode=disable").unwrap(), 2).unwrap()
}

pub fn config() -> ServerConfig {
    ServerConfig::new("127.0.0.1:0".parse().unwrap())
}

pub async fn start(config: ServerConfig, book: LiveBook, queries: Queries) -> Running {
    let server = Server::bind(config).await.unwrap();
    let (book, desk) = (Arc::new(book), Arc::new(Desk { document: Mutex::new(document()) }));
    let alerts = broadcast::Sender::new(16);
    let api = Api {
        book: Arc::clone(&book),
        queries,
        status: Arc::<Desk>::clone(&desk),
        control: Arc::<Desk>::clone(&desk),
        alerts: alerts.clone(),
        metrics: Arc::new(|| "# TYPE greekd_rows_written_total counter\ngreekd_rows_written_total 5\n".into()),
        clock: Arc::new(Noon),
    };
    let address = server.address();
    let (stop, stopped) = oneshot::channel();
    let until = async move {
        stopped.await.ok();
    };
    let serving = tokio::spawn(server.run(api, until));
    Running { address, book, desk, alerts, serving, stop: Some(stop) }
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Running {
    /// Sends these bytes and reads until the server closes.
    pub async fn raw(&self, bytes: &[u8]) -> Answer {
        let talk = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut answer = Vec::new();
            // A reset after the answer is fine: what was not read of the request causes it.
            stream.read_to_end(&mut answer).await.ok();
            answer
        };
        Answer::parse(&timeout(SOON, talk).await.expect("no answer"))
    }

    pub async fn request(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let (host, length) = (self.address, body.len());
        let text = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        self.raw(text.as_bytes()).await
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.request("GET", target, "", "").await
    }

    pub async fn post(&self, target: &str, body: &str) -> Answer {
        self.request("POST", target, "Content-Type: application/json\r\n", body).await
    }
}
