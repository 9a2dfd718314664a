//! The same contract at several brokers. What is compared is what is shown: one answer of the database, not two.

use greeks_store::{LatestValues, PositionRow};

/// The positions of one contract, at all brokers that hold it.
pub(super) struct Group<'a> {
    pub(super) positions: &'a [PositionRow],
    /// Each broker once, in the order of the positions.
    brokers: Vec<Broker<'a>>,
}

/// A broker with the newest values it has sent of the contract: accounts share them.
#[derive(Clone, Copy)]
struct Broker<'a> {
    name: &'a str,
    newest: Option<&'a LatestValues>,
}

/// What one side says less what the other says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Difference<'a> {
    pub(super) of: &'a str,
    pub(super) from: &'a str,
    pub(super) delta: Option<f64>,
    pub(super) implied_volatility: Option<f64>,
}

/// The positions by contract; those of one contract stand together in `rows`.
pub(super) fn groups(rows: &[PositionRow]) -> impl Iterator<Item = Group<'_>> {
    rows.chunk_by(|a, b| a.contract_key == b.contract_key).map(Group::of)
}

impl<'a> Group<'a> {
    fn of(positions: &'a [PositionRow]) -> Self {
        let mut brokers: Vec<Broker<'_>> = Vec::new();
        for row in positions {
            let newest = row.latest.as_ref();
            match brokers.iter_mut().find(|broker| broker.name == row.broker) {
                None => brokers.push(Broker { name: &row.broker, newest }),
                Some(known) if newest.map(|n| n.event_time) > known.newest.map(|n| n.event_time) => {
                    known.newest = newest;
                }
                Some(_) => {}
            }
        }
        Self { positions, brokers }
    }

    /// Every two brokers, as in the view `v_cross_broker`.
    pub(super) fn pairs(&self) -> impl Iterator<Item = Difference<'a>> {
        let behind = |place: usize| self.brokers.iter().skip(place + 1);
        self.brokers.iter().enumerate().flat_map(move |(place, a)| behind(place).map(|b| difference(*a, *b)))
    }

    /// A position against the next broker that holds its contract, the first after the last; `None` when no other does.
    pub(super) fn against_next(&self, row: &'a PositionRow) -> Option<Difference<'a>> {
        let own = self.brokers.iter().position(|broker| broker.name == row.broker)?;
        let other = self.brokers.iter().cycle().nth(own + 1).filter(|other| other.name != row.broker)?;
        Some(difference(Broker { name: &row.broker, newest: row.latest.as_ref() }, *other))
    }
}

fn difference<'a>(a: Broker<'a>, b: Broker<'a>) -> Difference<'a> {
    let less = |value: fn(&LatestValues) -> Option<f64>| Some(value(a.newest?)? - value(b.newest?)?);
    Difference {
        of: a.name,
        from: b.name,
        delta: less(|values| values.delta),
        implied_volatility: less(|values| values.implied_volatility),
    }
}
