//! Who holds which contract.

use std::sync::Arc;

use greeks_model::{
    AccountId, Decimal, Instrument, InstrumentId, InstrumentTable, Position, PositionSnapshot, PositionsRecord, Series,
    SourceId,
};

use super::computed::Terms;
use super::memory::{LineId, Memory};

/// The open positions of all accounts at one source. They outlive a connection: until an account's positions have been
/// read again, the last answer is the best there is.
#[derive(Debug, Default)]
pub(super) struct Book {
    accounts: Vec<Account>,
    /// By [`InstrumentId::index`], in the order of `accounts`.
    holders: Vec<Vec<Holder>>,
}

#[derive(Debug)]
struct Account {
    id: AccountId,
    /// In the order of instruments, each once.
    held: Vec<Held>,
    refused: usize,
    /// `held` was given; not before the first answer, nor when it was given up.
    told: bool,
}

#[derive(Clone, Debug)]
struct Held {
    position: Position,
    series: Arc<Series>,
    terms: Option<Terms>,
}

impl Account {
    fn holding(&self, instrument: InstrumentId) -> Option<&Held> {
        let at = self.held.binary_search_by_key(&instrument, |held| held.position.instrument);
        at.ok().and_then(|at| self.held.get(at))
    }
}

/// One account's position in a contract.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    account: usize,
    pub(super) series: Arc<Series>,
    pub(super) quantity: f64,
    pub(super) underlying: InstrumentId,
    pub(super) line: LineId,
    /// What its Greeks can be computed with.
    pub(super) terms: Option<Terms>,
}

/// What an answer about positions led to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Replaced {
    /// The account's book, when it differs from the one given last or is the first.
    pub(super) changed: Option<PositionsRecord>,
    /// Positions that cannot be understood: no option, no underlying, or a quantity that is not a number.
    pub(super) refused: usize,
}

impl Book {
    /// Who holds `instrument`.
    pub(super) fn holders(&self, instrument: InstrumentId) -> &[Holder] {
        self.holders.get(instrument.index()).map_or(&[], Vec::as_slice)
    }

    /// What was given last of an account was given up after all: its next answer counts as the first.
    pub(super) fn forget(&mut self, account: &AccountId) {
        self.accounts.iter_mut().filter(|known| known.id == *account).for_each(|known| known.told = false);
    }

    /// What these accounts hold is not known any more: their next answers count as the first.
    pub(super) fn unfollow(&mut self, gone: &[AccountId]) {
        for (index, account) in self.accounts.iter_mut().enumerate().filter(|(_, account)| gone.contains(&account.id)) {
            for held in account.held.drain(..) {
                if let Some(holders) = self.holders.get_mut(held.position.instrument.index()) {
                    holders.retain(|holder| holder.account != index);
                }
            }
            (account.refused, account.told) = (0, false);
        }
    }

    /// Replaces one account's positions.
    pub(super) fn replace(
        &mut self,
        source: &SourceId,
        snapshot: &PositionSnapshot,
        instruments: &InstrumentTable,
        memory: &mut Memory,
    ) -> Replaced {
        let seen = self.accounts.iter().position(|account| account.id == snapshot.account_id);
        let index = seen.unwrap_or(self.accounts.len());
        if seen.is_none() {
            let id = snapshot.account_id.clone();
            self.accounts.push(Account { id, held: Vec::new(), refused: 0, told: false });
        }
        let Some(account) = self.accounts.get_mut(index) else { return Replaced::default() };

        let open = net(&snapshot.positions);
        let mut refused = 0;
        let mut held = Vec::with_capacity(open.len());
        for position in open {
            let resolved = resolve(source, account, position, instruments);
            refused += usize::from(resolved.is_none());
            // What cannot be understood must not read as closed: what was known of it stays.
            held.extend(resolved.or_else(|| account.holding(position.instrument).cloned()));
        }
        // Answers come every few seconds and are mostly alike: told once.
        if refused > account.refused {
            tracing::warn!(%source, account = %account.id, refused, "positions that cannot be understood");
        }
        account.refused = refused;
        if account.told && held.iter().map(|h| h.position).eq(account.held.iter().map(|h| h.position)) {
            return Replaced { changed: None, refused };
        }

        for gone in &account.held {
            if let Some(holders) = self.holders.get_mut(gone.position.instrument.index()) {
                holders.retain(|holder| holder.account != index);
            }
        }
        for Held { position, series, terms } in &held {
            let slot = position.instrument.index();
            if slot >= self.holders.len() {
                self.holders.resize_with(slot + 1, Vec::new);
            }
            let Some(holders) = self.holders.get_mut(slot) else { continue };
            let place = holders.partition_point(|holder| holder.account < index);
            let holder = Holder {
                account: index,
                series: Arc::clone(series),
                quantity: position.quantity,
                underlying: position.underlying,
                line: memory.line(&account.id, position.instrument),
                terms: *terms,
            };
            holders.insert(place, holder);
        }
        let positions = held.iter().map(|h| (Arc::clone(&h.series), h.position.quantity)).collect();
        account.held = held;
        account.told = true;
        let changed = PositionsRecord {
            source: source.clone(),
            account_id: account.id.clone(),
            observed_at: snapshot.observed_at,
            positions,
        };
        Replaced { changed: Some(changed), refused }
    }
}

/// One position per contract, in the order of instruments: lots are added up, and what adds up to nothing is not held.
fn net(positions: &[Position]) -> Vec<Position> {
    let mut sorted = positions.to_vec();
    sorted.sort_by_key(|position| position.instrument);
    sorted.dedup_by(|lot, kept| {
        let same = lot.instrument == kept.instrument;
        if same {
            kept.quantity += lot.quantity;
        }
        same
    });
    sorted.retain(|position| position.quantity != 0.0);
    sorted
}

/// Names the position's series, the one used before where nothing of it has changed.
fn resolve(source: &SourceId, account: &Account, position: Position, instruments: &InstrumentTable) -> Option<Held> {
    if !position.quantity.is_finite() {
        return None;
    }
    if let Some(held) = account.holding(position.instrument)
        && same_terms(&held.position, position.underlying, position.multiplier)
    {
        return Some(Held { position, ..held.clone() });
    }
    let (option, underlying) = (instruments.get(position.instrument)?, instruments.get(position.underlying)?);
    let (Instrument::Option(contract), Instrument::Underlying(underlying)) = (&*option, &*underlying) else {
        return None;
    };
    let series = Series {
        broker: source.clone(),
        account_id: account.id.clone(),
        contract: contract.clone(),
        underlying: Arc::clone(underlying.symbol()),
        multiplier: position.multiplier,
    };
    Some(Held { position, terms: Terms::of(&series.contract), series: Arc::new(series) })
}

fn same_terms(position: &Position, underlying: InstrumentId, multiplier: Decimal) -> bool {
    position.underlying == underlying && position.multiplier == multiplier
}
