//! Market data lines: who gets them, and who gets them next.

use super::*;

fn limited(lines: usize) -> Settings {
    Settings { lines: Some(lines), ..settings() }
}

#[test]
fn only_so_many_are_subscribed_and_the_rest_is_told() {
    let mut bench = Bench::open(limited(3));
    let (a, b) = (UNDERLYINGS, UNDERLYINGS + 1);
    bench.want(&[(1, Some(a)), (2, Some(b)), (3, Some(a)), (4, Some(a))], &[a, b]);
    assert_eq!(bench.texts(2.0), [smd(a), smd(1), smd(2)]);
    let report = bench.session.report();
    assert_eq!((report.options.wanted, report.options.sent, report.options.over_budget), (4, 2, 2));
    assert_eq!((report.underlyings.wanted, report.underlyings.sent, report.underlyings.over_budget), (2, 1, 1));
    bench.frame(HEARTBEAT).unwrap();
    assert!(bench.session.is_streaming());
}

#[test]
fn a_freed_line_goes_to_the_next() {
    let mut bench = Bench::open(limited(2));
    bench.want_options([1, 2, 3, 4]);
    bench.texts(1.0);
    bench.data([1, 2]);
    bench.want_options([4, 2, 3]);
    assert_eq!(bench.texts(1.0), [umd(1), smd(4)]);
    assert_eq!(bench.options().over_budget, 1);
}

#[test]
fn one_with_data_is_not_displaced_and_one_without_is() {
    let mut bench = Bench::open(limited(2));
    bench.want_options([1, 2]);
    bench.texts(1.0);
    bench.data([2]);
    bench.want_options([8, 9, 1, 2]);
    assert_eq!(bench.texts(1.0), [umd(1), smd(8)]);
    bench.data([8]);
    bench.want_options([9, 1, 2, 8]);
    assert_eq!(bench.texts(1.0), [""; 0]);
}

#[test]
fn one_that_is_refused_gives_its_line_away() {
    let mut bench = Bench::open(limited(2));
    bench.want_options([1, 2, 3]);
    bench.texts(1.0);
    bench.data([1]);
    bench.frame(r#"{"conid":2,"6509":"N","topic":"smd+2"}"#).unwrap();
    assert_eq!(bench.texts(1.0), [umd(2), smd(3)]);
    let counts = bench.options();
    assert_eq!((counts.not_permitted, counts.over_budget, counts.sent), (1, 1, 2));
    bench.frame(r#"{"conid":3,"6509":"N","topic":"smd+3"}"#).unwrap();
    assert_eq!(bench.texts(1.0), [""; 0], "the others have been tried");
}

#[test]
fn refusals_cost_no_line_where_there_are_enough() {
    let mut bench = Bench::open(limited(5));
    bench.want_options([1, 2]);
    bench.texts(1.0);
    bench.frame(r#"{"conid":2,"6509":"N","topic":"smd+2"}"#).unwrap();
    assert_eq!(bench.texts(1.0), [""; 0]);
    assert_eq!((bench.options().not_permitted, bench.options().sent), (1, 2));
}
