//! What `run` and `demo` have in common: open the database, stream, stop in order.

use greeks_model::QuoteSource;

use crate::daemon::{Daemon, Ended, Figures, Store, View};
use crate::database::Database;
use crate::durable::Verdict;
use crate::exit::{Code, Failure, with_causes};
use crate::journal;
use crate::live::Live;
use crate::settings::Settings;
use crate::signals::Signals;

/// Starts the private server, or names the database that is configured; `None` when a signal came first.
pub(crate) async fn open(settings: &Settings, signals: &mut Signals) -> Result<Option<Database>, Failure> {
    let opening = async {
        let database = Database::open(settings).await?;
        tracing::info!(place = database.place(), "rows go to the database");
        Ok(Some(database))
    };
    tokio::select! {
        opened = opening => opened,
        () = signals.next() => Ok(None),
    }
}

/// Streams until a signal comes or `until` resolves, then stores what was accepted. A private server is kept running
/// all the while, and is left running. While another greekd writes to the database this one stands by: it connects to no
/// broker.
///
/// # Errors
/// [`Failure`] when streaming could not go on. Rows that the database does not take are none: they wait in the journal.
pub(crate) async fn stream(
    settings: &Settings,
    database: &mut Database,
    sources: Vec<Box<dyn QuoteSource>>,
    signals: &mut Signals,
    until: impl Future<Output = ()>,
    each_second: impl FnMut(&View),
    live: Live,
) -> Result<Figures, Failure> {
    let journal = tokio::select! {
        journal = journal::open(settings) => journal?,
        () = signals.next() => return Ok(Figures::none()),
    };
    let store = Store::start(settings, database, journal);
    live.show_durable(&store.durable.view);
    let Some(verdict) = admitted(&store, database, signals).await else {
        return Ok(signals.or_at_once(store.close()).await);
    };
    let mut daemon = tokio::select! {
        daemon = Daemon::start(settings, database, store, &verdict, sources, live) => daemon?,
        // What is in the journal is safe there.
        () = signals.next() => return Ok(Figures::none()),
    };
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
        Ended::Refused(failure) => {
            if let Err(error) = figures {
                complain(&error);
            }
            Err(failure)
        }
        Ended::Superseded(holder) => {
            let everything_stored = match figures {
                Ok(figures) => figures.waiting == 0,
                Err(error) => {
                    complain(&error);
                    false
                }
            };
            Err(superseded(settings, &holder, everything_stored))
        }
        // The cause is in what the end of its parts says.
        Ended::Broken => match figures {
            Err(cause) => Err(cause),
            Ok(_) => Err(Failure::new(Code::Runtime, "the data path has ended by itself")),
        },
    }
}

/// Waits until rows may be written, or until it is known that the database is not there; `None` when a signal came first.
async fn admitted(store: &Store, database: &mut Database, signals: &mut Signals) -> Option<Verdict> {
    let view = &store.durable.view;
    let waiting = async {
        match view.verdict().await {
            Verdict::Held(holder) => {
                tracing::warn!(holder, "another greekd writes to this database: standing by, connected to no broker");
                view.taken_over().await;
                tracing::info!("the other greekd has gone: taken over");
                Verdict::Stored
            }
            verdict => verdict,
        }
    };
    let verdict = tokio::select! {
        verdict = waiting => verdict,
        () = signals.next() => return None,
        never = database.keep_running() => match never {},
    };
    if verdict == Verdict::Journalled {
        database.complain(&view.status.borrow());
    }
    Some(verdict)
}

/// Tells a failure that is not the one the program ends with.
fn complain(failure: &Failure) {
    tracing::error!(error = %failure, "the data path did not stop in good order");
}

/// What was not stored must not be by itself: the other greekd may have received the same events.
fn superseded(settings: &Settings, holder: &str, everything_stored: bool) -> Failure {
    if everything_stored {
        let what = format!("another greekd has taken over the database ({holder}); everything was stored");
        return Failure::new(Code::Runtime, what).remedy("stop one of the two");
    }
    let parked = match journal::park(&settings.data_dir) {
        Ok(path) => format!("what it had not stored is kept in {}", path.display()),
        Err(error) => format!("its journal cannot be moved aside: {error}"),
    };
    Failure::new(Code::Runtime, format!("another greekd has taken over the database ({holder}); {parked}"))
        .remedy("stop one of the two; `greekd journal replay DIR` stores what was kept")
}

/// Stops the private server; its trouble does not change how the run is judged.
pub(crate) async fn close(database: Database, signals: &mut Signals) {
    if let Err(error) = signals.or_at_once(database.close()).await {
        tracing::warn!(error = with_causes(&error), "the private PostgreSQL did not stop in good order");
    }
}
