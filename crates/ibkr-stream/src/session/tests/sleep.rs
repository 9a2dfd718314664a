//! Subscriptions that outlived their life: the machine slept, or nothing could be written.

use super::*;

#[test]
fn a_sleep_is_seen_at_the_next_frame_and_everything_is_renewed_at_once() {
    let mut bench = Bench::open(settings());
    bench.want_options([1, 2, 3]);
    bench.run(1.0, |_| Vec::new());
    bench.data([1, 2, 3]);
    let subscribed = bench.wall();
    bench.run(10.0, |_| vec![1, 2]);
    bench.events();
    // The monotonic clock stands still meanwhile.
    bench.slept = secs(3600.0);
    assert_eq!(bench.frame(HEARTBEAT).unwrap(), Received::Heartbeat);
    let lost = bench.session.take_signals().lost.unwrap();
    assert!(lost >= subscribed.saturating_add(secs(598.0)) && lost <= subscribed.saturating_add(secs(601.0)), "{lost}");
    assert_eq!((bench.options().live, bench.options().silent), (0, 0));
    let texts = bench.texts(1.0);
    assert_eq!(texts.iter().filter(|text| text.starts_with("smd")).count(), 3, "{texts:?}");
    assert_eq!((bench.options().live, bench.session.take_signals().lost), (3, None), "told once");
    assert!(bench.session.deadline() > bench.now && bench.session.deadline() <= bench.now + secs(31.0));
    // From now on as ever.
    bench.run(700.0, |_| vec![1, 2, 3]);
    assert_eq!(bench.session.take_signals().lost, None);
}

#[test]
fn a_short_sleep_loses_nothing() {
    let mut bench = Bench::open(settings());
    bench.want_options([1]);
    bench.run(1.0, |_| Vec::new());
    bench.data([1]);
    bench.slept = secs(500.0);
    bench.frame(HEARTBEAT).unwrap();
    assert_eq!(bench.texts(1.0), [smd(1)], "renewed at once");
    assert_eq!((bench.session.take_signals().lost, bench.options().live), (None, 1));
}

#[test]
fn a_clock_that_is_set_back_changes_nothing() {
    let mut bench = Bench::open(settings());
    bench.want_options([1]);
    bench.slept = secs(4.0);
    bench.run(1.0, |_| Vec::new());
    bench.slept = Duration::ZERO;
    bench.frame(HEARTBEAT).unwrap();
    bench.data([1]);
    assert_eq!(bench.texts(80.0), [""; 0]);
    assert_eq!(bench.session.take_signals().lost, None);
}

#[test]
fn what_could_not_be_written_in_time_is_told_as_lost() {
    let mut bench = Bench::open(settings());
    bench.want_options([1, 2]);
    bench.run(1.0, |_| Vec::new());
    bench.data([1, 2]);
    let subscribed = bench.wall();
    // The socket takes nothing; frames of one contract go on coming.
    let mut lost = Vec::new();
    for second in 1..700 {
        bench.now += secs(1.0);
        bench.frame(HEARTBEAT).unwrap();
        bench.data([2]);
        bench.session.on_tick(bench.now, true).unwrap();
        lost.extend(bench.session.take_signals().lost.map(|since| (second, since)));
    }
    // The other was subscribed 0.1 s later; that it still speaks when its life ends is all that is known.
    let [(599, first), (600, second)] = lost[..] else { panic!("{lost:?}") };
    let after = |since: UnixNanos| since.saturating_since(subscribed).as_secs_f64();
    assert!((598.99..599.01).contains(&after(first)) && (599.99..600.01).contains(&after(second)), "{lost:?}");
    assert_eq!(bench.options().live, 0);
    let texts = bench.texts(1.0);
    assert_eq!(texts, [smd(1), smd(2)]);
    assert_eq!(bench.session.take_signals().lost, None);
}

#[test]
fn a_write_that_comes_ahead_of_the_tick_does_not_hide_the_loss() {
    let mut bench = Bench::open(settings());
    bench.want_options([1]);
    bench.run(1.0, |_| Vec::new());
    bench.data([1]);
    let heard = bench.wall();
    bench.now += secs(620.0);
    bench.frame(HEARTBEAT).unwrap();
    let text = std::iter::from_fn(|| {
        bench.now += SPACING;
        bench.output()
    })
    .find(|text| text != "tic");
    assert_eq!(text, Some(smd(1)));
    let lost = bench.session.take_signals().lost.unwrap();
    // Its life is counted from when it was sent, a second before that frame.
    assert!(lost > heard.saturating_add(secs(598.0)) && lost < heard.saturating_add(secs(600.0)));
}

#[test]
fn nobody_is_blamed_for_what_was_said_during_a_sleep() {
    let mut bench = Bench::open(settings());
    bench.want_options([1]);
    assert_eq!(bench.texts(1.0), [smd(1)]);
    bench.slept = secs(60.0);
    assert_eq!(bench.texts(14.0), [""; 0]);
    assert_eq!(bench.session.take_newly_silent(), []);
    assert_eq!(bench.texts(2.0), [smd(1)], "15 s after it woke");
    assert_eq!(bench.session.take_newly_silent(), [conid(1)]);
}
