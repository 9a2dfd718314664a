//! At expiry, without volatility, at the bounds, and outside the domain.

use greeks_pricing::OptionKind::{Call, Put};
use greeks_pricing::{Black76, BlackScholes, Greeks};

const OPTION: BlackScholes = BlackScholes { spot: 100.0, strike: 90.0, rate: 0.05, dividend_yield: 0.02, years: 0.5 };
const FUTURE: Black76 = Black76 { forward: 100.0, strike: 90.0, rate: 0.05, years: 0.5 };
const WORTHLESS: Greeks = Greeks { price: 0.0, delta: 0.0, gamma: 0.0, theta: 0.0, vega: 0.0, rho: 0.0 };

fn figures(greeks: Greeks) -> [f64; 6] {
    [greeks.price, greeks.delta, greeks.gamma, greeks.theta, greeks.vega, greeks.rho]
}

fn assert_close(got: Greeks, want: Greeks, tolerance: f64) {
    for (got_figure, want_figure) in figures(got).into_iter().zip(figures(want)) {
        assert!((got_figure - want_figure).abs() <= tolerance, "got {got:?}, want {want:?}");
    }
}

#[test]
fn at_expiry_the_price_is_the_payoff() {
    let option = BlackScholes { years: 0.0, ..OPTION };
    // Holding the forward of a spot earns the dividends and costs the interest on the strike.
    let theta = (0.02 * 100.0 - 0.05 * 90.0) / 365.0;
    let call = Greeks { price: 10.0, delta: 1.0, gamma: 0.0, theta, vega: 0.0, rho: 0.0 };
    assert_close(option.greeks(Call, 0.3), call, 1e-14);
    assert_eq!(option.greeks(Put, 0.3), WORTHLESS);

    let option = BlackScholes { strike: 110.0, ..option };
    let theta = (0.05 * 110.0 - 0.02 * 100.0) / 365.0;
    let put = Greeks { price: 10.0, delta: -1.0, gamma: 0.0, theta, vega: 0.0, rho: 0.0 };
    assert_close(option.greeks(Put, 0.3), put, 1e-14);
    assert_eq!(option.greeks(Call, 0.3), WORTHLESS);
}

#[test]
fn without_volatility_the_price_is_the_discounted_intrinsic_value() {
    let (dividend, discount) = (libm::exp(-0.02 * 0.5), libm::exp(-0.05 * 0.5));
    let call = Greeks {
        price: 100.0 * dividend - 90.0 * discount,
        delta: dividend,
        gamma: 0.0,
        theta: (0.02 * 100.0 * dividend - 0.05 * 90.0 * discount) / 365.0,
        vega: 0.0,
        rho: 0.5 * 90.0 * discount / 100.0,
    };
    assert_close(OPTION.greeks(Call, 0.0), call, 1e-13);
    assert_eq!(OPTION.greeks(Put, 0.0), WORTHLESS);

    let price = 10.0 * discount;
    let call = Greeks {
        price,
        delta: discount,
        gamma: 0.0,
        theta: 0.05 * price / 365.0,
        vega: 0.0,
        rho: -0.5 * price / 100.0,
    };
    assert_close(FUTURE.greeks(Call, 0.0), call, 1e-13);
    assert_eq!(FUTURE.greeks(Put, 0.0), WORTHLESS);
}

#[test]
fn limits_continue_what_comes_before_them() {
    for strike in [50.0, 90.0, 99.0, 103.0, 110.0, 400.0] {
        for kind in [Call, Put] {
            let option = BlackScholes { strike, ..OPTION };
            assert_close(option.greeks(kind, 1e-5), option.greeks(kind, 0.0), 1e-12);
            let (soon, now) = (BlackScholes { years: 1e-15, ..option }, BlackScholes { years: 0.0, ..option });
            assert_close(soon.greeks(kind, 0.3), now.greeks(kind, 0.3), 1e-12);

            let future = Black76 { strike, ..FUTURE };
            assert_close(future.greeks(kind, 1e-5), future.greeks(kind, 0.0), 1e-12);
            let (soon, now) = (Black76 { years: 1e-15, ..future }, Black76 { years: 0.0, ..future });
            assert_close(soon.greeks(kind, 0.3), now.greeks(kind, 0.3), 1e-12);
        }
    }
}

#[test]
fn at_the_kink_figures_are_the_mean_of_both_sides() {
    let kink = Black76 { forward: 100.0, strike: 100.0, rate: 0.05, years: 0.5 };
    let half = 0.5 * libm::exp(-0.05 * 0.5);
    assert_close(kink.greeks(Call, 0.0), Greeks { delta: half, ..WORTHLESS }, 1e-15);
    assert_close(kink.greeks(Put, 0.0), Greeks { delta: -half, ..WORTHLESS }, 1e-15);

    let kink = BlackScholes { spot: 100.0, strike: 100.0, rate: 0.05, dividend_yield: 0.02, years: 0.0 };
    let mean_theta = 0.5 * (0.02 - 0.05) * 100.0 / 365.0;
    assert_close(kink.greeks(Call, 0.2), Greeks { delta: 0.5, theta: mean_theta, ..WORTHLESS }, 1e-15);
    assert_close(kink.greeks(Put, 0.2), Greeks { delta: -0.5, theta: -mean_theta, ..WORTHLESS }, 1e-15);
}

#[test]
fn unlimited_volatility_gives_the_leg_itself() {
    let call = OPTION.greeks(Call, f64::MAX);
    assert_eq!(call.price, 100.0 * libm::exp(-0.02 * 0.5));
    assert_eq!((call.gamma, call.vega), (0.0, 0.0));
    assert_eq!(FUTURE.price(Put, f64::MAX), 90.0 * libm::exp(-0.05 * 0.5));
}

#[test]
fn invalid_input_gives_nan_in_every_figure() {
    let invalid = [
        BlackScholes { spot: 0.0, ..OPTION },
        BlackScholes { spot: -1.0, ..OPTION },
        BlackScholes { spot: f64::NAN, ..OPTION },
        BlackScholes { spot: f64::INFINITY, ..OPTION },
        BlackScholes { strike: 0.0, ..OPTION },
        BlackScholes { strike: -90.0, ..OPTION },
        BlackScholes { strike: f64::NAN, ..OPTION },
        BlackScholes { rate: f64::NAN, ..OPTION },
        BlackScholes { rate: f64::INFINITY, ..OPTION },
        BlackScholes { rate: -1e4, ..OPTION },
        BlackScholes { dividend_yield: f64::NAN, ..OPTION },
        BlackScholes { dividend_yield: f64::NEG_INFINITY, ..OPTION },
        BlackScholes { years: -1e-9, ..OPTION },
        BlackScholes { years: f64::NAN, ..OPTION },
        BlackScholes { years: f64::INFINITY, ..OPTION },
    ];
    for option in invalid {
        for kind in [Call, Put] {
            assert!(option.price(kind, 0.2).is_nan(), "{option:?}");
            assert!(figures(option.greeks(kind, 0.2)).into_iter().all(f64::is_nan), "{option:?}");
            assert_eq!(option.implied_volatility(kind, 11.0), None, "{option:?}");
        }
    }
    let invalid = [
        Black76 { forward: 0.0, ..FUTURE },
        Black76 { forward: -37.63, ..FUTURE },
        Black76 { forward: f64::NAN, ..FUTURE },
        Black76 { strike: -90.0, ..FUTURE },
        Black76 { rate: f64::NAN, ..FUTURE },
        Black76 { years: -1e-9, ..FUTURE },
        Black76 { years: f64::INFINITY, ..FUTURE },
    ];
    for option in invalid {
        for kind in [Call, Put] {
            assert!(option.price(kind, 0.2).is_nan(), "{option:?}");
            assert!(figures(option.greeks(kind, 0.2)).into_iter().all(f64::is_nan), "{option:?}");
            assert_eq!(option.implied_volatility(kind, 11.0), None, "{option:?}");
        }
    }
    for volatility in [-0.2, f64::NAN, f64::INFINITY] {
        assert!(figures(OPTION.greeks(Call, volatility)).into_iter().all(f64::is_nan));
        assert!(OPTION.price(Put, volatility).is_nan());
        assert!(figures(FUTURE.greeks(Call, volatility)).into_iter().all(f64::is_nan));
        assert!(FUTURE.price(Put, volatility).is_nan());
    }
}

#[test]
fn no_volatility_is_implied_at_or_outside_the_bounds() {
    for (kind, ceiling) in [(Call, 100.0 * libm::exp(-0.02 * 0.5)), (Put, 90.0 * libm::exp(-0.05 * 0.5))] {
        let floor = OPTION.price(kind, 0.0);
        assert_eq!(OPTION.implied_volatility(kind, floor), None);
        assert_eq!(OPTION.implied_volatility(kind, floor - 1e-6), None);
        assert_eq!(OPTION.implied_volatility(kind, ceiling), None);
        assert_eq!(OPTION.implied_volatility(kind, ceiling + 1e-6), None);
        for price in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(OPTION.implied_volatility(kind, price), None);
        }
        // Just inside, there is one.
        for inside in [floor + 1e-6, 0.5 * (floor + ceiling), ceiling - 1e-6] {
            let volatility = OPTION.implied_volatility(kind, inside).unwrap();
            assert!((OPTION.price(kind, volatility) - inside).abs() <= 1e-12 * 100.0);
        }
    }
    // Out of the money the lower bound is a price of zero.
    assert_eq!(OPTION.implied_volatility(Put, 0.0), None);
    assert!(OPTION.implied_volatility(Put, 1e-300).is_some());
}

#[test]
fn no_volatility_is_implied_without_time() {
    assert_eq!(BlackScholes { years: 0.0, ..OPTION }.implied_volatility(Call, 11.0), None);
    assert_eq!(Black76 { years: 0.0, ..FUTURE }.implied_volatility(Call, 11.0), None);
}

#[test]
fn absurd_input_gives_no_nan() {
    let far = BlackScholes { spot: 1.0, strike: 1e300, rate: -0.06, dividend_yield: 0.0, years: 285.0 };
    let rich = BlackScholes { dividend_yield: 1e300, years: 0.0, ..OPTION };
    for option in [far, rich] {
        for kind in [Call, Put] {
            let greeks = option.greeks(kind, 0.2);
            assert!(!figures(greeks).into_iter().any(f64::is_nan), "{option:?} {greeks:?}");
        }
    }
}
