//! What must hold for any option, whatever the figures are.

use greeks_pricing::OptionKind::{self, Call, Put};
use greeks_pricing::{Black76, BlackScholes};
use proptest::prelude::*;

fn kinds() -> impl Strategy<Value = OptionKind> {
    prop_oneof![Just(Call), Just(Put)]
}

/// Ten to some power between the two.
fn powers(from: f64, to: f64) -> impl Strategy<Value = f64> {
    (from..to).prop_map(|exponent| 10_f64.powf(exponent))
}

/// Options as they are traded, and beyond.
fn options() -> impl Strategy<Value = BlackScholes> {
    (powers(-2.0, 5.0), powers(-1.5, 1.5), -0.05..0.15, -0.05..0.15, powers(-6.0, 1.0)).prop_map(
        |(spot, ratio, rate, dividend_yield, years)| BlackScholes {
            spot,
            strike: spot * ratio,
            rate,
            dividend_yield,
            years,
        },
    )
}

fn volatilities() -> impl Strategy<Value = f64> {
    powers(-3.0, 0.7)
}

/// Where finite differences of doubles have digits left: within two deviations of the money.
fn smooth() -> impl Strategy<Value = (BlackScholes, f64)> {
    (1.0..1e4, -2.0..2.0, -0.03..0.1, -0.03..0.1, 0.02..5.0, 0.05..1.0).prop_map(
        |(spot, deviations, rate, dividend_yield, years, volatility): (f64, f64, f64, f64, f64, f64)| {
            let strike = spot * (deviations * volatility * years.sqrt()).exp();
            (BlackScholes { spot, strike, rate, dividend_yield, years }, volatility)
        },
    )
}

/// The two legs: discounted spot and discounted strike, to the last digit as the crate has them. The exponential of the
/// standard library may differ in the last place, and a bound with it.
fn legs(option: &BlackScholes) -> (f64, f64) {
    let asset = option.spot * libm::exp(-option.dividend_yield * option.years);
    (asset, option.strike * libm::exp(-option.rate * option.years))
}

/// Central difference of `f` at `at`.
fn slope(at: f64, step: f64, f: impl Fn(f64) -> f64) -> f64 {
    (f(at + step) - f(at - step)) / (2.0 * step)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn put_call_parity(option in options(), volatility in volatilities()) {
        let (call, put) = (option.greeks(Call, volatility), option.greeks(Put, volatility));
        let (asset, cash) = legs(&option);
        let rounding = 1e-14 * (asset + cash);
        prop_assert!((call.price - put.price - (asset - cash)).abs() <= rounding);
        prop_assert!((call.delta - put.delta - asset / option.spot).abs() <= 1e-14 * asset / option.spot);
        prop_assert_eq!(call.gamma.to_bits(), put.gamma.to_bits());
        prop_assert_eq!(call.vega.to_bits(), put.vega.to_bits());
        let carry = (option.dividend_yield * asset - option.rate * cash) / 365.0;
        prop_assert!((call.theta - put.theta - carry).abs() <= rounding + 1e-13 * call.theta.abs());
        prop_assert!((call.rho - put.rho - option.years * cash / 100.0).abs() <= rounding);
    }

    #[test]
    fn price_stays_within_its_bounds_and_rises_with_volatility(
        option in options(), kind in kinds(), volatility in volatilities(), factor in 1.0001..3.0,
    ) {
        let (asset, cash) = legs(&option);
        let rounding = 1e-14 * (asset + cash);
        let price = option.price(kind, volatility);
        let ceiling = if kind == Call { asset } else { cash };
        prop_assert!(price >= option.price(kind, 0.0));
        prop_assert!(price <= ceiling + rounding);
        prop_assert!(option.price(kind, volatility * factor) >= price - rounding);
    }

    #[test]
    fn signs_and_ranges(option in options(), kind in kinds(), volatility in volatilities()) {
        let greeks = option.greeks(kind, volatility);
        let most = (-option.dividend_yield * option.years).exp() * (1.0 + 1e-15);
        let (delta, rho) = if kind == Call { (greeks.delta, greeks.rho) } else { (-greeks.delta, -greeks.rho) };
        prop_assert!(delta >= 0.0 && delta <= most);
        prop_assert!(rho >= 0.0);
        prop_assert!(greeks.gamma >= 0.0 && greeks.vega >= 0.0);
        let future = Black76 { forward: option.spot, strike: option.strike, rate: option.rate, years: option.years };
        let greeks = future.greeks(kind, volatility);
        prop_assert_eq!(greeks.rho, -option.years * greeks.price / 100.0);
    }

    #[test]
    fn greeks_are_the_derivatives_of_the_price((option, volatility) in smooth(), kind in kinds()) {
        let greeks = option.greeks(kind, volatility);
        let scale = option.spot.max(option.strike);
        let width = option.spot * volatility * option.years.sqrt();
        let step = 1e-4 * width;
        let delta = slope(option.spot, step, |spot| BlackScholes { spot, ..option }.price(kind, volatility));
        prop_assert!((delta - greeks.delta).abs() < 1e-6, "delta {} {}", delta, greeks.delta);
        let gamma = slope(option.spot, step, |spot| BlackScholes { spot, ..option }.greeks(kind, volatility).delta);
        prop_assert!((gamma - greeks.gamma).abs() < 1e-6 / width, "gamma {} {}", gamma, greeks.gamma);
        let step = 1e-4 * option.years;
        let theta = -slope(option.years, step, |years| BlackScholes { years, ..option }.price(kind, volatility)) / 365.0;
        let tolerance = 1e-6 * scale / (365.0 * option.years);
        prop_assert!((theta - greeks.theta).abs() < tolerance, "theta {} {}", theta, greeks.theta);
        let vega = slope(volatility, 1e-4 * volatility, |volatility| option.price(kind, volatility)) / 100.0;
        prop_assert!((vega - greeks.vega).abs() < 1e-7 * scale, "vega {} {}", vega, greeks.vega);
        let rho = slope(option.rate, 1e-5, |rate| BlackScholes { rate, ..option }.price(kind, volatility)) / 100.0;
        prop_assert!((rho - greeks.rho).abs() < 1e-6 * scale, "rho {} {}", rho, greeks.rho);
    }

    #[test]
    fn future_greeks_are_the_derivatives_of_the_price((option, volatility) in smooth(), kind in kinds()) {
        let BlackScholes { spot: forward, strike, rate, years, .. } = option;
        let future = Black76 { forward, strike, rate, years };
        let greeks = future.greeks(kind, volatility);
        let scale = forward.max(strike);
        let width = forward * volatility * years.sqrt();
        let step = 1e-4 * width;
        let delta = slope(forward, step, |forward| Black76 { forward, ..future }.price(kind, volatility));
        prop_assert!((delta - greeks.delta).abs() < 1e-6, "delta {} {}", delta, greeks.delta);
        let gamma = slope(forward, step, |forward| Black76 { forward, ..future }.greeks(kind, volatility).delta);
        prop_assert!((gamma - greeks.gamma).abs() < 1e-6 / width, "gamma {} {}", gamma, greeks.gamma);
        let theta = -slope(years, 1e-4 * years, |years| Black76 { years, ..future }.price(kind, volatility)) / 365.0;
        prop_assert!((theta - greeks.theta).abs() < 1e-6 * scale / (365.0 * years), "theta {} {}", theta, greeks.theta);
        let vega = slope(volatility, 1e-4 * volatility, |volatility| future.price(kind, volatility)) / 100.0;
        prop_assert!((vega - greeks.vega).abs() < 1e-7 * scale, "vega {} {}", vega, greeks.vega);
        let rho = slope(rate, 1e-5, |rate| Black76 { rate, ..future }.price(kind, volatility)) / 100.0;
        prop_assert!((rho - greeks.rho).abs() < 1e-6 * scale, "rho {} {}", rho, greeks.rho);
    }

    #[test]
    fn models_agree_on_the_forward(option in options(), kind in kinds(), volatility in volatilities()) {
        let (asset, cash) = legs(&option);
        let forward = option.spot * ((option.rate - option.dividend_yield) * option.years).exp();
        let future = Black76 { forward, strike: option.strike, rate: option.rate, years: option.years };
        let difference = option.price(kind, volatility) - future.price(kind, volatility);
        prop_assert!(difference.abs() <= 1e-13 * (asset + cash), "{}", difference);
    }

    #[test]
    fn swapping_forward_and_strike_swaps_call_and_put(option in options(), volatility in volatilities()) {
        let future = Black76 { forward: option.spot, strike: option.strike, rate: option.rate, years: option.years };
        let swapped = Black76 { forward: option.strike, strike: option.spot, ..future };
        let (call, put) = (future.price(Call, volatility), swapped.price(Put, volatility));
        prop_assert!((call - put).abs() <= 1e-12 * call.max(1e-290), "{} {}", call, put);
    }

    #[test]
    fn volatility_of_a_price_reprices_it(option in options(), kind in kinds(), volatility in volatilities()) {
        let price = option.price(kind, volatility);
        if let Some(implied) = option.implied_volatility(kind, price) {
            let error = (option.price(kind, implied) - price).abs();
            prop_assert!(error <= 1e-12 * option.spot, "implied {} error {:e}", implied, error);
        } else {
            let (asset, cash) = legs(&option);
            let ceiling = if kind == Call { asset } else { cash };
            let time_value = price - option.price(kind, 0.0);
            prop_assert!(time_value == 0.0 || price >= ceiling * (1.0 - 1e-15), "{:e} {:e}", time_value, price);
        }
    }

    /// Any price inside the bounds has a volatility, from prices of 1e-250 up to the last digits before the ceiling.
    #[test]
    fn every_price_inside_the_bounds_has_a_volatility(
        option in options(), kind in kinds(), depth in 0.0..1.0, mirrored in any::<bool>(),
    ) {
        let (asset, cash) = legs(&option);
        let (floor, ceiling) = (option.price(kind, 0.0), if kind == Call { asset } else { cash });
        // Next to a bound other than zero, a double holds some fifteen digits of the distance.
        let share = 10_f64.powf(if mirrored || floor > 0.0 { -15.0 * depth } else { -250.0 * depth });
        let price = if mirrored { ceiling - (ceiling - floor) * share } else { floor + (ceiling - floor) * share };
        prop_assume!(price > floor && price < ceiling);
        let implied = option.implied_volatility(kind, price);
        prop_assert!(implied.is_some_and(|volatility| volatility > 0.0), "{:?}", implied);
        let error = (option.price(kind, implied.unwrap_or(f64::NAN)) - price).abs();
        prop_assert!(error <= 1e-12 * option.spot, "implied {:?} error {:e}", implied, error);
    }

    #[test]
    fn valid_input_never_gives_nan(
        spot in powers(-100.0, 100.0), strike in powers(-100.0, 100.0), rate in -5.0..5.0, dividend_yield in -5.0..5.0,
        years in prop_oneof![Just(0.0), powers(-150.0, 1.5)], volatility in prop_oneof![Just(0.0), powers(-150.0, 150.0)],
        kind in kinds(), at_the_money in any::<bool>(),
    ) {
        let strike = if at_the_money { spot } else { strike };
        let greeks = BlackScholes { spot, strike, rate, dividend_yield, years }.greeks(kind, volatility);
        let figures = [greeks.price, greeks.delta, greeks.gamma, greeks.theta, greeks.vega, greeks.rho];
        prop_assert!(!figures.iter().any(|figure| figure.is_nan()), "{:?}", greeks);
        let greeks = Black76 { forward: spot, strike, rate, years }.greeks(kind, volatility);
        let figures = [greeks.price, greeks.delta, greeks.gamma, greeks.theta, greeks.vega, greeks.rho];
        prop_assert!(!figures.iter().any(|figure| figure.is_nan()), "{:?}", greeks);
    }
}
