//! From what a source says to what is stored.

mod book;
mod computed;
mod event_time;
mod gaps;
mod memory;
#[cfg(test)]
mod model_tests;
mod quotes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use greeks_model::{
    Flags, GapRecord, GreekSnapshot, Instrument, InstrumentId, InstrumentTable, PositionSnapshot, PositionsRecord,
    QuoteUpdate, Record, SourceEvent, SourceId,
};

pub use self::computed::PricingInputs;

use self::book::{Book, Holder};
use self::event_time::EventTime;
use self::gaps::Gaps;
use self::memory::Memory;
use self::quotes::{Known, Quotes};

/// Turns the events of one source into records. Pure and synchronous; sources share nothing but the numbers of their
/// instruments, so each has a normaliser of its own.
///
/// - A message that itself carries a Greek, an implied volatility or an option price gives one row per account that
///   holds the contract, from the first known Greek of the connection epoch on. Everything else changes state only.
///   After a Greek has been known, "unknown" is news: a row without any Greek can follow.
/// - A field that is absent keeps its value, NaN forgets it, an infinity is stored as NULL and flagged for as long as
///   it is the latest word.
/// - A new epoch begins with no quote known. Positions stay: a connection that broke says nothing about them. Those of an
///   account that is followed no longer are unknown, and give no rows.
/// - A quote that came before its position is never stored after the fact: the next one gives the first row.
/// - `underlying_price` is the last trade, else the middle of bid and ask, of the position's underlying in this epoch.
/// - A row with the broker's time and the values of the last accepted row of its account and contract is a duplicate; one
///   that is older than the newest, also with those of one of the few before. Without a time of the broker there are no duplicates: identical values are two events.
/// - A Greek that the source has not sent in the epoch is computed, and the row flagged, where price of the underlying,
///   volatility and time left are known. It never replaces what the source said, be it "unknown", and has no part in
///   what makes a duplicate.
/// - A gap is open from the event that reports it until the next values of an option.
#[derive(Debug)]
pub struct Normaliser {
    source: SourceId,
    instruments: Arc<InstrumentTable>,
    pricing: Option<PricingInputs>,
    quotes: Quotes,
    book: Book,
    memory: Memory,
    gaps: Gaps,
    counts: Counts,
}

/// What a [`Normaliser`] has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Events taken.
    pub events: u64,
    /// Rows given.
    pub rows: u64,
    /// Rows suppressed because they were given before.
    pub duplicates: u64,
    /// Changes of an account's positions.
    pub position_changes: u64,
    /// Positions, counted in each answer, that are no options, have no underlying, or no finite quantity.
    pub positions_refused: u64,
    /// Gaps opened.
    pub gaps: u64,
    /// Rows given that no sink had room for.
    pub given_up: u64,
}

impl Counts {
    /// The sum of both.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            events: self.events + other.events,
            rows: self.rows + other.rows,
            duplicates: self.duplicates + other.duplicates,
            position_changes: self.position_changes + other.position_changes,
            positions_refused: self.positions_refused + other.positions_refused,
            gaps: self.gaps + other.gaps,
            given_up: self.given_up + other.given_up,
        }
    }
}

impl Normaliser {
    /// A normaliser that knows nothing yet, for events whose instruments are numbered by `instruments`. What the source
    /// does not send is computed with the default [`PricingInputs`].
    #[must_use]
    pub fn new(source: SourceId, instruments: Arc<InstrumentTable>) -> Self {
        Self {
            source,
            instruments,
            pricing: Some(PricingInputs::default()),
            quotes: Quotes::new(),
            book: Book::default(),
            memory: Memory::default(),
            gaps: Gaps::default(),
            counts: Counts::default(),
        }
    }

    /// Computes what the source does not send with these inputs, or not at all.
    #[must_use]
    pub const fn with_pricing(mut self, pricing: Option<PricingInputs>) -> Self {
        self.pricing = pricing;
        self
    }

    /// The source whose events are taken.
    #[must_use]
    pub const fn source(&self) -> &SourceId {
        &self.source
    }

    /// Remembers a row accepted by an earlier process, so that it is not stored again. To be called before streaming,
    /// in the order of acceptance: the newest row of each series in the database first, then what the journal still
    /// holds. Rows of other sources are passed over. Of a series that is not seeded, what a broker sends again after
    /// the restart is stored again.
    pub fn seed(&mut self, row: &GreekSnapshot) {
        if row.series.broker != self.source {
            return;
        }
        let instrument = self.instruments.intern(&Instrument::Option(row.series.contract.clone()));
        let line = self.memory.line(&row.series.account_id, instrument);
        self.memory.seed(line, row);
    }

    /// Takes back positions that were given and that the sink had no room for: the next answer about the account is given
    /// whatever it says.
    pub fn give_up_positions(&mut self, positions: &PositionsRecord) {
        self.book.forget(&positions.account_id);
    }

    /// Takes back a row that was given and that the sink had no room for: the next one of its account and contract is
    /// stored whatever it says, and flagged as the first after a break.
    pub fn give_up(&mut self, row: &GreekSnapshot) {
        self.counts.given_up += 1;
        let instrument = self.instruments.intern(&Instrument::Option(row.series.contract.clone()));
        let line = self.memory.line(&row.series.account_id, instrument);
        self.memory.forget(line);
    }

    /// Takes over a gap that an earlier process left open: the first values of an option that came, or come, in this process
    /// close it. Where they have come already, its record with the end is appended to `out`. Closed gaps and gaps of other
    /// sources are passed over.
    pub fn resume_gap(&mut self, gap: GapRecord, out: &mut Vec<Record>) {
        if gap.source == self.source {
            self.gaps.resume(gap, out);
        }
    }

    /// What was done so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The price of a stock or a fund in the present connection epoch: its last trade, else the middle of its market.
    #[must_use]
    pub fn price(&self, underlying: InstrumentId) -> Option<f64> {
        self.quotes.known(underlying).price(false)
    }

    /// Takes one event and appends what follows from it to `out`.
    pub fn push(&mut self, event: SourceEvent, out: &mut Vec<Record>) {
        self.counts.events += 1;
        match event {
            SourceEvent::Quote { update, payload } => self.quote(&update, payload, out),
            SourceEvent::Positions(snapshot) => self.positions(&snapshot, out),
            SourceEvent::SessionStarted { .. } => self.quotes.begin_epoch(),
            SourceEvent::Gap { since, reason } => {
                self.counts.gaps += u64::from(self.gaps.open(&self.source, since, reason, out));
            }
            SourceEvent::Unfollowed(accounts) => self.book.unfollow(&accounts),
            // It is about no position and gives no row.
            SourceEvent::Reference(_) => {}
            // An event of a later version of the vocabulary: a normaliser that does not know it cannot store it.
            other => tracing::warn!(source = %self.source, event = ?other, "an unknown kind of event was passed over"),
        }
    }

    fn positions(&mut self, snapshot: &PositionSnapshot, out: &mut Vec<Record>) {
        let replaced = self.book.replace(&self.source, snapshot, &self.instruments, &mut self.memory);
        self.counts.positions_refused += replaced.refused as u64;
        if let Some(record) = replaced.changed {
            self.counts.position_changes += 1;
            out.push(Record::Positions(record));
        }
    }

    fn quote(&mut self, update: &QuoteUpdate, mut payload: Option<Box<str>>, out: &mut Vec<Record>) {
        // Prices of an underlying come ahead of the Greeks, and on a channel of their own.
        if update.carries_option_values() {
            self.gaps.close(update.received_at, out);
        }
        let known = self.quotes.merge(update);
        if !update.carries_option_values() || !known.greek_seen {
            return;
        }
        let time = EventTime::judge(update.event_time, update.received_at);
        let epoch = self.quotes.epoch();
        let holders = self.book.holders(update.instrument);
        for (index, holder) in holders.iter().enumerate() {
            let mut row = row(update, &time, &known, holder, &self.quotes.known(holder.underlying));
            if !self.memory.accept(holder.line, &mut row, &known, time.given, epoch) {
                self.counts.duplicates += 1;
                continue;
            }
            // Only now: what is computed moves with the underlying, which does not make the event another one.
            if let (Some(terms), Some(inputs)) = (&holder.terms, &self.pricing) {
                computed::fill(&mut row, &known, terms, inputs);
            }
            let is_last = index + 1 == holders.len();
            row.source_payload = if is_last { payload.take() } else { payload.clone() };
            self.counts.rows += 1;
            out.push(Record::Snapshot(row));
        }
    }
}

fn row(update: &QuoteUpdate, time: &EventTime, known: &Known, holder: &Holder, underlying: &Known) -> GreekSnapshot {
    let mut row = GreekSnapshot::new(Arc::clone(&holder.series), time.at, update.received_at, holder.quantity);
    let finite = |value: Option<f64>| value.filter(|v| v.is_finite());
    let [delta, gamma, theta, vega, rho, implied_volatility, option_price] = known.values.map(finite);
    row.delta = delta;
    row.gamma = gamma;
    row.theta = theta;
    row.vega = vega;
    row.rho = rho;
    row.implied_volatility = implied_volatility;
    row.option_price = option_price;
    row.underlying_price = underlying.price(holder.series.contract.future().is_some());
    row.flags = update.flags;
    if known.doubtful_volatility {
        row.flags |= Flags::DOUBTFUL_IV_SCALE;
    }
    // What is computed of it is as old.
    if row.underlying_price.is_some() && underlying.is_price_delayed {
        row.flags |= Flags::DELAYED;
    }
    if time.substituted {
        row.flags |= Flags::EVENT_TIME_SUBSTITUTED;
    }
    let infinite_price = row.underlying_price.is_none() && underlying.price_is_infinite();
    if infinite_price || known.values.into_iter().flatten().any(f64::is_infinite) {
        row.flags |= Flags::NON_FINITE;
    }
    row
}
