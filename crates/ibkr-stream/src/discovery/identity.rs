//! What contract a position is in.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use greeks_model::{Contract, Decimal, Future, Underlying};
use tokio::time::Instant;

use crate::Error;
use crate::contracts::{self, ContractFault};
use crate::rest::{AssetClass, ContractInfo, Definition, MOST_DEFINITIONS, PositionRow, Terms};
use crate::wire::Conid;

use super::inquiry::{Inquiry, Outcome};

/// Answers remembered. Nobody trades so many contracts while the program runs; should it be, all are asked for again.
const MOST_ANSWERS: usize = 20_000;

/// What the gateway refuses is asked for again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// How often one look halves its questions: enough for two bad contracts among the most that are asked for at once.
const MOST_SPLITS: u32 = 16;

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
    infos: HashMap<Conid, (ContractInfo, Instant)>,
    /// What contracts were found to be.
    identities: HashMap<Conid, Identity>,
    /// Contracts whose definitions are refused.
    bad: Refused,
    /// Options whose underlyings are not told.
    no_underlying: Refused,
    /// When definitions were refused of whatever contract.
    all_refused: Option<Instant>,
}

/// Contracts that the gateway said nothing of a while ago.
#[derive(Debug, Default)]
struct Refused(HashMap<Conid, Instant>);

impl Refused {
    fn add(&mut self, conids: impl IntoIterator<Item = Conid>) {
        self.0.retain(|_, at| at.elapsed() < ASK_AGAIN);
        self.0.extend(conids.into_iter().map(|conid| (conid, Instant::now())));
    }

    fn holds(&self, conid: Conid) -> bool {
        self.0.get(&conid).is_some_and(|at| at.elapsed() < ASK_AGAIN)
    }
}

impl Identities {
    /// Asks, in few calls, for the definitions of those contracts whose rows do not tell enough.
    ///
    /// # Errors
    /// Those that all other calls would have too. A gateway that does not tell of a contract, or not now, is no error.
    pub(super) async fn learn(&self, inquiry: &Inquiry<'_>, rows: &[PositionRow]) -> Result<(), Error> {
        let lacking = rows.iter().filter(|row| is_short(row)).map(|row| row.conid);
        self.define(inquiry, lacking.collect()).await?;
        // The symbol of what such an option is written on may stand only in that one's own definition.
        let underlyings = rows.iter().filter(|row| row.terms.class != Some(AssetClass::FutureOption));
        let underlyings = underlyings.filter_map(|row| {
            let terms = self.terms(row);
            terms.symbol.is_none().then_some(terms.underlying).flatten()
        });
        self.define(inquiry, underlyings.collect()).await
    }

    /// What contract a row is about. Rows lose fields from one answer to the next: a contract that was understood once
    /// stays so, for as long as nothing tells of another one under its number.
    ///
    /// # Errors
    /// As [`Identities::learn`].
    pub(super) async fn of(
        &self,
        inquiry: &Inquiry<'_>,
        row: &PositionRow,
    ) -> Result<Result<Identity, ContractFault>, Error> {
        let found = self.identify(inquiry, row).await?;
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

    async fn identify(
        &self,
        inquiry: &Inquiry<'_>,
        row: &PositionRow,
    ) -> Result<Result<Identity, ContractFault>, Error> {
        let terms = self.terms(row);
        match terms.class {
            Some(AssetClass::Option) => self.option(inquiry, row, terms).await,
            Some(AssetClass::FutureOption) => self.future_option(inquiry, row, terms).await,
            _ => Ok(Err(ContractFault::NoClass)),
        }
    }

    async fn option(
        &self,
        inquiry: &Inquiry<'_>,
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
                let Some(info) = self.info(inquiry, row.conid).await? else {
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
        if terms.underlying.is_none() {
            terms.underlying = self.underlying(inquiry, row.conid).await?;
        }
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
        inquiry: &Inquiry<'_>,
        row: &PositionRow,
        mut terms: Terms,
    ) -> Result<Result<Identity, ContractFault>, Error> {
        let whole = terms.underlying.is_some() && terms.multiplier.is_some() && has_terms(&terms);
        if !whole && let Some(info) = self.info(inquiry, row.conid).await? {
            terms = terms.or(&info.terms);
        }
        let Some(underlying_conid) = terms.underlying else { return Ok(Err(ContractFault::NoFuture)) };
        let Some(future) = self.future(inquiry, underlying_conid, &terms).await? else {
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

    async fn future(&self, inquiry: &Inquiry<'_>, conid: Conid, option: &Terms) -> Result<Option<Future>, Error> {
        let info = self.info(inquiry, conid).await?;
        Ok(info.and_then(|info| contracts::future(&info, option.expiration.or(option.last_trading_day))))
    }

    /// The underlying of an option that neither its row nor its definition tells. One that is refused here too is not asked
    /// for with every look.
    async fn underlying(&self, inquiry: &Inquiry<'_>, conid: Conid) -> Result<Option<Conid>, Error> {
        let known = self.memory().identities.get(&conid).and_then(|it| it.underlying_conid);
        if known.is_some() || self.memory().no_underlying.holds(conid) {
            return Ok(known);
        }
        match self.ask_info(inquiry, conid).await? {
            Outcome::Told(info) => Ok(info.terms.underlying),
            Outcome::Refused | Outcome::Untold => {
                self.memory().no_underlying.add([conid]);
                Ok(None)
            }
            Outcome::NotNow => Ok(None),
        }
    }

    /// A contract with its exchange's names; `None` when the gateway does not tell.
    async fn info(&self, inquiry: &Inquiry<'_>, conid: Conid) -> Result<Option<ContractInfo>, Error> {
        Ok(match self.ask_info(inquiry, conid).await? {
            Outcome::Told(info) => Some(info),
            Outcome::Refused | Outcome::Untold | Outcome::NotNow => None,
        })
    }

    async fn ask_info(&self, inquiry: &Inquiry<'_>, conid: Conid) -> Result<Outcome<ContractInfo>, Error> {
        // An answer without names may be that of a gateway that has not woken up: it is good for a while.
        let lasts = |known: &ContractInfo| known.local_symbol.is_some() || known.trading_class.is_some();
        if let Some((known, at)) = self.memory().infos.get(&conid)
            && (lasts(known) || at.elapsed() < ASK_AGAIN)
        {
            return Ok(Outcome::Told(known.clone()));
        }
        let outcome = inquiry.info(conid).await?;
        if let Outcome::Told(info) = &outcome {
            let mut memory = self.memory();
            if memory.infos.len() >= MOST_ANSWERS {
                memory.infos.clear();
            }
            memory.infos.insert(conid, (info.clone(), Instant::now()));
        }
        Ok(outcome)
    }

    /// Asks for definitions. One bad contract can spoil the answer for all: a question that is refused is asked again in
    /// halves, down to the bad ones, which are then left out for a while.
    async fn define(&self, inquiry: &Inquiry<'_>, mut conids: Vec<Conid>) -> Result<(), Error> {
        let mut splits = {
            let memory = self.memory();
            conids.retain(|conid| !memory.definitions.contains_key(conid) && !memory.bad.holds(*conid));
            if memory.all_refused.is_some_and(|at| at.elapsed() < ASK_AGAIN) { 0 } else { MOST_SPLITS }
        };
        conids.sort_unstable();
        conids.dedup();
        let mut questions: Vec<&[Conid]> = conids.chunks(MOST_DEFINITIONS).rev().collect();
        let (mut is_told, mut is_split, mut bad) = (false, false, Vec::new());
        while let Some(question) = questions.pop() {
            match inquiry.definitions(question).await? {
                Outcome::Told(definitions) => {
                    is_told = true;
                    self.remember(definitions);
                }
                Outcome::Refused => match question {
                    [conid] => bad.push(*conid),
                    _ if splits > 0 => {
                        splits -= 1;
                        is_split = true;
                        let (first, second) = question.split_at(question.len() / 2);
                        questions.extend([second, first]);
                    }
                    _ => {}
                },
                Outcome::Untold | Outcome::NotNow => {}
            }
        }
        let mut memory = self.memory();
        if is_told {
            memory.bad.add(bad);
        } else if is_split {
            // It is not about contracts.
            memory.all_refused = Some(Instant::now());
        }
        Ok(())
    }

    fn remember(&self, definitions: Vec<Definition>) {
        let mut memory = self.memory();
        if memory.definitions.len() + definitions.len() > MOST_ANSWERS {
            memory.definitions.clear();
        }
        memory.definitions.extend(definitions.into_iter().map(|it| (it.conid, it.terms)));
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
