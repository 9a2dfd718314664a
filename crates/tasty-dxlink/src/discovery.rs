//! Which options are held, and under which streamer symbols.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use broker_net::text::clean;
use futures_util::{StreamExt, stream};
use greeks_model::{AccountId, Decimal, SourceContext, UnixNanos};

use crate::contracts::{self, NamedOption};
use crate::resolver::{Budget, Resolver};
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
    /// Its last day is over, by this side's clock.
    pub(crate) expired: bool,
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

/// Whose positions are streamed.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    pub(crate) ids: Vec<AccountId>,
    /// Configured, and not open.
    pub(crate) missing: Vec<AccountId>,
}

/// Finds positions and symbols by REST; remembers symbols.
#[derive(Debug)]
pub(crate) struct Discoverer {
    rest: Arc<Rest>,
    resolver: Resolver,
    /// Symbols already complained about.
    reported: Mutex<HashSet<String>>,
}

impl Discoverer {
    pub(crate) fn new(rest: Rest) -> Self {
        let rest = Arc::new(rest);
        Self { resolver: Resolver::new(Arc::clone(&rest)), rest, reported: Mutex::default() }
    }

    pub(crate) fn rest(&self) -> &Rest {
        &self.rest
    }

    /// A session begins.
    pub(crate) fn begin(&self) {
        self.resolver.begin();
    }

    /// The open accounts to stream: those configured, or all. One that has been closed stops no other.
    pub(crate) async fn accounts(&self, config: &TastyConfig) -> Result<Accounts, Error> {
        let open = self.rest.accounts().await?;
        let Some(chosen) = &config.accounts else { return Ok(Accounts { ids: open, missing: Vec::new() }) };
        let (ids, missing): (Vec<_>, Vec<_>) = chosen.iter().cloned().partition(|account| open.contains(account));
        if ids.is_empty() && !missing.is_empty() {
            let names = masked(&missing);
            let known = if open.is_empty() { "there are none".into() } else { masked(&open) };
            return Err(Error::UnknownAccount { missing: names, known });
        }
        Ok(Accounts { ids, missing })
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
        self.resolver.doubt(symbols);
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
        let budget = Budget::new();
        let resolved = stream::iter(named).map(|(row, option)| self.holding(row, option, observed_at, &budget));
        let resolved = resolved.buffered(PARALLEL_CALLS);
        let holdings: Vec<Result<Holding, Error>> = resolved.collect().await;
        Ok(AccountHoldings { observed_at, holdings: holdings.into_iter().collect::<Result<_, _>>()?, skipped })
    }

    async fn holding(
        &self,
        row: PositionRow,
        option: NamedOption,
        observed_at: UnixNanos,
        budget: &Budget,
    ) -> Result<Holding, Error> {
        let expired = contracts::is_expired(&option.contract, observed_at);
        // It is worth no question, but the clock may be wrong: what is known is subscribed.
        let (symbol, underlying_symbol) = if expired {
            self.resolver.recall(&row, &option)
        } else {
            let symbol = self.resolver.option(&row, &option, budget).await?;
            let underlying = self.resolver.underlying(&row, &option, symbol.as_deref(), budget).await?;
            (symbol, underlying)
        };
        for (what, found) in [(row.symbol.clone(), &symbol), (option.underlying.to_string(), &underlying_symbol)] {
            if found.is_none() && !expired {
                self.report(&what, "no streamer symbol is known for it");
            }
        }
        let PositionRow { quantity, multiplier, .. } = row;
        Ok(Holding { option, quantity, multiplier, expired, symbol, underlying_symbol })
    }

    /// Complains once for the life of the source.
    fn report(&self, symbol: &str, why: &str) {
        let symbol = clean(symbol, &[]);
        if self.reported.lock().unwrap_or_else(PoisonError::into_inner).insert(symbol.clone()) {
            tracing::warn!(symbol, why, "a position cannot be streamed");
        }
    }
}

/// Accounts by the ends of their numbers.
pub(crate) fn masked(accounts: &[AccountId]) -> String {
    accounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
