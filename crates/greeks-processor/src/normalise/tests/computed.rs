//! Greeks that the source does not send.

use greeks_pricing::{Black76, BlackScholes, Greeks, OptionKind};

use super::*;

type Change = fn(&mut QuoteUpdate);

/// From event time 90 to 2026-11-24 at 16:00 in New York.
const YEARS: f64 = (1_795_554_000_000 - (START + 90)) as f64 * 1e6 / (365.0 * 86_400e9);
const SPOT: f64 = 6_700.25;

/// The formulas themselves, for the option of [`bench`] at event time 90.
fn formula(rate: f64, dividend_yield: f64) -> Greeks {
    BlackScholes { spot: SPOT, strike: 6_650.0, rate, dividend_yield, years: YEARS }.greeks(OptionKind::Put, 0.125)
}

/// A bench with the underlying's price known and the option held by A1.
fn priced() -> Bench {
    let mut bench = bench();
    bench.hold("A1", 1.0);
    bench.underlying(|u| u.last_price = Some(SPOT));
    bench
}

/// All that IBKR sends: everything but rho.
fn all_but_rho(u: &mut QuoteUpdate) {
    (u.delta, u.gamma, u.theta, u.vega) = (Some(-0.25), Some(0.5), Some(-1.5), Some(4.0));
    (u.implied_volatility, u.option_price) = (Some(0.125), Some(7.0));
}

fn is_computed(row: &GreekSnapshot) -> bool {
    row.flags.contains(Flags::COMPUTED)
}

#[test]
fn rho_comes_from_the_formula_and_what_was_sent_stays() {
    let row = one(priced().quote(all_but_rho));
    assert_eq!(row.rho, Some(formula(0.04, 0.0).rho));
    assert!(row.rho < Some(-0.1), "{:?}", row.rho);
    assert_eq!((row.delta, row.gamma, row.theta, row.vega), (Some(-0.25), Some(0.5), Some(-1.5), Some(4.0)));
    assert_eq!((row.implied_volatility, row.option_price), (Some(0.125), Some(7.0)));
    assert_eq!(row.flags, Flags::COMPUTED | Flags::FIRST_AFTER_CONNECT);
}

#[test]
fn every_greek_is_computed_until_the_source_sends_it() {
    let mut bench = priced();
    let all = formula(0.04, 0.0);
    let row = one(bench.quote(|u| (u.rho, u.implied_volatility) = (Some(9.0), Some(0.125))));
    assert_eq!([row.delta, row.gamma, row.theta, row.vega], [all.delta, all.gamma, all.theta, all.vega].map(Some));
    assert!(row.rho == Some(9.0) && is_computed(&row));
    // Only Greeks: the model's price of the option is not an option_price.
    assert_eq!(row.option_price, None);

    let row = one(bench.quote(|u| (u.delta, u.gamma) = (Some(-0.3), Some(0.1))));
    assert_eq!((row.delta, row.gamma, row.theta, row.vega), (Some(-0.3), Some(0.1), Some(all.theta), Some(all.vega)));
    let row = one(bench.quote(|u| (u.theta, u.vega) = (Some(-1.0), Some(2.0))));
    assert_eq!((row.theta, row.vega, row.rho), (Some(-1.0), Some(2.0), Some(9.0)));
    assert!(!is_computed(&row), "the source has sent everything");

    // In a new epoch nothing is known, the price of the underlying included.
    bench.reconnect();
    let row = one(bench.quote(|u| (u.delta, u.implied_volatility) = (Some(-0.3), Some(0.125))));
    assert!(row.rho.is_none() && !is_computed(&row));
    bench.underlying(|u| u.last_price = Some(SPOT));
    let row = one(bench.quote(|u| u.delta = Some(-0.25)));
    assert_eq!((row.delta, row.rho), (Some(-0.25), Some(all.rho)));
}

#[test]
fn what_the_source_calls_unknown_stays_unknown() {
    for unknown in [f64::NAN, f64::INFINITY] {
        let mut bench = priced();
        let row = one(bench.quote(|u| {
            all_but_rho(u);
            u.rho = Some(unknown);
        }));
        assert_eq!((row.rho, is_computed(&row)), (None, false));
        let row = one(bench.quote(|u| u.delta = Some(f64::NAN)));
        assert_eq!((row.delta, row.rho, is_computed(&row)), (None, None, false));
    }
}

#[test]
fn nothing_is_computed_without_its_inputs() {
    let changes: [(&str, Change); 5] = [
        ("no volatility", |u| u.implied_volatility = None),
        ("an unknown volatility", |u| u.implied_volatility = Some(f64::NAN)),
        ("a volatility of zero", |u| u.implied_volatility = Some(0.0)),
        ("a negative volatility", |u| u.implied_volatility = Some(-0.1)),
        ("a volatility of doubtful scale", |u| u.flags = Flags::DOUBTFUL_IV_SCALE),
    ];
    for (what, change) in changes {
        let row = one(priced().quote(|u| {
            all_but_rho(u);
            change(u);
        }));
        assert_eq!((row.rho, is_computed(&row)), (None, false), "{what}");
    }
    let mut no_price = priced();
    no_price.underlying(|u| u.last_price = Some(f64::NAN));
    let row = one(no_price.quote(all_but_rho));
    assert_eq!((row.rho, is_computed(&row)), (None, false));
    let mut off = priced();
    off.normaliser = off.normaliser.with_pricing(None);
    off.hold("A1", 1.0);
    off.underlying(|u| u.last_price = Some(SPOT));
    let row = one(off.quote(all_but_rho));
    assert_eq!((row.rho, is_computed(&row)), (None, false), "switched off");
}

#[test]
fn doubt_about_the_scale_lasts_as_long_as_the_volatility() {
    let mut bench = priced();
    bench.quote(|u| {
        all_but_rho(u);
        u.flags = Flags::DOUBTFUL_IV_SCALE;
    });
    let row = one(bench.quote(|u| u.delta = Some(-0.26)));
    assert_eq!((row.rho, row.flags), (None, Flags::DOUBTFUL_IV_SCALE));
    let row = one(bench.quote(|u| (u.delta, u.implied_volatility) = (Some(-0.27), Some(0.125))));
    assert_eq!((row.rho, row.flags), (Some(formula(0.04, 0.0).rho), Flags::COMPUTED));
}

#[test]
fn nothing_is_computed_from_the_expiration_on() {
    // SPXW runs until 16:00 in New York on the 24th, SPX is settled at 9:30 on the 18th of December.
    for (contract, last_moment) in [
        ("SPXW  261124P06650000", 1_795_554_000_000),
        ("SPX   261218P06650000", 1_797_604_200_000),
        ("/ESZ26 261127P5000", 1_795_813_200_000),
    ] {
        let mut bench = bench_of(contract, "underlying");
        bench.hold("A1", 1.0);
        bench.underlying(|u| u.last_price = Some(SPOT));
        for (millis, computed) in [(last_moment - 1, true), (last_moment, false), (last_moment + 86_400_000, false)] {
            let row = one(bench.quote(|u| {
                all_but_rho(u);
                (u.event_time, u.received_at) = (Some(UnixNanos::from_millis(millis)), UnixNanos::from_millis(millis));
            }));
            assert_eq!((row.rho.is_some(), is_computed(&row)), (computed, computed), "{contract} at {millis}");
        }
    }
}

#[test]
fn options_on_futures_are_priced_by_black_76() {
    let mut bench = bench_of("/ESZ26 261127C6700", "/ESZ26");
    bench.hold("A1", 1.0);
    bench.underlying(|u| (u.bid_price, u.ask_price) = (Some(6_700.0), Some(6_700.5)));
    let row = one(bench.quote(all_but_rho));
    let years = (1_795_813_200_000 - (START + 90)) as f64 * 1e6 / (365.0 * 86_400e9);
    let option = Black76 { forward: SPOT, strike: 6_700.0, rate: 0.04, years };
    assert_eq!(row.rho, Some(option.greeks(OptionKind::Call, 0.125).rho));
    assert!(row.rho < Some(0.0), "a higher rate only discounts");

    // A future below zero has no lognormal price.
    bench.underlying(|u| (u.bid_price, u.ask_price) = (Some(-1.0), Some(-0.5)));
    let row = one(bench.quote(|u| u.delta = Some(0.5)));
    assert_eq!((row.underlying_price, row.rho, is_computed(&row)), (Some(-0.75), None, false));
}

#[test]
fn the_inputs_are_those_of_the_configuration() {
    let mut bench = bench();
    bench.normaliser = bench.normaliser.with_pricing(Some(PricingInputs { rate: 0.01, dividend_yield: 0.02 }));
    bench.hold("A1", 1.0);
    bench.underlying(|u| u.last_price = Some(SPOT));
    assert_eq!(one(bench.quote(all_but_rho)).rho, Some(formula(0.01, 0.02).rho));
    assert_ne!(formula(0.01, 0.02).rho, formula(0.04, 0.0).rho);
}

#[test]
fn a_computed_value_that_moves_does_not_make_another_event() {
    let mut bench = priced();
    bench.quote(all_but_rho);
    bench.underlying(|u| u.last_price = Some(SPOT + 50.0));
    assert_eq!(bench.quote(all_but_rho), []);
    bench.reconnect();
    assert_eq!(bench.quote(all_but_rho), [], "nor does one that cannot be computed now");
    // That the source sends it is news, even if it is the very same number.
    let same = formula(0.04, 0.0).rho;
    let row = one(bench.quote(|u| u.rho = Some(same)));
    assert!(row.rho == Some(same) && !is_computed(&row));
}

#[test]
fn a_stored_row_is_known_again_whatever_was_computed_in_it() {
    let stored = one(priced().quote(all_but_rho));
    assert!(is_computed(&stored));
    let restarted = || {
        let mut bench = priced();
        bench.normaliser.seed(&stored);
        bench.underlying(|u| u.last_price = Some(SPOT - 50.0));
        bench
    };
    assert_eq!(restarted().quote(all_but_rho), []);
    // Each bit the source sent still counts, and what it says now of the computed one.
    let changes: [Change; 6] = [
        |u| u.delta = Some(-0.250_000_1),
        |u| u.vega = Some(f64::NAN),
        |u| u.implied_volatility = Some(0.126),
        |u| u.option_price = None,
        |u| u.rho = Some(f64::NAN),
        |u| u.event_time = Some(at(91)),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let again = restarted().quote(|u| {
            all_but_rho(u);
            change(u);
        });
        assert_eq!(again.len(), 1, "change {index}");
    }
    // Where nothing was computed, a Greek that is missing is a difference.
    let mut whole = stored.clone();
    whole.flags = Flags::NONE;
    let mut bench = priced();
    bench.normaliser.seed(&whole);
    assert_eq!(bench.quote(all_but_rho).len(), 1);
}
