//! What contract a position is in.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use greeks_model::{Contract, Decimal, Future, Underlying};

use crate::Error;
use crate::contracts::{self, ContractFault};
use crate::rest::{AssetClass, ContractInfo, PositionRow, Rest, Terms};
use crate::wire::Conid;

/// Answers remembered. Nobody trades so many contracts while the program runs; should it be, all are asked for again.
const MOST_ANSWERS: usize = 20_000;

/// A contract and what it is written on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Identity {
    pub(super) contract: Contract,
    pub(super) underlying: Underlying,
    pub(super) underlying_conid: Option<Conid>,
    pub(super) multiplier: Option<Decimal>,
}

impl Identity {
    fn is_whole(&self) -> bool {
        self.underlying_conid.is_some() && self.multiplier.is_some()
    }
}

/// Finds out what contracts are; remembers answers for the life of the source.
#[derive(Debug, Default)]
pub(super) struct Identities {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    definitions: HashMap<Conid, Terms>,
    infos: HashMap<Conid, ContractInfo>,
    /// What contracts were found to be.
    identities: HashMap<Conid, Identity>,
}

impl Identities {
    /// Asks, in few calls, for the definitions of those contracts whose rows do not tell enough.
    ///
    /// # Errors
    /// Those that will go away. A gateway that does not know a contract is no error.
    pub(super) async fn learn(&self, rest: &Rest, rows: &[PositionRow]) -> Result<(), Error> {
        let lacking = rows.iter().filter(|row| is_short(row)).map(|row| row.conid);
        self.define(rest, lacking.collect()).await?;
        // The symbol of what such an option is written on may stand only in that one's own definition.
        let underlyings = rows.iter().filter(|row| row.terms.class != Some(AssetClass::FutureOption));
        let underlyings = underlyings.filter_map(|row| {
            let terms = self.terms(row);
            terms.symbol.is_none().then_some(terms.underlying).flatten()
        });
        self.define(rest, underlyings.collect()).await
    }

    /// What contract a row is about. Rows lose fields from one answer to the next: a contract that was understood once
    /// stays so, for as long as nothing tells of another one under its number.
    ///
    /// # Errors
    /// As [`Identities::learn`].
    pub(super) async fn of(&self, rest: &Rest, row: &PositionRow) -> Result<Result<Identity, ContractFault>, Error> {
        let found = self.identify(rest, row).await?;
        let mut memory = self.memory();
        Ok(match (found, memory.identities.get(&row.conid)) {
            (Err(fault), None) => Err(fault),
            (Err(fault), Some(known)) => {
                tracing::debug!(position = row.name(), %fault, "a position is told with less than before");
                Ok(known.clone())
            }
            (Ok(found), Some(known)) if known.is_whole() && !found.is_whole() && known.contract == found.contract => {
                Ok(known.clone())
            }
            (Ok(found), _) => {
                if memory.identities.len() >= MOST_ANSWERS {
                    memory.identities.clear();
                }
                memory.identities.insert(row.conid, found.clone());
                Ok(found)
            }
        })
    }

    async fn identify(&self, rest: &Rest, row: &PositionRow) -> Result<Result<Identity, ContractFault>, Error> {
        let terms = self.terms(row);
        match terms.class {
            Some(AssetClass::Option) => self.option(rest, row, terms).await,
            Some(AssetClass::FutureOption) => self.future_option(rest, row, terms).await,
            _ => Ok(Err(ContractFault::NoClass)),
        }
    }

    async fn option(
        &self,
        rest: &Rest,
        row: &PositionRow,
        mut terms: Terms,
    ) -> Result<Result<Identity, ContractFault>, Error> {
        if !contracts::may_be_occ(&terms) {
            return Ok(Err(ContractFault::NotOcc));
        }
        let bracketed = contracts::bracketed(&row.description);
        let multiplier = bracketed.as_ref().and_then(|it| it.multiplier);
        let contract = match contracts::described_option(bracketed, &terms) {
            Ok(Some(contract)) => contract,
            outcome => {
                let contradicted = outcome.is_err();
                let Some(info) = self.info(rest, row.conid).await? else {
                    return Ok(Err(if contradicted { ContractFault::Contradiction } else { ContractFault::NoRoot }));
                };
                // Of a row that contradicts itself nothing is believed.
                let told = if contradicted { Terms::default() } else { terms.clone() };
                match contracts::listed_option(&info, &told) {
                    Ok(contract) => {
                        terms = terms.or(&info.terms);
                        contract
                    }
                    Err(fault) => return Ok(Err(fault)),
                }
            }
        };
        let symbol = terms.symbol.as_deref().and_then(contracts::canonical_symbol);
        let symbol = symbol.or_else(|| {
            let definition = self.memory().definitions.get(&terms.underlying?).cloned();
            definition?.symbol.as_deref().and_then(contracts::canonical_symbol)
        });
        let symbol = symbol.or_else(|| contracts::described_symbol(&row.description));
        // Last of all the root, which is the underlying's symbol for most.
        let symbol = symbol.unwrap_or_else(|| contract.root().to_owned());
        Ok(Ok(Identity {
            contract,
            underlying: Underlying::new(&symbol),
            underlying_conid: terms.underlying,
            multiplier: terms.multiplier.or(multiplier),
        }))
    }

    async fn future_option(
        &self,
        rest: &Rest,
        row: &PositionRow,
        mut terms: Terms,
    ) -> Result<Result<Identity, ContractFault>, Error> {
        let whole = terms.underlying.is_some() && terms.multiplier.is_some() && has_terms(&terms);
        if !whole && let Some(info) = self.info(rest, row.conid).await? {
            terms = terms.or(&info.terms);
        }
        let Some(underlying_conid) = terms.underlying else { return Ok(Err(ContractFault::NoFuture)) };
        let Some(future) = self.future(rest, underlying_conid, &terms).await? else {
            return Ok(Err(ContractFault::NoFuture));
        };
        let underlying = Underlying::new(&future.to_string());
        Ok(contracts::future_option(future, &terms).map(|contract| Identity {
            contract,
            underlying,
            underlying_conid: Some(underlying_conid),
            multiplier: terms.multiplier,
        }))
    }

    async fn future(&self, rest: &Rest, conid: Conid, option: &Terms) -> Result<Option<Future>, Error> {
        let info = self.info(rest, conid).await?;
        Ok(info.and_then(|info| contracts::future(&info, option.expiration.or(option.last_trading_day))))
    }

    /// A contract with its exchange's names; `None` when the gateway does not tell.
    async fn info(&self, rest: &Rest, conid: Conid) -> Result<Option<ContractInfo>, Error> {
        if let Some(known) = self.memory().infos.get(&conid) {
            return Ok(Some(known.clone()));
        }
        match rest.contract_info(conid).await {
            Ok(info) => {
                let mut memory = self.memory();
                if memory.infos.len() >= MOST_ANSWERS {
                    memory.infos.clear();
                }
                memory.infos.insert(conid, info.clone());
                Ok(Some(info))
            }
            Err(Error::Status { .. } | Error::Body { .. } | Error::BodyTooLarge { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn define(&self, rest: &Rest, mut conids: Vec<Conid>) -> Result<(), Error> {
        conids.retain(|conid| !self.memory().definitions.contains_key(conid));
        conids.sort_unstable();
        conids.dedup();
        if conids.is_empty() {
            return Ok(());
        }
        match rest.secdef(&conids).await {
            Ok(definitions) => {
                let mut memory = self.memory();
                if memory.definitions.len() + definitions.len() > MOST_ANSWERS {
                    memory.definitions.clear();
                }
                memory.definitions.extend(definitions.into_iter().map(|it| (it.conid, it.terms)));
                Ok(())
            }
            Err(Error::Status { .. } | Error::Body { .. } | Error::BodyTooLarge { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the row and its definition tell.
    fn terms(&self, row: &PositionRow) -> Terms {
        match self.memory().definitions.get(&row.conid) {
            Some(definition) => row.terms.clone().or(definition),
            None => row.terms.clone(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_terms(terms: &Terms) -> bool {
    let date = terms.expiration.or(terms.last_trading_day);
    date.is_some() && terms.option_type.is_some() && terms.strike.is_some_and(|it| !it.is_zero())
}

/// Whether the row leaves something open that its definition may tell.
fn is_short(row: &PositionRow) -> bool {
    let terms = &row.terms;
    let multiplier = terms.multiplier.or_else(|| contracts::bracketed(&row.description)?.multiplier);
    let common = terms.class.is_none() || terms.underlying.is_none() || multiplier.is_none();
    common
        || match terms.class {
            Some(AssetClass::FutureOption) => !has_terms(terms),
            _ => terms.symbol.is_none(),
        }
}
