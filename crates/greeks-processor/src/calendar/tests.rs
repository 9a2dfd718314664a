//! Hours, in the weeks in which the clock is set too.

use greeks_model::jiff::civil::date;

use super::*;

fn at(text: &str) -> UnixNanos {
    UnixNanos::from_timestamp(text.parse().unwrap())
}

/// The state at a moment and the moment of the next change.
fn look(product: Product, moment: &str) -> (MarketState, String) {
    let calendar = MarketCalendar::default();
    let next = calendar.next_change(product, at(moment)).unwrap();
    (calendar.state(product, at(moment)), next.to_string())
}

#[track_caller]
fn check(product: Product, moment: &str, state: MarketState, next: &str) {
    assert_eq!(look(product, moment), (state, next.to_owned()), "{product:?} at {moment}");
}

#[test]
fn equity_options_trade_from_half_past_nine_to_four() {
    let product = Product::EquityOption;
    check(product, "2026-11-24T08:59:59Z", MarketState::Closed, "2026-11-24T09:00:00Z");
    check(product, "2026-11-24T14:29:59Z", MarketState::PreOpen, "2026-11-24T14:30:00Z");
    check(product, "2026-11-24T14:30:00Z", MarketState::Open, "2026-11-24T21:00:00Z");
    check(product, "2026-11-24T20:59:59Z", MarketState::Open, "2026-11-24T21:00:00Z");
    check(product, "2026-11-24T21:00:00Z", MarketState::Closed, "2026-11-25T09:00:00Z");
    // Thanksgiving, then a half day, then a weekend.
    check(product, "2026-11-26T17:00:00Z", MarketState::Closed, "2026-11-27T09:00:00Z");
    check(product, "2026-11-27T17:59:59Z", MarketState::Open, "2026-11-27T18:00:00Z");
    check(product, "2026-11-27T18:00:00Z", MarketState::Closed, "2026-11-30T09:00:00Z");
    check(product, "2026-11-28T17:00:00Z", MarketState::Closed, "2026-11-30T09:00:00Z");
}

#[test]
fn index_options_trade_a_quarter_of_an_hour_longer() {
    check(Product::IndexOption, "2026-11-24T21:14:59Z", MarketState::Open, "2026-11-24T21:15:00Z");
    check(Product::IndexOption, "2026-11-24T21:15:00Z", MarketState::Closed, "2026-11-25T09:00:00Z");
    check(Product::IndexOption, "2026-11-27T18:05:00Z", MarketState::Open, "2026-11-27T18:15:00Z");
}

#[test]
fn options_of_cboe_trade_at_night_too() {
    let product = Product::CboeGlobal;
    // The Sunday evening belongs to Monday.
    check(product, "2026-11-23T01:14:59Z", MarketState::Closed, "2026-11-23T01:15:00Z");
    check(product, "2026-11-23T01:15:00Z", MarketState::Extended, "2026-11-23T14:25:00Z");
    check(product, "2026-11-23T14:25:00Z", MarketState::PreOpen, "2026-11-23T14:30:00Z");
    check(product, "2026-11-23T14:30:00Z", MarketState::Open, "2026-11-23T21:15:00Z");
    check(product, "2026-11-23T21:15:00Z", MarketState::Closed, "2026-11-24T01:15:00Z");
    // No night before a holiday, and none after a Friday.
    check(product, "2026-11-26T03:00:00Z", MarketState::Closed, "2026-11-27T01:15:00Z");
    check(product, "2026-11-28T03:00:00Z", MarketState::Closed, "2026-11-30T01:15:00Z");
}

#[test]
fn options_on_futures_trade_nearly_the_clock_round() {
    let product = Product::FuturesOption;
    check(product, "2026-11-22T22:59:59Z", MarketState::Closed, "2026-11-22T23:00:00Z");
    check(product, "2026-11-22T23:00:00Z", MarketState::Open, "2026-11-23T22:00:00Z");
    check(product, "2026-11-23T22:30:00Z", MarketState::Closed, "2026-11-23T23:00:00Z");
    check(product, "2026-11-26T15:00:00Z", MarketState::Open, "2026-11-26T18:00:00Z");
    check(product, "2026-11-26T20:00:00Z", MarketState::Closed, "2026-11-26T23:00:00Z");
    check(product, "2026-11-27T18:10:00Z", MarketState::Open, "2026-11-27T18:15:00Z");
    check(product, "2026-11-27T18:15:00Z", MarketState::Closed, "2026-11-29T23:00:00Z");
    check(product, "2026-12-25T15:00:00Z", MarketState::Closed, "2026-12-27T23:00:00Z");
    check(product, "2026-04-03T15:00:00Z", MarketState::Closed, "2026-04-05T22:00:00Z");
}

#[test]
fn hours_follow_the_clock_of_new_york() {
    let product = Product::EquityOption;
    // Daylight saving time begins on 2026-03-08 and ends on 2026-11-01.
    check(product, "2026-03-06T15:00:00Z", MarketState::Open, "2026-03-06T21:00:00Z");
    check(product, "2026-03-09T13:29:59Z", MarketState::PreOpen, "2026-03-09T13:30:00Z");
    check(product, "2026-03-09T13:30:00Z", MarketState::Open, "2026-03-09T20:00:00Z");
    check(product, "2026-10-30T19:59:59Z", MarketState::Open, "2026-10-30T20:00:00Z");
    check(product, "2026-10-30T20:00:00Z", MarketState::Closed, "2026-11-02T09:00:00Z");
    check(product, "2026-11-02T20:59:59Z", MarketState::Open, "2026-11-02T21:00:00Z");
    // Over the night in which it is set.
    check(Product::FuturesOption, "2026-03-07T12:00:00Z", MarketState::Closed, "2026-03-08T22:00:00Z");
    check(Product::FuturesOption, "2026-10-31T12:00:00Z", MarketState::Closed, "2026-11-01T23:00:00Z");
    // Until 2006 it began in April and ended in October.
    check(product, "2006-03-20T14:29:59Z", MarketState::PreOpen, "2006-03-20T14:30:00Z");
    check(product, "2006-04-03T13:30:00Z", MarketState::Open, "2006-04-03T20:00:00Z");
    check(product, "2006-10-30T20:30:00Z", MarketState::Open, "2006-10-30T21:00:00Z");
    check(product, "2007-03-20T13:30:00Z", MarketState::Open, "2007-03-20T20:00:00Z");
    assert_eq!(MarketCalendar::default().date(at("2026-11-25T04:59:59Z")), date(2026, 11, 24));
    assert_eq!(MarketCalendar::default().date(at("2026-11-25T05:00:00Z")), date(2026, 11, 25));
}

#[test]
fn walking_from_change_to_change_meets_every_state_in_turn() {
    let calendar = MarketCalendar::default();
    for product in Product::ALL {
        let (mut now, mut opened) = (at("2000-01-01T05:00:00Z"), 0);
        while calendar.date(now).year() < 2101 {
            let next = calendar.next_change(product, now).unwrap();
            assert!(next > now);
            assert_ne!(calendar.state(product, now), calendar.state(product, next), "{product:?} {now} {next}");
            let before = UnixNanos::from_nanos(next.as_nanos() - 1);
            assert_eq!(calendar.state(product, now), calendar.state(product, before), "{product:?} {now} {next}");
            opened += usize::from(calendar.open_since(product, next) == Some(next));
            now = next;
        }
        // 52.18 weeks a year of five days, less nine or ten holidays.
        assert!((25_250..25_400).contains(&opened) || product == Product::FuturesOption, "{product:?}: {opened}");
    }
}

#[test]
fn a_session_tells_since_when_it_is_open() {
    let calendar = MarketCalendar::default();
    let since = |product, moment| calendar.open_since(product, at(moment)).map(|at| at.to_string());
    assert_eq!(since(Product::CboeGlobal, "2026-11-24T20:00:00Z").as_deref(), Some("2026-11-24T14:30:00Z"));
    assert_eq!(since(Product::FuturesOption, "2026-11-24T04:00:00Z").as_deref(), Some("2026-11-23T23:00:00Z"));
    assert_eq!(since(Product::CboeGlobal, "2026-11-24T10:00:00Z"), None);
    assert_eq!(since(Product::EquityOption, "2026-11-28T17:00:00Z"), None);
}

#[test]
fn the_table_of_the_configuration_goes_before_the_rules() {
    let calendar = MarketCalendar::with_extra([date(2026, 11, 24)], [date(2026, 11, 24), date(2026, 11, 25)]);
    for product in Product::ALL {
        assert_eq!(calendar.state(product, at("2026-11-24T17:00:00Z")), MarketState::Closed);
        assert_eq!(calendar.state(product, at("2026-11-25T17:00:00Z")), MarketState::Open);
        assert_eq!(calendar.state(product, at("2026-11-25T18:15:00Z")), MarketState::Closed);
        assert_ne!(MarketCalendar::default().state(product, at("2026-11-25T18:15:00Z")), MarketState::Closed);
    }
    // A closure without end has no next change.
    let days = date(2026, 11, 1).series(greeks_model::jiff::ToSpan::day(1)).take(60);
    let shut = MarketCalendar::with_extra(days, []);
    assert_eq!(shut.next_change(Product::EquityOption, at("2026-11-10T17:00:00Z")), None);
}

#[test]
fn a_contract_has_the_hours_of_its_root() {
    for (contract, product) in [
        ("AAPL  261218C00232500", Product::EquityOption),
        ("AAPL1 261218C00232500", Product::EquityOption),
        ("SPY   261218C00600000", Product::IndexOption),
        ("NDXP  261218C20000000", Product::IndexOption),
        ("SPXW  261124P06650000", Product::CboeGlobal),
        ("VIX   261216C00020000", Product::CboeGlobal),
        ("/ESZ26 261127P5000", Product::FuturesOption),
        ("/SPXZ26 261127P5000", Product::FuturesOption),
    ] {
        assert_eq!(Product::of(&contract.parse().unwrap()), product, "{contract}");
    }
}

#[test]
fn trade_in_a_contract_ends_before_it_expires_or_with_it() {
    let calendar = MarketCalendar::default();
    for (contract, ends) in [
        // In funds and indices until 16:00, although others of them go on.
        ("AAPL  261218C00232500", "2026-12-18T21:00:00Z"),
        ("SPY   261218C00600000", "2026-12-18T21:00:00Z"),
        ("SPXW  261218P06500000", "2026-12-18T21:00:00Z"),
        // Settled at the open: the day before, and until 16:15.
        ("SPX   261218P06500000", "2026-12-17T21:15:00Z"),
        ("VIX   261216C00020000", "2026-12-15T21:15:00Z"),
        // Over a weekend, on a half day, and where the day itself is Good Friday.
        ("SPX   261130P06500000", "2026-11-27T18:15:00Z"),
        ("SPXW  261127P06500000", "2026-11-27T18:00:00Z"),
        ("AAPL  270326C00232500", "2027-03-25T20:00:00Z"),
        ("/ESZ26 261127P5000", "2026-11-26T23:00:00Z"),
    ] {
        let last = calendar.last_trade(&contract.parse().unwrap());
        assert_eq!(last.map(|at| at.to_string()).as_deref(), Some(ends), "{contract}");
    }
}
