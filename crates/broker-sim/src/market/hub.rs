//! Between one market and any number of connections: symbol numbers, last values, and a bounded bus.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::event::{Event, Kind, SymbolId};

/// Batches that a connection may fall behind before it is conflated.
const BUS_BATCHES: usize = 512;

/// Symbols one hub knows at most; a client that subscribes to nonsense cannot grow it further.
const MAX_SYMBOLS: usize = 250_000;

/// Publishes events; keeps the last one of each symbol and kind for whoever subscribes later.
#[derive(Debug)]
pub(crate) struct Hub {
    symbols: RwLock<Symbols>,
    last: Mutex<Vec<[Option<Event>; 3]>>,
    bus: broadcast::Sender<Arc<[Event]>>,
    subscribed: watch::Sender<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Symbols {
    ids: HashMap<Arc<str>, SymbolId>,
    names: Vec<Arc<str>>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            symbols: RwLock::default(),
            last: Mutex::default(),
            bus: broadcast::Sender::new(BUS_BATCHES),
            subscribed: watch::Sender::new(None),
        }
    }

    /// The number of a streamer symbol, given on first sight; `None` once the table is full.
    pub(crate) fn intern(&self, symbol: &str) -> Option<SymbolId> {
        if let Some(id) = self.lookup(symbol) {
            return Some(id);
        }
        let mut symbols = self.symbols.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = symbols.ids.get(symbol) {
            return Some(*id);
        }
        let id = u32::try_from(symbols.names.len()).ok().filter(|_| symbols.names.len() < MAX_SYMBOLS)?;
        let name: Arc<str> = symbol.into();
        symbols.names.push(Arc::clone(&name));
        symbols.ids.insert(name, SymbolId(id));
        Some(SymbolId(id))
    }

    pub(crate) fn lookup(&self, symbol: &str) -> Option<SymbolId> {
        self.symbols.read().unwrap_or_else(PoisonError::into_inner).ids.get(symbol).copied()
    }

    pub(crate) fn name(&self, id: SymbolId) -> Option<Arc<str>> {
        self.symbols.read().unwrap_or_else(PoisonError::into_inner).names.get(id.index()).cloned()
    }

    /// Makes `events` the last values and hands them to every receiver.
    pub(crate) fn publish(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                let place = event.symbol.index();
                if last.len() <= place {
                    last.resize(place + 1, [None; 3]);
                }
                if let Some(slot) = last.get_mut(place).and_then(|kinds| kinds.get_mut(event.kind() as usize)) {
                    *slot = Some(*event);
                }
            }
        }
        if self.bus.receiver_count() > 0 {
            // The last receiver may have gone meanwhile: nobody to tell is no fault.
            self.bus.send(events.into()).ok();
        }
    }

    pub(crate) fn last(&self, symbol: SymbolId, kind: Kind) -> Option<Event> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(symbol.index()).and_then(|kinds| kinds.get(kind as usize).copied().flatten())
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<[Event]>> {
        self.bus.subscribe()
    }

    /// Notes that a client changed what it is subscribed to: a replay may wait for that.
    pub(crate) fn note_subscription(&self) {
        self.subscribed.send_replace(Some(Instant::now()));
    }

    pub(crate) fn subscriptions(&self) -> watch::Receiver<Option<Instant>> {
        self.subscribed.subscribe()
    }
}
