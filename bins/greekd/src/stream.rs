//! What `run` and `demo` have in common: open the database, stream, stop in order.

use greeks_model::QuoteSource;

use crate::daemon::{Daemon, Ended, Figures, View};
use crate::database::Database;
use crate::exit::{Code, Failure, chain};
use crate::settings::Settings;
use crate::signals::Signals;

/// Opens the database and brings its schema up to date; `None` when a signal came first.
pub(crate) async fn open(settings: &Settings, signals: &mut Signals) -> Result<Option<Database>, Failure> {
    let opening = async {
        let database = Database::open(settings).await?;
        let schema = database.migrate().await?;
        tracing::info!(place = database.place(), schema, "rows go to the database");
        Ok(Some(database))
    };
    tokio::select! {
        opened = opening => opened,
        () = signals.next() => Ok(None),
    }
}

/// Streams until a signal comes or `until` resolves, then stores what was accepted. A private server is kept running
/// all the while, and is left running.
///
/// # Errors
/// [`Failure`] when streaming could not go on, or when something accepted could not be stored.
pub(crate) async fn stream(
    settings: &Settings,
    database: &mut Database,
    sources: Vec<Box<dyn QuoteSource>>,
    signals: &mut Signals,
    until: impl Future<Output = ()>,
    each_second: impl FnMut(&View),
) -> Result<Figures, Failure> {
    let mut daemon = Daemon::start(settings, database, sources).await?;
    let mut keeping = std::pin::pin!(database.keep_running());
    let asked_to_stop = async {
        tokio::select! {
            () = signals.next() => {}
            () = until => {}
        }
    };
    let ended = tokio::select! {
        ended = daemon.run(asked_to_stop, each_second) => ended,
        never = &mut keeping => match never {},
    };
    tracing::info!("stopping");
    let stopping = async {
        tokio::select! {
            figures = daemon.stop() => figures,
            never = &mut keeping => match never {},
        }
    };
    let figures = signals.or_at_once(stopping).await;
    match ended {
        Ended::Asked => figures,
        Ended::Refused(failure) => Err(failure),
        // The cause is in what the end of its parts says.
        Ended::Broken => match figures {
            Err(cause) => Err(cause),
            Ok(_) => Err(Failure::new(Code::Runtime, "the data path has ended by itself")),
        },
    }
}

/// Stops the private server; its trouble does not change how the run is judged.
pub(crate) async fn close(database: Database, signals: &mut Signals) {
    if let Err(error) = signals.or_at_once(database.close()).await {
        tracing::warn!(error = chain(&error), "the private PostgreSQL did not stop in good order");
    }
}
