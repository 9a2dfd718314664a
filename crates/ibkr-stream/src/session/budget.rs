//! Which contracts get the market data lines when there are too few.

use std::collections::{HashMap, HashSet};

use super::settings::{Role, Wanted};
use crate::wire::Conid;

/// How well a contract has earned its line. The first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Has data: it is not given up for a contract that may have none.
    Live,
    /// Not subscribed, or without an answer so far.
    Untried,
    /// Subscribed, and told that there is no permission for its market data.
    Refused,
    /// Refused before, and not subscribed now.
    GivenUp,
}

/// The contracts to subscribe, in the order in which to do it: each underlying right before the first option that needs
/// it. `wanted` holds no contract twice, the most important first.
pub(super) fn choose(wanted: &[Wanted], lines: Option<usize>, standing: impl Fn(Conid) -> Standing) -> Vec<Conid> {
    let underlyings: HashSet<Conid> =
        wanted.iter().filter(|it| it.role == Role::Underlying).map(|it| it.conid).collect();
    let needs = |item: &Wanted| match item.role {
        Role::Option { underlying } => underlying.filter(|it| underlyings.contains(it) && *it != item.conid),
        Role::Underlying => None,
    };
    let needed: HashSet<Conid> = wanted.iter().filter_map(needs).collect();
    // An underlying that an option needs comes with the option.
    let items: Vec<(Conid, Option<Conid>)> =
        wanted.iter().filter(|it| !needed.contains(&it.conid)).map(|it| (it.conid, needs(it))).collect();
    let chosen = match lines {
        Some(lines) => within(lines, &items, standing),
        None => items.iter().map(|(conid, underlying)| (*conid, *underlying)).collect(),
    };
    let mut order = Vec::with_capacity(wanted.len());
    let mut seen = HashSet::new();
    for (conid, _) in items {
        if let Some(underlying) = chosen.get(&conid) {
            order.extend(underlying.iter().chain([&conid]).copied().filter(|it| seen.insert(*it)));
        }
    }
    order
}

/// The items that fit, each with the underlying that it gets. Where a line is left but no second one, an option goes
/// without its underlying's price: better than the next one in its place.
fn within(
    lines: usize,
    items: &[(Conid, Option<Conid>)],
    standing: impl Fn(Conid) -> Standing,
) -> HashMap<Conid, Option<Conid>> {
    let mut by_standing: Vec<_> = items.iter().map(|item| (standing(item.0), item)).collect();
    by_standing.sort_by_key(|(standing, _)| *standing);
    // No underlying takes the line of a contract that has data.
    let mut reserved = by_standing.iter().filter(|(standing, _)| *standing == Standing::Live).count();
    let mut chosen = HashMap::new();
    let mut paid = HashSet::new();
    let mut left = lines;
    for (standing, (conid, underlying)) in by_standing {
        if left == 0 {
            break;
        }
        left -= 1;
        reserved -= usize::from(standing == Standing::Live);
        let is_paid = underlying.is_some_and(|it| paid.contains(&it));
        let granted = underlying.filter(|_| is_paid || left > reserved);
        if let Some(underlying) = granted.filter(|_| !is_paid) {
            left -= 1;
            paid.insert(underlying);
        }
        chosen.insert(*conid, granted);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use greeks_model::{Instrument, InstrumentTable, Underlying};
    use proptest::prelude::*;

    use super::*;

    fn conid(number: i64) -> Conid {
        Conid::new(number).unwrap()
    }

    fn wanted(items: &[(i64, Option<i64>)], underlyings: &[i64]) -> Vec<Wanted> {
        let instrument = InstrumentTable::new().intern(&Instrument::Underlying(Underlying::new("X")));
        let option = |(number, underlying): &(i64, Option<i64>)| Wanted {
            conid: conid(*number),
            role: Role::Option { underlying: underlying.map(conid) },
            instrument,
        };
        let underlying = |number: &i64| Wanted { conid: conid(*number), role: Role::Underlying, instrument };
        items.iter().map(option).chain(underlyings.iter().map(underlying)).collect()
    }

    fn chosen(wanted: &[Wanted], lines: Option<usize>, live: &[i64], refused: &[i64], given_up: &[i64]) -> Vec<i64> {
        let standing = |conid: Conid| match conid.get() {
            it if live.contains(&it) => Standing::Live,
            it if refused.contains(&it) => Standing::Refused,
            it if given_up.contains(&it) => Standing::GivenUp,
            _ => Standing::Untried,
        };
        choose(wanted, lines, standing).into_iter().map(Conid::get).collect()
    }

    #[test]
    fn each_underlying_goes_ahead_of_its_first_option() {
        let wanted =
            wanted(&[(1, Some(101)), (2, Some(102)), (3, Some(101)), (4, Some(999)), (5, None)], &[102, 101, 103]);
        assert_eq!(chosen(&wanted, None, &[], &[], &[]), [101, 1, 102, 2, 3, 4, 5, 103]);
        assert_eq!(chosen(&wanted, Some(8), &[], &[], &[]), [101, 1, 102, 2, 3, 4, 5, 103]);
    }

    #[test]
    fn lines_go_by_priority_and_an_underlying_is_paid_once() {
        let wanted = wanted(&[(1, Some(101)), (2, Some(102)), (3, Some(101)), (4, None)], &[101, 102]);
        for (lines, expected) in [
            (0, &[][..]),
            (1, &[1]),
            (2, &[101, 1]),
            (3, &[101, 1, 2]),
            (4, &[101, 1, 102, 2]),
            (5, &[101, 1, 102, 2, 3]),
            (6, &[101, 1, 102, 2, 3, 4]),
        ] {
            assert_eq!(chosen(&wanted, Some(lines), &[], &[], &[]), expected, "{lines}");
        }
    }

    #[test]
    fn a_last_line_goes_to_an_option_alone() {
        let wanted = wanted(&[(1, Some(101)), (2, Some(102)), (3, Some(103))], &[101, 102, 103]);
        assert_eq!(chosen(&wanted, Some(3), &[], &[], &[]), [101, 1, 2]);
    }

    #[test]
    fn no_underlying_takes_the_line_of_a_live_option() {
        let wanted = wanted(&[(1, Some(101)), (2, Some(102)), (3, None)], &[101, 102]);
        assert_eq!(chosen(&wanted, Some(4), &[], &[], &[]), [101, 1, 102, 2]);
        assert_eq!(chosen(&wanted, Some(4), &[1, 2, 3], &[], &[]), [101, 1, 2, 3]);
    }

    #[test]
    fn live_ones_stay_and_refused_ones_give_way() {
        let wanted = wanted(&[(1, None), (2, None), (3, None), (4, None)], &[]);
        assert_eq!(chosen(&wanted, Some(2), &[3, 4], &[], &[]), [3, 4]);
        assert_eq!(chosen(&wanted, Some(2), &[4], &[], &[]), [1, 4]);
        assert_eq!(chosen(&wanted, Some(2), &[4], &[1], &[]), [2, 4]);
        // When all have been refused, those that have a line keep it.
        assert_eq!(chosen(&wanted, Some(2), &[], &[3, 4], &[1, 2]), [3, 4]);
    }

    proptest! {
        #[test]
        fn never_more_lines_than_there_are_and_none_wasted(
            options in proptest::collection::vec((1i64..40, proptest::option::of(100i64..106)), 0..30),
            underlyings in proptest::collection::btree_set(100i64..106, 0..6), lines in 0usize..30,
            live in proptest::collection::btree_set(1i64..40, 0..10),
        ) {
            let mut seen = HashSet::new();
            let options: Vec<_> = options.into_iter().filter(|(number, _)| seen.insert(*number)).collect();
            let underlyings: Vec<i64> = underlyings.into_iter().collect();
            let wanted = wanted(&options, &underlyings);
            let live: Vec<i64> = live.into_iter().collect();
            let order = chosen(&wanted, Some(lines), &live, &[], &[]);
            prop_assert!(order.len() <= lines);
            prop_assert!(order.len() == lines || order.len() == wanted.len());
            prop_assert_eq!(order.iter().collect::<HashSet<_>>().len(), order.len());
            // Once they are live, they stay, whatever the order.
            let mut turned = wanted.clone();
            turned.reverse();
            for wanted in [&wanted, &turned] {
                let again = chosen(wanted, Some(lines), &order, &[], &[]);
                prop_assert!(order.iter().all(|it| *it >= 100 || again.contains(it)), "{:?} {:?}", order, again);
            }
        }
    }
}
