//! Which options are held, and under which streamer symbols.
//!
//! The streamer symbol of an equity option is taken from the position, else computed: the rule is plain, and asking the
//! API costs one call per contract. Should the computed symbol stay silent, the API is asked after all, once. For an
//! option on a future the API comes first, since the symbol names an exchange that the contract does not; a small table
//! of products helps when the API has no answer. Answers are kept for the life of the source.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, stream};
use greeks_model::{AccountId, Decimal, Future, SourceContext, UnixNanos};

use crate::contracts::{self, NamedOption, OptionKind};
use crate::rest::{PositionRow, Rest};
use crate::{Error, TastyConfig};

/// REST calls under way at one time; their starts are spaced besides.
const PARALLEL_CALLS: usize = 4;

/// One option held in one account.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    pub(crate) option: NamedOption,
    pub(crate) quantity: f64,
    pub(crate) multiplier: Decimal,
    /// `None`: it cannot be subscribed.
    pub(crate) symbol: Option<String>,
    pub(crate) underlying_symbol: Option<String>,
}

/// What was learnt of one account.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) account: AccountId,
    pub(crate) result: Result<AccountHoldings, Error>,
}

/// The open options of one account.
#[derive(Debug)]
pub(crate) struct AccountHoldings {
    pub(crate) observed_at: UnixNanos,
    pub(crate) holdings: Vec<Holding>,
    /// Option positions that could not be understood.
    pub(crate) skipped: usize,
}

/// Finds positions and symbols by REST; remembers symbols.
#[derive(Debug)]
pub(crate) struct Discoverer {
    rest: Rest,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Streamer symbols as the API gave them, by REST symbol; `None` when it has none.
    symbols: HashMap<String, Option<String>>,
    /// Computed streamer symbols that stayed silent.
    doubted: HashSet<String>,
    /// Symbols already complained about.
    reported: HashSet<String>,
}

impl Discoverer {
    pub(crate) fn new(rest: Rest) -> Self {
        Self { rest, memory: Mutex::default() }
    }

    pub(crate) const fn rest(&self) -> &Rest {
        &self.rest
    }

    /// The open accounts to stream: those configured, or all. Called once per session.
    pub(crate) async fn accounts(&self, config: &TastyConfig) -> Result<Vec<AccountId>, Error> {
        // What the API did not know yesterday it may know today.
        self.memory().symbols.retain(|_, found| found.is_some());
        let open = self.rest.accounts().await?;
        let Some(chosen) = &config.accounts else { return Ok(open) };
        match chosen.iter().find(|account| !open.contains(account)) {
            None => Ok(chosen.clone()),
            Some(missing) => {
                let known: Vec<String> = open.iter().map(ToString::to_string).collect();
                let known = if known.is_empty() { "there are none".into() } else { known.join(", ") };
                Err(Error::UnknownAccount { missing: missing.to_string(), known })
            }
        }
    }

    /// Reads the positions of all accounts, each on its own: one that fails does not hide the others.
    pub(crate) async fn discover(self: Arc<Self>, accounts: Vec<AccountId>, cx: SourceContext) -> Vec<Findings> {
        let mut all = Vec::with_capacity(accounts.len());
        // Few accounts, and each asks for its symbols in parallel itself: one after the other keeps the limit.
        for account in accounts {
            all.push(Arc::clone(&self).look(account, cx.clone()).await);
        }
        all
    }

    /// Reads the positions of one account.
    pub(crate) async fn look(self: Arc<Self>, account: AccountId, cx: SourceContext) -> Findings {
        let result = self.account(&account, &cx).await;
        Findings { account, result }
    }

    /// The streamer never answered to these symbols: those that were computed are asked of the API at the next look.
    pub(crate) fn doubt(&self, symbols: impl IntoIterator<Item = String>) {
        self.memory().doubted.extend(symbols);
    }

    async fn account(&self, account: &AccountId, cx: &SourceContext) -> Result<AccountHoldings, Error> {
        let positions = self.rest.positions(account).await?;
        let observed_at = cx.now();
        let mut skipped = positions.skipped.len();
        for (symbol, why) in &positions.skipped {
            self.report(symbol, why);
        }
        let mut named = Vec::new();
        for row in positions.rows {
            let read = if row.on_future { contracts::future_option } else { contracts::equity_option };
            match read(&row.symbol, &row.underlying_symbol) {
                Ok(option) => named.push((row, option)),
                Err(error) => {
                    skipped += 1;
                    self.report(&row.symbol, &error.to_string());
                }
            }
        }
        let resolved = stream::iter(named).map(|(row, option)| self.holding(row, option)).buffered(PARALLEL_CALLS);
        let holdings: Vec<Result<Holding, Error>> = resolved.collect().await;
        Ok(AccountHoldings { observed_at, holdings: holdings.into_iter().collect::<Result<_, _>>()?, skipped })
    }

    async fn holding(&self, row: PositionRow, option: NamedOption) -> Result<Holding, Error> {
        let symbol = match (&row.streamer_symbol, &option.kind) {
            (Some(known), _) => Some(known.clone()),
            (None, OptionKind::Equity) => Some(self.equity_option(&row.symbol, &option).await?),
            (None, OptionKind::Future { option: code, future }) => {
                self.future_option(&row.symbol, &option, code, future).await?
            }
        };
        let underlying_symbol = match &option.kind {
            OptionKind::Equity => Some(option.underlying.to_string()),
            OptionKind::Future { future, .. } => self.future(&row.underlying_symbol, future, symbol.as_deref()).await?,
        };
        for (what, found) in [(row.symbol.clone(), &symbol), (option.underlying.to_string(), &underlying_symbol)] {
            if found.is_none() {
                self.report(&what, "no streamer symbol is known for it");
            }
        }
        Ok(Holding { option, quantity: row.quantity, multiplier: row.multiplier, symbol, underlying_symbol })
    }

    async fn equity_option(&self, rest_symbol: &str, option: &NamedOption) -> Result<String, Error> {
        let computed = contracts::equity_streamer_symbol(&option.contract);
        let known = self.memory().symbols.get(rest_symbol).cloned();
        let doubted = self.memory().doubted.contains(&computed);
        let found = match known {
            Some(known) => known,
            None if doubted => self.ask(rest_symbol, self.rest.equity_option_symbol(rest_symbol)).await?,
            None => None,
        };
        Ok(found.unwrap_or(computed))
    }

    async fn future_option(
        &self,
        rest_symbol: &str,
        option: &NamedOption,
        code: &Future,
        future: &Future,
    ) -> Result<Option<String>, Error> {
        let found = self.ask(rest_symbol, self.rest.future_option_symbol(rest_symbol)).await?;
        Ok(found.or_else(|| {
            let mic = contracts::mic_of_product(future.product())?;
            Some(contracts::future_option_streamer_symbol(code, &option.contract, mic))
        }))
    }

    async fn future(
        &self,
        rest_symbol: &str,
        future: &Future,
        option_symbol: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let rest_symbol = rest_symbol.trim();
        let found = match rest_symbol {
            "" => None,
            symbol => self.ask(symbol, self.rest.future_symbol(symbol)).await?,
        };
        Ok(found.or_else(|| {
            // An option trades where its future does.
            let mic =
                option_symbol.and_then(contracts::mic_of).or_else(|| contracts::mic_of_product(future.product()))?;
            Some(contracts::future_streamer_symbol(future, mic))
        }))
    }

    /// Asks the API unless it has answered before. An API in trouble is no reason to be without a symbol that can be
    /// computed: only refused credentials are an error here.
    async fn ask(
        &self,
        rest_symbol: &str,
        call: impl std::future::Future<Output = Result<Option<String>, Error>>,
    ) -> Result<Option<String>, Error> {
        if let Some(known) = self.memory().symbols.get(rest_symbol) {
            return Ok(known.clone());
        }
        match call.await {
            Ok(found) => {
                self.memory().symbols.insert(rest_symbol.to_owned(), found.clone());
                Ok(found)
            }
            Err(error @ Error::CredentialsRejected { .. }) => Err(error),
            Err(error) => {
                tracing::warn!(
                    symbol = rest_symbol,
                    error = &error as &dyn std::error::Error,
                    "no streamer symbol from the API"
                );
                Ok(None)
            }
        }
    }

    /// Complains once for the life of the source.
    fn report(&self, symbol: &str, why: &str) {
        let symbol = crate::error::clean(symbol, &[]);
        if self.memory().reported.insert(symbol.clone()) {
            tracing::warn!(symbol, why, "a position cannot be streamed");
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
