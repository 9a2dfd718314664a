//! Contracts that do not answer, or not any more.

use super::*;

/// Seconds at which a contract was subscribed.
fn times(sent: &[(Duration, String)], number: i64) -> Vec<u64> {
    let text = smd(number);
    sent.iter().filter(|(_, it)| *it == text).map(|(at, _)| at.as_secs()).collect()
}

#[test]
fn one_without_a_first_frame_is_asked_with_doubling_pauses_and_told_once() {
    let mut bench = Bench::open(settings());
    bench.want_options([1]);
    let sent = bench.run(14.0, |_| Vec::new());
    assert_eq!((times(&sent, 1), bench.options().silent), (vec![0], 0));
    assert_eq!(bench.session.take_newly_silent(), []);
    let sent = bench.run(1500.0, |_| Vec::new());
    let asked = times(&sent, 1);
    // 15, 30, 60, 120, 240 s; then by the renewal, which is spread over the second half of 480 s.
    assert_eq!(asked[..5], [15, 45, 105, 225, 465], "{asked:?}");
    assert!(asked[4..].windows(2).all(|pair| (240..=481).contains(&(pair[1] - pair[0]))), "{asked:?}");
    assert_eq!((bench.options().silent, bench.options().live), (1, 0));
    assert_eq!(bench.session.take_newly_silent(), [conid(1)]);
    bench.data([1]);
    assert_eq!((bench.options().silent, bench.options().live), (0, 1));
    assert_eq!(bench.session.take_newly_silent(), []);
}

#[test]
fn an_option_without_greeks_is_asked_again_but_is_not_silent() {
    let mut bench = Bench::open(settings());
    bench.want_options([1]);
    let sent = bench.run(50.0, |_| Vec::new());
    assert_eq!(times(&sent, 1).len(), 3);
    bench.frame(r#"{"conid":1,"84":"5.1","7308":"","7635":"5.2","topic":"smd+1"}"#).unwrap();
    let counts = bench.options();
    assert_eq!((counts.live, counts.without_greeks, counts.silent), (1, 1, 0));
    let prices = |bench: &mut Bench| bench.frame(r#"{"conid":1,"84":"5.1","topic":"smd+1"}"#).unwrap();
    let mut asked = 0;
    for _ in 0..60 {
        asked += times(&bench.run(1.0, |_| Vec::new()), 1).len();
        prices(&mut bench);
    }
    assert_eq!(asked, 1, "45 s after the start came the third one, the fourth 60 s later");
    bench.data([1]);
    assert_eq!(bench.options().without_greeks, 0);
    // A frame with prices only, later: what was known stays.
    prices(&mut bench);
    assert_eq!((bench.options().without_greeks, bench.options().live), (0, 1));
    assert_eq!(times(&bench.run(80.0, |_| Vec::new()), 1).len(), 0);
}

#[test]
fn frozen_data_without_greeks_is_frozen_and_no_more() {
    let mut bench = Bench::open(settings());
    bench.want_options([1, 2]);
    bench.texts(1.0);
    for number in [1, 2] {
        bench.frame(&format!(r#"{{"conid":{number},"84":"5.1","6509":"RpB","topic":"smd+{number}"}}"#)).unwrap();
    }
    assert_eq!((bench.options().without_greeks, bench.options().frozen), (2, 0));
    for (letter, frozen) in [("Z", 1), ("Y", 1), ("D", 0)] {
        bench.frame(&format!(r#"{{"conid":1,"6509":"{letter}pB","topic":"smd+1"}}"#)).unwrap();
        assert_eq!((bench.options().without_greeks, bench.options().frozen), (2 - frozen, frozen), "{letter}");
    }
}

#[test]
fn an_underlying_needs_no_greeks() {
    let mut bench = Bench::open(settings());
    bench.want(&[], &[UNDERLYINGS]);
    bench.texts(1.0);
    bench.frame(&format!(r#"{{"conid":{UNDERLYINGS},"84":"5.1","topic":"smd+{UNDERLYINGS}"}}"#)).unwrap();
    assert_eq!(bench.session.report().underlyings, Counts { wanted: 1, sent: 1, live: 1, ..Counts::default() });
    assert_eq!(bench.texts(80.0), [""; 0]);
}

#[test]
fn one_gone_quiet_among_others_is_asked_and_then_called_silent() {
    let mut bench = Bench::open(settings());
    bench.want_options([1, 2]);
    bench.run(1.0, |_| Vec::new());
    bench.data([1, 2]);
    let sent = bench.run(260.0, |_| vec![1]);
    let asked = times(&sent, 2);
    assert_eq!(asked[0], 91);
    assert_eq!(bench.options().silent, 0);
    assert_eq!(bench.session.take_newly_silent(), []);
    let sent = bench.run(15.0, |_| vec![1]);
    assert_eq!(times(&sent, 2), [271]);
    assert_eq!(bench.session.take_newly_silent(), [conid(2)]);
    assert_eq!((bench.options().silent, bench.options().live), (1, 1));
    bench.data([2]);
    assert_eq!((bench.options().silent, bench.options().live), (0, 2));
    // That was an answer. It flows when it speaks unasked, and is asked in 90 s again when it falls quiet after that.
    bench.run(30.0, |_| vec![1]);
    bench.data([2]);
    bench.run(1.0, |_| vec![1]);
    bench.data([2]);
    let since = (bench.now - bench.start).as_secs();
    let sent = bench.run(100.0, |_| vec![1]);
    assert_eq!(times(&sent, 2), [since + 90]);
}

#[test]
fn when_all_are_quiet_all_are_asked_and_none_is_blamed() {
    let mut bench = Bench::open(settings());
    bench.want_options(1..=3);
    bench.run(1.0, |_| Vec::new());
    bench.data(1..=3);
    let sent = bench.run(2000.0, |_| Vec::new());
    for number in 1..=3 {
        let asked = times(&sent, number);
        assert!((91..=93).contains(&asked[0]), "{asked:?}");
        assert!((180..=182).contains(&(asked[1] - asked[0])), "{asked:?}");
        assert!(asked[1..].windows(2).all(|pair| (240..=482).contains(&(pair[1] - pair[0]))), "{asked:?}");
    }
    assert_eq!((bench.options().silent, bench.options().live), (0, 3));
    assert_eq!(bench.session.take_newly_silent(), []);
}

#[test]
fn one_that_speaks_is_only_renewed() {
    let mut bench = Bench::open(settings());
    bench.want_options([1]);
    let sent = bench.run(2000.0, |at| if at.as_secs() == 10 || at.as_secs() % 80 < 2 { vec![1] } else { vec![] });
    assert!(times(&sent, 1).len() <= 6, "{sent:?}");
}

#[test]
fn nobody_is_blamed_for_what_this_side_did_not_read() {
    let mut bench = Bench::open(settings());
    bench.want_options([1, 2]);
    bench.run(1.0, |_| Vec::new());
    bench.data([2]);
    let mut texts = Vec::new();
    for _ in 0..200 {
        bench.now += secs(1.0);
        bench.session.on_tick(bench.now, false).unwrap();
        texts.extend(bench.output().filter(|text| text != "tic"));
    }
    assert_eq!(texts, [""; 0]);
    assert_eq!(times(&bench.run(14.0, |_| Vec::new()), 1), [0; 0]);
    assert_eq!(bench.session.take_newly_silent(), []);
    assert_eq!(times(&bench.run(2.0, |_| Vec::new()), 1).len(), 1);
    assert_eq!(bench.session.take_newly_silent(), [conid(1)]);
}

#[test]
fn renewals_go_out_even_while_nothing_is_read() {
    let mut bench = Bench::open(settings());
    bench.want_options([1, 2]);
    bench.run(1.0, |_| Vec::new());
    let mut texts = Vec::new();
    for _ in 0..1000 {
        bench.now += secs(1.0);
        bench.session.on_tick(bench.now, false).unwrap();
        texts.extend(bench.output().filter(|text| text != "tic"));
    }
    assert!(texts.len() >= 4, "{texts:?}");
    assert_eq!(bench.session.take_signals().lost, None);
}

fn impatient() -> Settings {
    Settings { stalled_after: secs(120.0), ..settings() }
}

/// Seconds until the session is left, if it is, while the gateway beats and `data` comes in the given seconds.
fn left_after(bench: &mut Bench, most: u64, mut speaks: impl FnMut(&str, u64) -> Vec<i64>) -> Option<u64> {
    for second in 0..most {
        bench.now += secs(1.0);
        bench.frame(HEARTBEAT).unwrap();
        match bench.session.on_tick(bench.now, true) {
            Ok(()) => {}
            Err(Error::Stalled { after }) => {
                assert!(after >= secs(120.0), "{after:?}");
                return Some(second + 1);
            }
            Err(error) => panic!("{error}"),
        }
        let texts: Vec<String> = bench.output().into_iter().collect();
        let said = speaks(texts.first().map_or("", String::as_str), second);
        bench.data(said);
    }
    None
}

#[test]
fn a_stream_that_stands_and_brings_nothing_is_left() {
    let mut bench = Bench::open(impatient());
    bench.want_options([1, 2]);
    bench.run(1.0, |_| Vec::new());
    bench.data([1, 2]);
    assert_eq!(bench.session.data_came_for(), Duration::ZERO);
    // Asked again after 90 s, in vain; the last one a second later.
    assert_eq!(left_after(&mut bench, 600, |_, _| Vec::new()), Some(120));
    // One that was never answered at all has been asked again long before.
    let mut bench = Bench::open(impatient());
    bench.want_options([1, 2]);
    bench.run(1.0, |_| Vec::new());
    assert_eq!(left_after(&mut bench, 600, |_, _| Vec::new()), Some(119));
}

#[test]
fn a_market_that_rests_answers_those_who_ask_and_is_stayed_with() {
    let mut bench = Bench::open(impatient());
    bench.want_options([1, 2]);
    bench.run(1.0, |_| Vec::new());
    bench.data([1, 2]);
    let left =
        left_after(&mut bench, 50_000, |text, _| if text.starts_with("smd+") { vec![target(text)] } else { vec![] });
    assert_eq!(left, None);
    assert!(bench.session.data_came_for() > secs(40_000.0));
}

#[test]
fn one_contract_that_speaks_keeps_the_stream() {
    let mut bench = Bench::open(impatient());
    bench.want_options([1, 2]);
    bench.run(1.0, |_| Vec::new());
    assert_eq!(left_after(&mut bench, 5_000, |_, second| if second % 80 == 0 { vec![2] } else { vec![] }), None);
}

#[test]
fn a_stream_is_not_left_for_what_this_side_did_not_read() {
    let mut bench = Bench::open(impatient());
    bench.want_options([1]);
    bench.run(1.0, |_| Vec::new());
    bench.data([1]);
    for _ in 0..1_000 {
        bench.now += secs(1.0);
        bench.session.on_tick(bench.now, false).unwrap();
        bench.output();
    }
    // By now it is asked ever less often, which it has been since.
    assert!((120..=480).contains(&left_after(&mut bench, 1_000, |_, _| Vec::new()).unwrap()));
}
