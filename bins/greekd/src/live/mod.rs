//! The live half: the book, what is known of this moment, and the server that tells both.

mod alerts;
mod board;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use greeks_model::{Clock, GreekSnapshot, QuoteSource, Record, UnixNanos};
use greeks_processor::book::{BookConfig, LiveBook};
use greeks_processor::calendar::MarketCalendar;
use greeks_processor::{AcceptedHook, ReferenceHook, SourceHandle, SystemClock};
use greeks_server::{Alert, AlertKind, Api};
use greeks_store::{DatabaseConfig, Queries, QueryError};
use metrics::{Unit, describe_gauge};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::board::Board;
pub(crate) use self::board::Second;
use crate::daemon::View;
use crate::durable::DurableView;
use crate::exit::with_causes;
use crate::settings::Settings;
use crate::web::{ServerThread, Web};

/// What deltas are weighted against; tastytrade streams its price, whether it is held or not.
pub(crate) const BENCHMARK: &str = "SPY";
/// Gauge by kind: alerts that go on.
const ALERTS_ACTIVE: &str = "greekd_alerts_active";
/// How often the database is asked what alerts and the status need of it.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// For the server to end.
const END: Duration = Duration::from_secs(1);
/// For one such answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Records refused a day ago are news no more; in nanoseconds.
const REFUSED_LATELY: i64 = 86_400_000_000_000;
/// For one question over HTTP: whoever asks more than that of a book has to ask for less at a time.
const QUESTION: Duration = Duration::from_secs(10);
/// Connections for what is asked over HTTP.
const CONNECTIONS: usize = 4;
/// Alerts a stream may be behind by.
const ALERTS: usize = 64;

/// Tells the installed recorder what the metrics mean.
pub(crate) fn describe() {
    describe_gauge!(ALERTS_ACTIVE, Unit::Count, "Alerts that go on, by kind");
}

/// How many contracts are held, by broker, account and contract key.
pub(crate) type Held = HashMap<(String, String, String), f64>;

/// The live half of a run.
#[derive(Debug)]
pub(crate) struct Live {
    book: Arc<LiveBook>,
    board: Arc<Board>,
    alerts: broadcast::Sender<Alert>,
    clock: Arc<dyn Clock>,
    tasks: JoinSet<()>,
    /// Where the server runs.
    thread: Option<ServerThread>,
    /// Ends the server.
    stop: CancellationToken,
}

impl Live {
    pub(crate) fn new(settings: &Settings, simulated: bool, sources: &[Box<dyn QuoteSource>]) -> Self {
        let sources = sources.iter().map(|source| source.id().clone()).collect();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let calendar = MarketCalendar::default();
        let config = BookConfig {
            benchmark: BENCHMARK.into(),
            betas: settings.betas.clone(),
            calendar: calendar.clone(),
            ..BookConfig::default()
        };
        Self {
            book: Arc::new(LiveBook::new(config)),
            board: Arc::new(Board::new(simulated, clock.now(), calendar, sources)),
            alerts: broadcast::Sender::new(ALERTS),
            clock,
            tasks: JoinSet::new(),
            thread: None,
            stop: CancellationToken::new(),
        }
    }

    /// Serves the book from the database's beginning on, until [`end`](Self::end). False when it cannot be served, which
    /// is no reason not to stream.
    pub(crate) fn serve(&mut self, web: Web, database: &DatabaseConfig) -> bool {
        let queries = match Queries::with_deadline(database, CONNECTIONS, QUESTION) {
            Ok(queries) => queries,
            Err(error) => {
                tracing::error!(error = with_causes(&error), "nothing is served over HTTP");
                return false;
            }
        };
        let Web { server, metrics, thread } = web;
        let board = Arc::clone(&self.board);
        self.tasks.spawn(ask(queries.clone(), Arc::clone(&board), Arc::clone(&self.clock)));
        let api = Api {
            book: Arc::clone(&self.book),
            queries,
            status: Arc::clone(&board) as Arc<dyn greeks_server::StatusSource>,
            control: board,
            alerts: self.alerts.clone(),
            metrics: Arc::new(move || metrics.render()),
            clock: Arc::clone(&self.clock),
        };
        self.tasks.spawn_on(server.run(api, self.stop.clone().cancelled_owned()), thread.handle());
        self.thread = Some(thread);
        true
    }

    /// For the pipeline: what is accepted is in the book.
    pub(crate) fn accepted(&self) -> AcceptedHook {
        let book = Arc::clone(&self.book);
        Box::new(move |records: &[Record]| book.accept(records))
    }

    /// For the pipeline: what sources say of underlyings is in the book.
    pub(crate) fn reference(&self) -> ReferenceHook {
        let book = Arc::clone(&self.book);
        Box::new(move |source, reference| book.reference(reference, source))
    }

    /// Puts the newest rows of earlier runs into the book: values that a broker sends again are not accepted again. What is
    /// not held as far as is known is put in closed, and has its row when the first positions open it.
    pub(crate) fn recall(&self, rows: &[GreekSnapshot], held: &Held) {
        let recalled = |row: &GreekSnapshot| {
            let (mut row, series) = (row.clone(), &row.series);
            let line = (series.broker.to_string(), series.account_id.as_str().to_owned(), series.contract.to_string());
            row.quantity = held.get(&line).copied().unwrap_or(0.0);
            row
        };
        let mut rows: Vec<_> = rows.iter().map(recalled).collect();
        rows.sort_unstable_by_key(|row| row.received_at);
        let records: Vec<Record> = rows.into_iter().map(Record::Snapshot).collect();
        self.book.accept(&records);
    }

    /// From here on there is a journal, and a database or none.
    pub(crate) fn show_durable(&self, durable: &DurableView) {
        self.board.show_durable(durable.clone());
    }

    /// From here on there is something to see.
    pub(crate) fn show(&mut self, view: &View) {
        self.board.show(view.clone());
        for handle in view.handles() {
            let (board, book, clock) = (Arc::clone(&self.board), Arc::clone(&self.book), Arc::clone(&self.clock));
            self.tasks.spawn(follow(handle.clone(), board, book, clock));
        }
    }

    /// To be called every second.
    pub(crate) fn look(&mut self, view: &View, slo: Option<(Duration, Duration)>, oldest: Duration) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of what shows the book has failed: until a restart it is not shown");
            }
        }
        let now = self.clock.now();
        let second = Second { slo, oldest, overdue: self.book.overdue(now) };
        for alert in self.board.look(view, &second, now) {
            let kind = alert.kind.as_str();
            if alert.active {
                // Why a session ended was told when it did.
                let why = Some(alert.message.as_str()).filter(|_| alert.kind != AlertKind::SourceDown);
                tracing::warn!(kind, source = alert.source, why, "alert");
            } else {
                tracing::info!(kind, source = alert.source, "alert has ended");
            }
            // Nobody listening is no error.
            drop(self.alerts.send(alert));
        }
        for (kind, active) in self.board.active() {
            metrics::gauge!(ALERTS_ACTIVE, "kind" => kind).set(f64::from(active));
        }
    }

    /// Ends the server, which answers what is under way, and everything else; what does not end in time must not hold up
    /// what stores.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        // The others end when their sources have, or not at all.
        let server = async { while self.tasks.join_next().await.is_some() {} };
        drop(tokio::time::timeout(END, server).await);
        self.tasks.shutdown().await;
    }
}

/// Tells book and board where a source stands, as soon as it changes.
async fn follow(handle: SourceHandle, board: Arc<Board>, book: Arc<LiveBook>, clock: Arc<dyn Clock>) {
    let mut status = handle.status().clone();
    loop {
        let state = status.borrow_and_update().state.clone();
        let now = clock.now();
        board.source_state(handle.id(), &state, now);
        book.source_state(handle.id(), &state, now);
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Asks the database from time to time what only it knows. While it does not answer, its last word counts.
async fn ask(queries: Queries, board: Arc<Board>, clock: Arc<dyn Clock>) {
    let mut every = tokio::time::interval(ASK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let lately = UnixNanos::from_nanos(clock.now().as_nanos().saturating_sub(REFUSED_LATELY));
        // Each by itself: that one may not be asked must not hide the others.
        let (quarantined, default_rows, gaps) = tokio::join!(
            answer(queries.quarantined(lately)),
            answer(queries.default_rows()),
            answer(queries.open_gaps())
        );
        board.stored(|stored| {
            stored.quarantined = quarantined.unwrap_or(stored.quarantined);
            stored.default_rows = default_rows.unwrap_or(stored.default_rows);
            stored.gaps_open = gaps.map_or(stored.gaps_open, |gaps| gaps.len() as u64);
        });
    }
}

/// What the database says, if it does; that it is away is told by those who store.
async fn answer<T>(question: impl Future<Output = Result<T, QueryError>>) -> Option<T> {
    match tokio::time::timeout(ANSWER, question).await {
        Ok(Ok(answer)) => return Some(answer),
        Ok(Err(error)) => tracing::debug!(error = with_causes(&error), "the database does not say how it is doing"),
        Err(_) => tracing::debug!("the database does not say how it is doing in time"),
    }
    None
}
