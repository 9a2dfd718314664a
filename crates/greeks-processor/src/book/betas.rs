//! What is known of underlyings besides their options: betas, and the benchmark's price.

use std::collections::HashMap;
use std::sync::Arc;

use greeks_model::{Reference, SourceId, UnixNanos};

use super::view::{BenchmarkPrice, BetaSource, PriceSource};

/// What follows the S&P 500 and nothing else: nobody need say that one moves as the other does.
const S_AND_P_500: [&str; 7] = ["/ES", "/MES", "IVV", "SPX", "SPY", "VOO", "XSP"];

/// Betas of the configuration and of sources.
#[derive(Debug)]
pub(super) struct Betas {
    benchmark: Arc<str>,
    configured: HashMap<Arc<str>, f64>,
    told: HashMap<Arc<str>, Told>,
}

/// A number that a source has said.
#[derive(Clone, Debug)]
struct Told {
    value: f64,
    as_of: UnixNanos,
    source: SourceId,
}

impl Told {
    /// Whether what `source` says of `as_of` goes before this.
    fn yields_to(&self, source: &SourceId, as_of: UnixNanos) -> bool {
        self.source == *source || self.as_of <= as_of
    }
}

/// A beta and where it is from.
pub(super) type Beta = (f64, BetaSource);

impl Betas {
    pub(super) fn new(benchmark: Arc<str>, mut configured: HashMap<Arc<str>, f64>) -> Self {
        configured.retain(|_, beta| beta.is_finite());
        Self { benchmark, configured, told: HashMap::new() }
    }

    /// Takes what a source says; returns whether anything follows from it.
    pub(super) fn tell(&mut self, reference: &Reference, source: &SourceId) -> bool {
        let Some(value) = reference.beta else { return false };
        let known = self.told.get(&reference.underlying);
        if known.is_some_and(|known| !known.yields_to(source, reference.as_of)) {
            return false;
        }
        if value.is_finite() {
            let told = Told { value, as_of: reference.as_of, source: source.clone() };
            self.told.insert(Arc::clone(&reference.underlying), told);
            true
        } else if known.is_some_and(|known| known.source == *source) {
            self.told.remove(&reference.underlying).is_some()
        } else {
            // That one source does not know it takes nothing from what another has said.
            false
        }
    }

    /// The beta of an underlying: configured before told, its own before that of its product; 1 where nothing is said and
    /// it follows the same index as the benchmark.
    pub(super) fn find(&self, symbol: &str, product: Option<&str>) -> Option<Beta> {
        if *symbol == *self.benchmark {
            return Some((1.0, BetaSource::Benchmark));
        }
        let names = || std::iter::once(symbol).chain(product);
        if let Some(beta) = names().find_map(|name| self.configured.get(name)) {
            return Some((*beta, BetaSource::Configured));
        }
        if let Some(told) = names().find_map(|name| self.told.get(name)) {
            return Some((told.value, BetaSource::Source { source: told.source.clone(), as_of: told.as_of }));
        }
        let same_index = S_AND_P_500.contains(&&*self.benchmark) && names().any(|name| S_AND_P_500.contains(&name));
        same_index.then_some((1.0, BetaSource::SameIndex))
    }
}

/// The benchmark's price: the newest that was told, else the configured one.
#[derive(Debug)]
pub(super) struct Benchmark {
    configured: Option<f64>,
    told: Option<Told>,
}

impl Benchmark {
    pub(super) fn new(configured: Option<f64>) -> Self {
        Self { configured: configured.filter(|price| is_price(*price)), told: None }
    }

    /// Takes a price that `source` had at `as_of`; returns whether it is the price now.
    pub(super) fn tell(&mut self, value: f64, source: &SourceId, as_of: UnixNanos) -> bool {
        let newer = self.told.as_ref().is_none_or(|told| told.as_of <= as_of);
        if newer && is_price(value) {
            self.told = Some(Told { value, as_of, source: source.clone() });
            true
        } else {
            false
        }
    }

    pub(super) fn price(&self) -> Option<f64> {
        self.told.as_ref().map(|told| told.value).or(self.configured)
    }

    /// The price with its age at `now`.
    pub(super) fn view(&self, now: UnixNanos) -> Option<BenchmarkPrice> {
        let configured = |price| BenchmarkPrice { price, as_of: None, age: None, source: PriceSource::Configured };
        let Some(told) = &self.told else { return self.configured.map(configured) };
        Some(BenchmarkPrice {
            price: told.value,
            as_of: Some(told.as_of),
            age: Some(now.saturating_since(told.as_of)),
            source: PriceSource::Source(told.source.clone()),
        })
    }
}

/// A benchmark that is worth nothing is none, and dividing by it would say so of the whole book.
fn is_price(price: f64) -> bool {
    price.is_finite() && price > 0.0
}
