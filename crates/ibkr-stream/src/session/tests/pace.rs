//! Differences, order and renewals.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[test]
fn only_differences_are_sent_and_what_goes_makes_room_first() {
    let mut bench = Bench::open(settings());
    bench.want(&[(1, Some(UNDERLYINGS)), (2, Some(UNDERLYINGS + 1))], &[UNDERLYINGS, UNDERLYINGS + 1]);
    assert_eq!(bench.texts(2.0), [smd(UNDERLYINGS), smd(1), smd(UNDERLYINGS + 1), smd(2)]);
    bench.want(&[(2, Some(UNDERLYINGS + 1)), (1, Some(UNDERLYINGS))], &[UNDERLYINGS + 1, UNDERLYINGS]);
    assert_eq!(bench.texts(2.0), [""; 0]);
    bench.want(&[(3, Some(UNDERLYINGS + 1)), (2, Some(UNDERLYINGS + 1))], &[UNDERLYINGS + 1]);
    assert_eq!(bench.texts(2.0), [umd(1), umd(UNDERLYINGS), smd(3)]);
    bench.want(&[], &[]);
    assert_eq!(bench.texts(2.0), [umd(2), umd(3), umd(UNDERLYINGS + 1)]);
    assert_eq!(bench.session.report(), Report::default());
}

#[test]
fn a_contract_named_twice_is_subscribed_once() {
    let mut bench = Bench::open(settings());
    bench.want(&[(1, None), (2, None), (1, Some(UNDERLYINGS))], &[UNDERLYINGS, UNDERLYINGS]);
    assert_eq!(bench.texts(2.0), [smd(1), smd(2), smd(UNDERLYINGS)]);
    assert_eq!(bench.session.report().total().wanted, 3);
}

#[test]
fn what_is_wanted_again_before_its_end_was_sent_goes_on() {
    let mut bench = Bench::open(settings());
    bench.want_options([1, 2]);
    bench.texts(1.0);
    bench.data([1, 2]);
    bench.want_options([]);
    assert_eq!(bench.frame(&data(1)).unwrap(), Received::Control, "nobody wants it now");
    bench.want_options([2, 1]);
    assert_eq!(bench.texts(1.0), [""; 0]);
    assert_eq!(bench.options().live, 2);
    // Renewed as if nothing had been.
    let renewed = bench.run(500.0, |_| vec![1, 2]);
    assert!([1, 2].iter().all(|number| renewed.iter().any(|(_, text)| *text == smd(*number))));
}

#[test]
fn a_change_of_role_asks_for_the_other_fields() {
    let mut bench = Bench::open(settings());
    bench.want(&[], &[UNDERLYINGS]);
    assert_eq!(bench.texts(1.0), [smd(UNDERLYINGS)]);
    bench.want(&[(UNDERLYINGS, None)], &[]);
    assert_eq!(bench.texts(1.0), [Outgoing::SubscribeOption(conid(UNDERLYINGS)).to_text()]);
}

#[test]
fn renewals_of_a_burst_are_spread_and_then_keep_their_turn() {
    let mut bench = Bench::open(settings());
    bench.want_options(1..=200);
    let everybody = || (1..=200).collect::<Vec<i64>>();
    let mut next = Duration::ZERO;
    let sent = bench.run(3000.0, |at| {
        if at < next {
            return Vec::new();
        }
        next = at + secs(5.0);
        everybody()
    });
    let at = |number: i64| -> Vec<f64> {
        let text = smd(number);
        sent.iter().filter(|(_, it)| *it == text).map(|(at, _)| at.as_secs_f64()).collect()
    };
    for number in everybody() {
        let times = at(number);
        assert!(times[0] < 21.0);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((240.0..482.0).contains(&gaps[0]), "{gaps:?}");
        assert!(gaps[1..].iter().all(|gap| (479.9..485.0).contains(gap)), "{gaps:?}");
    }
    // The first subscriptions took 20 s; the renewals take minutes.
    let mut by_ten_seconds: HashMap<u64, usize> = HashMap::new();
    for (at, _) in sent.iter().filter(|(at, text)| at.as_secs() > 30 && text.starts_with("smd")) {
        *by_ten_seconds.entry(at.as_secs() / 10).or_default() += 1;
    }
    assert!(by_ten_seconds.values().all(|count| *count <= 20), "{by_ten_seconds:?}");
}

#[test]
fn new_subscriptions_go_before_renewals_but_not_at_their_life() {
    let mut bench = Bench::open(settings());
    bench.want_options(1..=5350);
    let sent = bench.run(1300.0, |_| Vec::new());
    let firsts = sent.iter().filter(|(_, text)| text.starts_with("smd")).take(5350);
    assert!(firsts.zip(1..).all(|((_, text), number)| *text == smd(number)));
    assert_eq!(bench.options().sent, 5350);
    assert_eq!(bench.session.take_signals().lost, None);
}

#[test]
fn more_contracts_than_can_be_kept_are_not_begun() {
    let mut bench = Bench::open(settings());
    bench.want_options(1..=7000);
    let sent = bench.run(2000.0, |_| Vec::new());
    assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 < SPACING * 2), "sends without a pause");
    let counts = bench.options();
    assert!((5000..6000).contains(&counts.sent), "{counts:?}");
    assert_eq!(bench.session.take_signals().lost, None, "those that were begun live");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn one_message_per_spacing_and_no_subscription_older_than_its_life(
        count in 1i64..900, talkative in 1i64..20, changes in proptest::collection::vec((0.0f64..700.0, 0i64..900, 1i64..900), 0..4),
        jitter in 0u64..60, lines in proptest::option::of(1usize..900),
    ) {
        let mut bench = Bench::open(Settings { lines, ..settings() });
        let mut wanted = 1..=count;
        bench.want_options(wanted.clone());
        let mut sent_at: HashMap<i64, Instant> = HashMap::new();
        let mut last: Option<Instant> = None;
        let mut changes = changes.into_iter().map(|(at, from, count)| (bench.start + secs(at), from, count)).collect::<Vec<_>>();
        changes.sort_by_key(|change| std::cmp::Reverse(change.0));
        let mut beat = bench.now;
        while bench.now < bench.start + secs(1500.0) {
            if bench.now >= beat {
                beat = bench.now + secs(10.0);
                bench.frame(HEARTBEAT).unwrap();
                for number in sent_at.keys().filter(|number| *number % talkative == 0).copied().collect::<Vec<_>>() {
                    bench.frame(&data(number)).unwrap();
                }
                while bench.session.next_event().is_some() {}
            }
            while let Some((_, from, count)) = changes.pop_if(|change| change.0 <= bench.now) {
                wanted = from + 1..=from + count;
                bench.want_options(wanted.clone());
            }
            bench.session.on_tick(bench.now, true).unwrap();
            if let Some(text) = bench.output() {
                prop_assert!(last.is_none_or(|last| bench.now - last >= SPACING), "{}", text);
                last = Some(bench.now);
                if text.starts_with("smd") {
                    sent_at.insert(target(&text), bench.now);
                } else if text.starts_with("umd") {
                    prop_assert!(sent_at.remove(&target(&text)).is_some(), "{}", text);
                }
                if let Some(lines) = lines {
                    prop_assert!(sent_at.len() <= lines);
                }
            }
            // One that nobody wants any more may wait longer for its end.
            if let Some(oldest) = sent_at.iter().filter(|(number, _)| wanted.contains(number)).map(|(_, at)| *at).min() {
                prop_assert!(bench.now - oldest < secs(600.0));
            }
            let next = bench.session.deadline().min(beat).min(changes.last().map_or(beat, |change| change.0));
            bench.now = next.max(bench.now + Duration::from_millis(1)) + Duration::from_millis(jitter);
        }
        prop_assert_eq!(bench.session.take_signals().lost, None);
        let total = bench.session.report().total();
        prop_assert_eq!(total.sent, sent_at.len());
        prop_assert_eq!(total.sent + total.over_budget, total.wanted);
    }
}
