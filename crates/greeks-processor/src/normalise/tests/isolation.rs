//! What an account or a source says about itself changes nothing elsewhere.

use super::*;

/// A normaliser of another source that numbers its instruments in the same table.
fn beside(bench: &Bench, name: &str) -> Bench {
    let instruments = Arc::clone(&bench.instruments);
    let mut normaliser = Normaliser::new(SourceId::new(name).unwrap(), Arc::clone(&instruments));
    normaliser.push(SourceEvent::SessionStarted { at: at(0) }, &mut Vec::new());
    Bench { instruments, normaliser, option: bench.option, underlying: bench.underlying }
}

fn held(rows: &[GreekSnapshot]) -> Vec<(&str, f64)> {
    rows.iter().map(|row| (row.series.account_id.as_str(), row.quantity)).collect()
}

#[test]
fn positions_of_one_account_leave_every_other_account_alone() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.hold("A2", 2.0);
    bench.hold("A3", 3.0);
    assert_eq!(held(&bench.quote(|u| u.delta = Some(0.1))), [("A1", 1.0), ("A2", 2.0), ("A3", 3.0)]);
    bench.hold("A2", -5.0);
    assert_eq!(held(&bench.quote(|u| u.delta = Some(0.2))), [("A1", 1.0), ("A2", -5.0), ("A3", 3.0)]);
    bench.answer("A1", vec![]);
    assert_eq!(held(&bench.quote(|u| u.delta = Some(0.3))), [("A2", -5.0), ("A3", 3.0)]);
    // An answer records one account and no other.
    let records = bench.hold("A1", 4.0);
    let [Record::Positions(record)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((&record.account_id, record.positions.len()), (&account("A1"), 1));
    assert_eq!(held(&bench.quote(|u| u.delta = Some(0.4))), [("A1", 4.0), ("A2", -5.0), ("A3", 3.0)]);
}

#[test]
fn the_same_account_number_at_two_sources_is_two_accounts() {
    let mut one_source = bench();
    let mut other = beside(&one_source, "other");
    one_source.hold("A1", 1.0);
    other.hold("A1", 7.0);
    one_source.underlying(|u| u.last_price = Some(6_700.0));
    one_source.quote(|u| u.delta = Some(0.1));

    // Nothing known at one is known at the other, and nothing stored there is a duplicate here.
    let row = one(other.quote(|u| u.delta = Some(0.1)));
    assert_eq!((row.series.broker.as_str(), row.quantity, row.underlying_price), ("other", 7.0, None));
    assert_eq!(other.normaliser.counts().duplicates, 0);
    other.answer("A1", vec![]);
    other.push(SourceEvent::Gap { since: at(10), reason: GapReason::Disconnected });
    other.reconnect();
    let row = one(one_source.quote(|u| u.vega = Some(1.0)));
    assert_eq!((row.quantity, row.delta, row.underlying_price), (1.0, Some(0.1), Some(6_700.0)));
    assert_eq!(row.flags, Flags::NONE);
    other.option_after_a_gap();
    assert_eq!(other.quote(|u| u.delta = Some(0.2)), []);
}

/// A poll that failed emits nothing. Whatever else happens meanwhile, what was held is held.
#[test]
fn a_failed_poll_changes_nothing() {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.hold("A2", 2.0);
    for round in 0..3 {
        // The connection is lost and comes back; the poll of A1 fails, that of A2 answers as before.
        bench.push(SourceEvent::Gap { since: at(10), reason: GapReason::Disconnected });
        bench.reconnect();
        assert_eq!(bench.hold("A2", 2.0), []);
        bench.option_after_a_gap();
        let rows = bench.quote(|u| (u.event_time, u.delta) = (Some(at(200 + round)), Some(0.5)));
        assert_eq!(held(&rows), [("A1", 1.0), ("A2", 2.0)], "round {round}");
    }
    assert_eq!(bench.normaliser.counts().position_changes, 2);
    // The control: an answer that says so closes the position.
    assert_eq!(bench.answer("A1", vec![]).len(), 1);
    assert_eq!(held(&bench.quote(|u| (u.event_time, u.delta) = (Some(at(300)), Some(0.6)))), [("A2", 2.0)]);
}

impl Bench {
    /// The first values of an option after a gap, which close it. A price alone gives no row.
    fn option_after_a_gap(&mut self) {
        let mut update = QuoteUpdate::new(self.option, at(95));
        update.option_price = Some(1.5);
        let records = self.push(SourceEvent::Quote { update, payload: None });
        assert!(matches!(records.as_slice(), [Record::Gap(gap)] if gap.to.is_some()), "{records:?}");
    }
}
