//! What quotes are about, and the numbers that stand for it on the data path.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::Contract;

/// The canonical symbol of an underlying: `AAPL`, `SPX`, `BRK/B`, or a future's key such as `/ESZ26`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Underlying(Arc<str>);

impl Underlying {
    /// From the canonical symbol.
    #[must_use]
    pub fn new(symbol: &str) -> Self {
        Self(symbol.into())
    }

    /// The symbol.
    #[must_use]
    pub fn symbol(&self) -> &Arc<str> {
        &self.0
    }
}

impl fmt::Display for Underlying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Anything a source can quote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Instrument {
    /// An option contract.
    Option(Contract),
    /// A stock, index, fund or future that options are written on.
    Underlying(Underlying),
}

/// The number of an [`Instrument`] in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstrumentId(u32);

impl InstrumentId {
    /// The number, dense from zero: usable as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Numbers instruments for the life of the process, so that updates are `Copy` and hold no text.
#[derive(Debug, Default)]
pub struct InstrumentTable {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ids: HashMap<Arc<Instrument>, InstrumentId>,
    all: Vec<Arc<Instrument>>,
}

impl InstrumentTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of `instrument`, given on first sight and never changed.
    pub fn intern(&self, instrument: &Instrument) -> InstrumentId {
        if let Some(id) = self.inner.read().unwrap_or_else(PoisonError::into_inner).ids.get(instrument) {
            return *id;
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = inner.ids.get(instrument) {
            return *id;
        }
        // Four thousand million instruments do not fit into memory: the number cannot overflow before that.
        let id = InstrumentId(u32::try_from(inner.all.len()).unwrap_or(u32::MAX));
        let instrument = Arc::new(instrument.clone());
        inner.all.push(Arc::clone(&instrument));
        inner.ids.insert(instrument, id);
        id
    }

    /// The instrument with this number; `None` for a number of another table.
    #[must_use]
    pub fn get(&self, id: InstrumentId) -> Option<Arc<Instrument>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).all.get(id.index()).cloned()
    }

    /// How many instruments are numbered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).all.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_instrument_same_number() {
        let table = InstrumentTable::new();
        let spx = table.intern(&Instrument::Underlying(Underlying::new("SPX")));
        let option = table.intern(&Instrument::Option("SPXW  180131C01200000".parse().unwrap()));
        assert_ne!(spx, option);
        assert_eq!(table.intern(&Instrument::Underlying(Underlying::new("SPX"))), spx);
        assert_eq!(table.get(option).as_deref().map(|i| format!("{i:?}").contains("SPXW")), Some(true));
        assert_eq!(table.len(), 2);
    }
}
