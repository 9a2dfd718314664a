//! The place where brokers meet: one market, any number of doubles.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::Date;
use tokio::sync::{mpsc, oneshot};

use super::{Book, Command, Event, Hub, Listing, Market, Replay, Runner, Simulated, checked_rate};
use crate::SimError;
use crate::config::MarketConfig;
use crate::service::Tasks;

/// A market of its own, for doubles of several brokers that are to tell one truth about one contract. Dropping it stops
/// the market; the doubles on it stay, and are silent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), broker_sim::SimError> {
/// use broker_sim::{IbkrSim, IbkrSimConfig, SimConfig, SimMarket, TastySim};
///
/// let tasty = SimConfig::simulated(7);
/// let market = SimMarket::start(tasty.market.clone()).await?;
/// let tastytrade = TastySim::start_on(&market, tasty).await?;
/// let ibkr = IbkrSim::start_on(&market, IbkrSimConfig::simulated(7)).await?;
/// let held = |contract| tastytrade.positions().iter().any(|row| row.contract() == Some(contract));
/// assert!(ibkr.positions().iter().filter_map(|row| row.contract()).any(held));
/// # Ok(())
/// # }
/// ```
pub struct SimMarket {
    place: Arc<Place>,
    tasks: Tasks,
}

impl std::fmt::Debug for SimMarket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimMarket").field("opened", &self.place.opened).finish_non_exhaustive()
    }
}

impl SimMarket {
    /// Opens the market.
    ///
    /// # Errors
    /// [`SimError`] when a chain file cannot be read or a setting makes no sense.
    ///
    /// # Cancel safety
    /// A dropped start leaves nothing behind.
    #[expect(clippy::unused_async, reason = "as every start here, and only where tasks can run")]
    pub async fn start(config: MarketConfig) -> Result<Self, SimError> {
        let hub = Arc::new(Hub::new());
        let (market, book, settle): (Box<dyn Market>, _, _) = match &config {
            MarketConfig::Simulated(config) => {
                let (market, book) = Simulated::new(config, &hub)?;
                (Box::new(market), book, None)
            }
            MarketConfig::Chain(config) => {
                let (market, book) = Replay::new(config, &hub)?;
                (Box::new(market), book, config.settle)
            }
        };
        let (commands, inbox) = mpsc::channel(64);
        let observers = Arc::new(Observers::default());
        let opened = market.opened();
        let runner =
            Runner { market, hub: Arc::clone(&hub), commands: inbox, settle, observers: Arc::clone(&observers) };
        let mut tasks = Tasks::new();
        tasks.spawn(|stop| runner.run(stop));
        let place = Arc::new(Place { hub, commands, observers, book, opened, config });
        Ok(Self { place, tasks })
    }

    /// Stops the market at all brokers; scripted events still go out. Returns once nothing more is emitted.
    ///
    /// # Errors
    /// [`SimError::Stopped`] after the market was shut down; so for all methods here.
    ///
    /// # Cancel safety
    /// The command is carried out even if nobody waits for it; so for all methods here.
    pub async fn pause(&self) -> Result<(), SimError> {
        self.place.ask(Command::Pause).await
    }

    /// Lets the market go on where it stopped.
    ///
    /// # Errors
    /// See [`SimMarket::pause`].
    pub async fn resume(&self) -> Result<(), SimError> {
        self.place.ask(Command::Resume).await
    }

    /// Sets the number of Greeks events per second, over all contracts that any broker lists.
    ///
    /// # Errors
    /// [`SimError::Config`] when it is not between 0.01 and 200,000.
    pub async fn set_rate(&self, rate: f64) -> Result<(), SimError> {
        self.place.set_rate(rate).await
    }

    /// Closes the market and waits for it, at most ten seconds.
    ///
    /// # Cancel safety
    /// When dropped, what still runs is aborted.
    pub async fn shutdown(self) {
        self.tasks.shutdown().await;
    }

    pub(crate) const fn place(&self) -> &Arc<Place> {
        &self.place
    }
}

/// What a double needs of a market.
pub(crate) struct Place {
    pub(crate) hub: Arc<Hub>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) observers: Arc<Observers>,
    /// What the market's own customer holds: every contract quoted from the start is in it.
    pub(crate) book: Book,
    pub(crate) opened: Date,
    pub(crate) config: MarketConfig,
}

impl Place {
    pub(crate) async fn set_rate(&self, rate: f64) -> Result<(), SimError> {
        let rate = checked_rate(rate)?;
        self.ask(|done| Command::Rate(rate, done)).await
    }

    /// Begins to quote these contracts.
    pub(crate) async fn list(&self, listings: Vec<Listing>) -> Result<(), SimError> {
        if listings.is_empty() || self.ask(|done| Command::ListAll(listings, done)).await? {
            Ok(())
        } else {
            Err(SimError::Config("the market cannot price every contract of the book".to_owned()))
        }
    }

    pub(crate) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, SimError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| SimError::Stopped)?;
        answer.await.map_err(|_| SimError::Stopped)
    }
}

/// Told of each batch, and whether the market has finished; false once it has nobody to tell it to.
pub(crate) type Observer = Box<dyn Fn(&[Event], bool) -> bool + Send>;

/// Whoever counts what a market emits.
#[derive(Default)]
pub(crate) struct Observers(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    observers: Vec<Observer>,
    finished: bool,
}

impl Observers {
    pub(crate) fn add(&self, observer: Observer) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if observer(&[], watched.finished) {
            watched.observers.push(observer);
        }
    }

    pub(crate) fn tell(&self, events: &[Event], finished: bool) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.finished |= finished;
        watched.observers.retain(|observer| observer(events, finished));
    }
}
