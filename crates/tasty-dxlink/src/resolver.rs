//! Streamer symbols of what is held, from four sources in turn: the position itself, the instrument's own endpoint, the
//! nested chain it stands in, and what its REST symbol says.
//!
//! The symbol of an equity option can always be computed, while asking costs one call per contract. So the API is asked
//! for a few contracts at each look and for a limited time; the others go by the rule until their turn comes, or until
//! the streamer does not answer to the computed symbol. The symbol of an option on a future names an exchange that the
//! contract does not: there one answer for each product tells it, and a small table of products helps when there is none,
//! or none in time. Symbols are kept for the life of the source; that there is none is believed for a while.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use greeks_model::Future;
use tokio::time::{Instant, timeout};

use crate::Error;
use crate::contracts::{self, NamedOption, OptionKind};
use crate::exchanges::{Exchanges, Way};
use crate::rest::{Named, PositionRow, Rest};

/// How many options the API is asked about at one look although their symbols are known without it.
const QUESTIONS: usize = 16;
/// How many of those whose computed symbol has stayed silent.
const DOUBTS: usize = 100;
/// How long a symbol that is known without the API waits for it: a new position is to stream soon.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the API is believed that it has no symbol, or no chain with it: a contract can be new to it.
const TRUST_IN_NONE: Duration = Duration::from_secs(600);

/// Finds streamer symbols; remembers them.
#[derive(Debug)]
pub(crate) struct Resolver {
    rest: Arc<Rest>,
    memory: Mutex<Memory>,
    /// A chain is long: whoever comes second waits for what the first one reads.
    reading_chain: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Streamer symbols as the API gave them, by REST symbol.
    symbols: HashMap<String, String>,
    /// When it said in this session that it has none, by REST symbol.
    without: HashMap<String, Instant>,
    /// When chains were read in this session.
    chains: HashMap<String, Instant>,
    /// Computed streamer symbols that stayed silent.
    doubted: HashSet<String>,
    exchanges: Exchanges,
}

/// The questions left at one look.
#[derive(Debug)]
pub(crate) struct Budget {
    questions: AtomicUsize,
    doubts: AtomicUsize,
    /// Whether the API has failed to answer: it is left alone until the next look.
    closed: AtomicBool,
    /// Products without a known exchange of which it has failed to name one.
    unanswered: Mutex<HashSet<String>>,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            questions: AtomicUsize::new(QUESTIONS),
            doubts: AtomicUsize::new(DOUBTS),
            closed: AtomicBool::new(false),
            unanswered: Mutex::default(),
        }
    }

    fn take(&self, doubted: bool) -> bool {
        let left = if doubted { &self.doubts } else { &self.questions };
        let take = |left: usize| left.checked_sub(1);
        !self.is_closed() && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn unanswered(&self) -> MutexGuard<'_, HashSet<String>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chain that an option stands in.
#[derive(Clone, Copy, Debug)]
enum Chain<'a> {
    Equity(&'a str),
    Future(&'a str),
}

impl Resolver {
    pub(crate) fn new(rest: Arc<Rest>) -> Self {
        Self { rest, memory: Mutex::default(), reading_chain: tokio::sync::Mutex::default() }
    }

    /// A session begins: what the API did not know yesterday it may know today.
    pub(crate) fn begin(&self) {
        let mut memory = self.memory();
        memory.without.clear();
        memory.chains.clear();
    }

    /// The streamer never answered to these symbols: those that were computed are asked of the API at the next look.
    pub(crate) fn doubt(&self, symbols: impl IntoIterator<Item = String>) {
        self.memory().doubted.extend(symbols);
    }

    /// The streamer symbol of an option; `None` when there is no way to know it.
    ///
    /// # Errors
    /// [`Error::CredentialsRejected`] alone, which the token service says: an API in trouble is no reason to be without a
    /// symbol.
    pub(crate) async fn option(
        &self,
        row: &PositionRow,
        option: &NamedOption,
        budget: &Budget,
    ) -> Result<Option<String>, Error> {
        if row.streamer_symbol.is_some() {
            return Ok(row.streamer_symbol.clone());
        }
        match &option.kind {
            OptionKind::Equity => self.equity_option(row, option, budget).await.map(Some),
            OptionKind::Future { option: code, future } => {
                self.future_option(&row.symbol, option, code, future, budget).await
            }
        }
    }

    /// The streamer symbol of what an option is written on.
    ///
    /// # Errors
    /// As [`Resolver::option`].
    pub(crate) async fn underlying(
        &self,
        row: &PositionRow,
        option: &NamedOption,
        option_symbol: Option<&str>,
        budget: &Budget,
    ) -> Result<Option<String>, Error> {
        match &option.kind {
            OptionKind::Equity => Ok(Some(option.underlying.to_string())),
            OptionKind::Future { future, .. } => {
                self.future(row.underlying_symbol.trim(), future, option_symbol, budget).await
            }
        }
    }

    /// The streamer symbols of an option and of what it is written on, as far as they are known without a question.
    pub(crate) fn recall(&self, row: &PositionRow, option: &NamedOption) -> (Option<String>, Option<String>) {
        let known = row.streamer_symbol.clone().or_else(|| self.known(row.symbol.trim()).flatten());
        match &option.kind {
            OptionKind::Equity => (
                Some(known.unwrap_or_else(|| contracts::equity_streamer_symbol(&option.contract))),
                Some(option.underlying.to_string()),
            ),
            OptionKind::Future { option: code, future } => {
                let computed = || self.memory().exchanges.computed(future.product(), code, &option.contract);
                let symbol = known.or_else(computed);
                let underlying = self.known(row.underlying_symbol.trim()).flatten();
                let underlying = underlying.or_else(|| future_by_rule(future, symbol.as_deref()));
                (symbol, underlying)
            }
        }
    }

    async fn equity_option(&self, row: &PositionRow, option: &NamedOption, budget: &Budget) -> Result<String, Error> {
        let computed = contracts::equity_streamer_symbol(&option.contract);
        let symbol = row.symbol.trim();
        if let Some(known) = self.known(symbol) {
            return Ok(known.unwrap_or(computed));
        }
        let doubted = self.is_doubted(&computed);
        // It streams as it is: no need to ask once more.
        if (self.was_without(symbol) && !doubted) || !budget.take(doubted) {
            return Ok(computed);
        }
        let chain = Chain::Equity(row.underlying_symbol.trim());
        let asked = self.ask(symbol, self.rest.equity_option_symbol(symbol), Some(chain));
        Ok(self.soon(symbol, asked, budget).await?.unwrap_or(computed))
    }

    async fn future_option(
        &self,
        rest_symbol: &str,
        option: &NamedOption,
        code: &Future,
        future: &Future,
        budget: &Budget,
    ) -> Result<Option<String>, Error> {
        let symbol = rest_symbol.trim();
        let product = future.product();
        let way = self.memory().exchanges.way(product, code, &option.contract);
        if let Some(known) = self.known(symbol) {
            return Ok(known.or_else(|| way.computed()));
        }
        let again = self.was_without(symbol);
        let computed = match way {
            Way::Computed(computed) if !self.is_doubted(&computed) => return Ok(Some(computed)),
            Way::Presumed(computed) if again && !self.is_doubted(&computed) => return Ok(Some(computed)),
            Way::Computed(computed) | Way::Presumed(computed) if !budget.take(self.is_doubted(&computed)) => {
                return Ok(Some(computed));
            }
            Way::Asked(None) if budget.unanswered().contains(product) => return Ok(None),
            way => way.computed(),
        };
        let asked = self.ask(symbol, self.rest.future_option_symbol(symbol), Some(Chain::Future(product)));
        let found = if computed.is_some() {
            self.soon(symbol, asked, budget).await?
        } else {
            let Answer { found, settled } = asked.await?;
            // Where an option has no symbol once more, the others of its product are spared a call at this look.
            if found.is_none() && (again || !settled) {
                budget.unanswered().insert(product.to_owned());
            }
            found
        };
        if let Some(found) = &found {
            self.memory().exchanges.learn(product, code, &option.contract, found);
        }
        Ok(found.or(computed))
    }

    async fn future(
        &self,
        rest_symbol: &str,
        future: &Future,
        option_symbol: Option<&str>,
        budget: &Budget,
    ) -> Result<Option<String>, Error> {
        let computed = future_by_rule(future, option_symbol);
        if rest_symbol.is_empty() {
            return Ok(computed);
        }
        let asked = self.ask(rest_symbol, self.rest.future_symbol(rest_symbol), None);
        match computed {
            Some(computed) => Ok(Some(self.soon(rest_symbol, asked, budget).await?.unwrap_or(computed))),
            None => Ok(asked.await?.found),
        }
    }

    /// What the API says within a short time, for a symbol that is known without it.
    async fn soon(
        &self,
        symbol: &str,
        asked: impl std::future::Future<Output = Result<Answer, Error>>,
        budget: &Budget,
    ) -> Result<Option<String>, Error> {
        if budget.is_closed() {
            return Ok(self.known(symbol).flatten());
        }
        match timeout(PATIENCE, asked).await {
            Ok(Ok(Answer { found, settled })) => {
                if !settled {
                    budget.close();
                }
                Ok(found)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                tracing::debug!(symbol, "the API takes too long to name a streamer symbol; using the computed one");
                budget.close();
                Ok(None)
            }
        }
    }

    /// Asks the API unless it has answered before: first by `call`, then in the chain.
    async fn ask(
        &self,
        symbol: &str,
        call: impl std::future::Future<Output = Result<Option<String>, Error>>,
        chain: Option<Chain<'_>>,
    ) -> Result<Answer, Error> {
        if let Some(found) = self.known(symbol) {
            return Ok(Answer { found, settled: true });
        }
        let mut answer = Self::tolerate(symbol, call.await)?;
        if let Some(chain) = chain.filter(|_| answer.found.is_none()) {
            let second = Self::tolerate(symbol, self.look_up(symbol, chain).await)?;
            answer = Answer { found: second.found, settled: answer.settled && second.settled };
        }
        match &answer {
            Answer { found: Some(found), .. } => {
                self.memory().symbols.insert(symbol.to_owned(), found.clone());
            }
            Answer { found: None, settled: true } => {
                self.memory().without.insert(symbol.to_owned(), Instant::now());
            }
            Answer { found: None, settled: false } => {}
        }
        Ok(answer)
    }

    async fn look_up(&self, symbol: &str, chain: Chain<'_>) -> Result<Option<String>, Error> {
        let _turn = self.reading_chain.lock().await;
        if let Some(Some(known)) = self.known(symbol) {
            return Ok(Some(known));
        }
        let (Chain::Equity(name) | Chain::Future(name)) = chain;
        let key = format!("{chain:?}");
        let is_lately = |read: &Instant| Instant::now() < *read + TRUST_IN_NONE;
        if name.is_empty() || self.memory().chains.get(&key).is_some_and(is_lately) {
            return Ok(None);
        }
        let all: Vec<Named> = match chain {
            Chain::Equity(underlying) => self.rest.equity_chain(underlying).await?,
            Chain::Future(product) => self.rest.future_chain(product).await?,
        };
        let mut memory = self.memory();
        memory.chains.insert(key, Instant::now());
        memory.symbols.extend(all);
        Ok(memory.symbols.get(symbol).cloned())
    }

    fn tolerate(symbol: &str, result: Result<Option<String>, Error>) -> Result<Answer, Error> {
        match result {
            Ok(found) => Ok(Answer { found, settled: true }),
            Err(error @ Error::CredentialsRejected { .. }) => Err(error),
            Err(error) => {
                tracing::warn!(symbol, error = &error as &dyn std::error::Error, "no streamer symbol from the API");
                Ok(Answer { found: None, settled: false })
            }
        }
    }

    fn is_doubted(&self, computed: &str) -> bool {
        self.memory().doubted.contains(computed)
    }

    /// What the API said before, if that still holds.
    fn known(&self, symbol: &str) -> Option<Option<String>> {
        let memory = self.memory();
        if let Some(found) = memory.symbols.get(symbol) {
            return Some(Some(found.clone()));
        }
        memory.without.get(symbol).is_some_and(|said| Instant::now() < *said + TRUST_IN_NONE).then_some(None)
    }

    /// Whether the API has ever said in this session that it has no symbol for it.
    fn was_without(&self, symbol: &str) -> bool {
        self.memory().without.contains_key(symbol)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The streamer symbol of a future, which trades where its option does.
fn future_by_rule(future: &Future, option_symbol: Option<&str>) -> Option<String> {
    let mic = option_symbol.and_then(contracts::mic_of).or_else(|| contracts::mic_of_product(future.product()));
    mic.map(|mic| contracts::future_streamer_symbol(future, mic))
}

/// What the API said of a symbol.
#[derive(Debug)]
struct Answer {
    found: Option<String>,
    /// Whether it will say the same for a while.
    settled: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refused_credentials_are_not_tolerated() {
        for error in [
            Error::AccessRefused { call: "x", reason: "x".into() },
            Error::Status { call: "x", status: 401, reason: "x".into() },
            Error::Forbidden { call: "x", reason: "x".into() },
        ] {
            let answer = Resolver::tolerate("x", Err(error)).unwrap();
            assert!(answer.found.is_none() && !answer.settled);
        }
        assert!(Resolver::tolerate("x", Err(Error::CredentialsRejected { reason: "x".into() })).is_err());
    }
}
