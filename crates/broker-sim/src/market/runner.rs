//! The one task that drives a market and publishes what it emits.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::place::Observers;
use super::{Due, Event, Hub, Listing, Market};

/// What a [`Runner`] can be told while it runs. Each is answered once it has taken effect.
pub(crate) enum Command {
    Pause(oneshot::Sender<()>),
    Resume(oneshot::Sender<()>),
    Rate(f64, oneshot::Sender<()>),
    Emit(Vec<Event>, oneshot::Sender<()>),
    List(Box<Listing>, oneshot::Sender<bool>),
    /// Lists each, and emits at once what is known of all: for a whole book that comes after the opening.
    ListAll(Vec<Listing>, oneshot::Sender<bool>),
}

/// A market on the wall clock.
pub(crate) struct Runner {
    pub(crate) market: Box<dyn Market>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Begin once somebody is subscribed and has kept still for this long.
    pub(crate) settle: Option<Duration>,
    /// Told of each batch, and whether the market has finished.
    pub(crate) observers: Arc<Observers>,
}

impl Runner {
    /// Runs until `stop`, or until every [`Command`] sender is gone.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut subscriptions = self.hub.subscriptions();
        let mut clock = Clock::stopped();
        let mut paused = false;
        let mut waiting = self.settle;
        let mut finished = false;
        let mut due = Instant::now();
        let mut batch = Vec::new();

        self.market.opening(wall(), &mut batch);
        self.hub.publish(&batch);
        if waiting.is_none() {
            clock.start();
        }
        loop {
            let quiet_at = waiting.and_then(|settle| subscriptions.borrow_and_update().map(|at| at + settle));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                command = self.commands.recv() => {
                    let Some(command) = command else { return };
                    match command {
                        Command::Pause(_) => { paused = true; clock.stop(); }
                        Command::Resume(_) => { paused = false; if waiting.is_none() { clock.start(); } }
                        Command::Rate(..) | Command::Emit(..) | Command::List(..) | Command::ListAll(..) => {}
                    }
                    self.obey(command);
                    due = Instant::now();
                }
                _ = subscriptions.changed(), if waiting.is_some() => {}
                () = until(quiet_at), if quiet_at.is_some() => {
                    waiting = None;
                    if !paused { clock.start(); }
                    due = Instant::now();
                }
                () = sleep_until(due), if clock.runs() && !finished => {
                    batch.clear();
                    let elapsed = clock.elapsed();
                    match self.market.advance(elapsed, wall(), &mut batch) {
                        Due::At(next) => due = Instant::now() + next.saturating_sub(clock.elapsed()),
                        Due::Finished => finished = true,
                    }
                    self.hub.publish(&batch);
                    self.observers.tell(&batch, finished);
                }
            }
        }
    }

    /// Whoever asked may have stopped waiting for the answer: that is its own business.
    fn obey(&mut self, command: Command) {
        match command {
            Command::Pause(done) | Command::Resume(done) => done.send(()).ok(),
            Command::Rate(rate, done) => {
                self.market.set_rate(rate);
                done.send(()).ok()
            }
            Command::Emit(events, done) => {
                self.hub.publish(&events);
                self.observers.tell(&events, false);
                done.send(()).ok()
            }
            Command::List(listing, done) => done.send(self.market.list(&listing, &self.hub)).ok(),
            Command::ListAll(listings, done) => {
                let all = listings.iter().all(|listing| self.market.list(listing, &self.hub));
                let mut events = Vec::new();
                self.market.opening(wall(), &mut events);
                self.hub.publish(&events);
                done.send(all).ok()
            }
        };
    }
}

/// Running time with pauses left out.
struct Clock {
    before: Duration,
    since: Option<Instant>,
}

impl Clock {
    const fn stopped() -> Self {
        Self { before: Duration::ZERO, since: None }
    }

    const fn runs(&self) -> bool {
        self.since.is_some()
    }

    fn start(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    fn stop(&mut self) {
        self.before = self.elapsed();
        self.since = None;
    }

    fn elapsed(&self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn wall() -> i64 {
    Timestamp::now().as_millisecond()
}
