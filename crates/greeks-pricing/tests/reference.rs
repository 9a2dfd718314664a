//! Every figure against `fixtures/reference.csv`, which `fixtures/generate.py` computes with 60 digits.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use greeks_pricing::{Black76, BlackScholes, Greeks, OptionKind};

const REFERENCE: &str = include_str!("fixtures/reference.csv");

/// What the crate docs promise.
const RELATIVE: f64 = 1e-10;
const ABSOLUTE: f64 = 1e-12;

#[derive(Debug, Clone, Copy)]
enum Model {
    Bsm(BlackScholes),
    Black76(Black76),
}

impl Model {
    fn greeks(&self, kind: OptionKind, volatility: f64) -> Greeks {
        match self {
            Self::Bsm(option) => option.greeks(kind, volatility),
            Self::Black76(option) => option.greeks(kind, volatility),
        }
    }

    fn price(&self, kind: OptionKind, volatility: f64) -> f64 {
        match self {
            Self::Bsm(option) => option.price(kind, volatility),
            Self::Black76(option) => option.price(kind, volatility),
        }
    }

    fn implied_volatility(&self, kind: OptionKind, price: f64) -> Option<f64> {
        match self {
            Self::Bsm(option) => option.implied_volatility(kind, price),
            Self::Black76(option) => option.implied_volatility(kind, price),
        }
    }

    fn underlying(&self) -> f64 {
        match self {
            Self::Bsm(option) => option.spot,
            Self::Black76(option) => option.forward,
        }
    }

    fn years(&self) -> f64 {
        match self {
            Self::Bsm(option) => option.years,
            Self::Black76(option) => option.years,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Case {
    model: Model,
    kind: OptionKind,
    volatility: f64,
    want: Greeks,
}

fn cases() -> Vec<Case> {
    let cases: Vec<Case> = REFERENCE.lines().skip(1).map(parse).collect();
    assert!(cases.len() > 4000, "fixtures are cut short: {}", cases.len());
    cases
}

fn parse(line: &str) -> Case {
    let (names, numbers) = {
        let mut columns = line.split(',');
        let names: Vec<&str> = columns.by_ref().take(2).collect();
        (names, columns.map(|number| number.parse().unwrap()).collect::<Vec<f64>>())
    };
    let [underlying, strike, rate, dividend_yield, volatility, years, price, delta, gamma, theta, vega, rho] =
        numbers[..]
    else {
        panic!("not twelve numbers: {line}")
    };
    let model = match names[0] {
        "bsm" => Model::Bsm(BlackScholes { spot: underlying, strike, rate, dividend_yield, years }),
        "black76" => Model::Black76(Black76 { forward: underlying, strike, rate, years }),
        other => panic!("unknown model {other}"),
    };
    let kind = match names[1] {
        "C" => OptionKind::Call,
        "P" => OptionKind::Put,
        other => panic!("unknown kind {other}"),
    };
    Case { model, kind, volatility, want: Greeks { price, delta, gamma, theta, vega, rho } }
}

fn named(greeks: &Greeks) -> [(&'static str, f64); 6] {
    [
        ("price", greeks.price),
        ("delta", greeks.delta),
        ("gamma", greeks.gamma),
        ("theta", greeks.theta),
        ("vega", greeks.vega),
        ("rho", greeks.rho),
    ]
}

/// The name of the first figure outside the tolerance.
fn first_deviation(got: &Greeks, want: &Greeks) -> Option<&'static str> {
    named(got).into_iter().zip(named(want)).find_map(|((name, got), (_, want))| {
        let error = (got - want).abs();
        // NaN must not pass, so the good case is the one asked for.
        let good = error <= ABSOLUTE || error <= RELATIVE * want.abs();
        (!good).then_some(name)
    })
}

#[test]
fn every_figure_agrees_with_the_reference() {
    let mut failures = Vec::new();
    for case in cases() {
        let got = case.model.greeks(case.kind, case.volatility);
        assert_eq!(got.price.to_bits(), case.model.price(case.kind, case.volatility).to_bits(), "{case:?}");
        if let Some(name) = first_deviation(&got, &case.want) {
            failures.push(format!("{name}: {case:?}\n got {got:?}"));
        }
    }
    assert!(failures.is_empty(), "{} cases differ, first: {}", failures.len(), failures[0]);
}

/// Sharper than the promise: all figures but theta, which crosses zero, hold eleven digits however small they are.
#[test]
fn tails_keep_their_relative_precision() {
    let mut compared = 0;
    for case in cases() {
        let got = case.model.greeks(case.kind, case.volatility);
        for ((name, got), (_, want)) in named(&got).into_iter().zip(named(&case.want)) {
            // Next to the smallest normal double, digits are lost by the format itself.
            if name != "theta" && want.abs() > 1e-290 {
                assert!((got - want).abs() <= 1e-11 * want.abs(), "{name} got {got:e} {case:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 15_000, "{compared}");
}

/// Negative control: an error ten times the tolerance, in one figure of any case, is seen.
#[test]
fn comparison_sees_a_perturbation_of_one_part_in_a_billion() {
    let mut seen = [0; 6];
    for case in cases() {
        for (index, count) in seen.iter_mut().enumerate() {
            let mut wrong = case.want;
            let figure = [
                &mut wrong.price,
                &mut wrong.delta,
                &mut wrong.gamma,
                &mut wrong.theta,
                &mut wrong.vega,
                &mut wrong.rho,
            ];
            let mut changed = "";
            for (position, value) in figure.into_iter().enumerate() {
                // Below this size the absolute tolerance rightly hides it.
                if position == index && value.abs() > 1e-2 {
                    *value *= 1.0 + 1e-9;
                    changed = named(&case.want)[index].0;
                }
            }
            if !changed.is_empty() {
                assert_eq!(first_deviation(&wrong, &case.want), Some(changed), "{case:?}");
                *count += 1;
            }
        }
    }
    assert!(seen.iter().all(|&count| count > 300), "too few figures large enough to perturb: {seen:?}");
}

#[test]
fn comparison_sees_nan() {
    let case = cases()[0];
    let wrong = Greeks { gamma: f64::NAN, ..case.want };
    assert_eq!(first_deviation(&wrong, &case.want), Some("gamma"));
}

/// From the reference price back to a volatility that reprices it, wherever the price holds one.
#[test]
fn implied_volatility_reprices_the_reference() {
    let (mut solved, mut without) = (0, 0);
    for case in cases() {
        let target = case.want.price;
        let tolerance = 1e-12 * case.model.underlying();
        match case.model.implied_volatility(case.kind, target) {
            Some(volatility) => {
                let error = (case.model.price(case.kind, volatility) - target).abs();
                assert!(error <= tolerance, "{case:?} volatility {volatility:e} error {error:e}");
                solved += 1;
            }
            None => {
                // Only where the double nearest to the price is that of no, or of unlimited, volatility.
                let floor = case.model.price(case.kind, 0.0);
                let ceiling = case.model.price(case.kind, 1e4 / case.model.years().sqrt());
                let tied = (target - floor).min(ceiling - target);
                assert!(tied <= 8.0 * f64::EPSILON * ceiling, "{case:?} tied {tied:e}");
                without += 1;
            }
        }
    }
    println!("{solved} solved, {without} without volatility");
    assert!(solved > 3000, "solved {solved}, without {without}");
}

/// Where the price moves with the volatility, the volatility itself comes back.
#[test]
fn implied_volatility_returns_where_the_price_is_sensitive() {
    let mut compared = 0;
    for case in cases() {
        // A rounding of the price, seen through vega, must be small against the volatility.
        let resolution = 1e-15 * (case.want.price + case.model.underlying()) / (100.0 * case.want.vega);
        if resolution < 1e-9 * case.volatility {
            let got = case.model.implied_volatility(case.kind, case.want.price).unwrap();
            let error = (got - case.volatility).abs();
            assert!(error <= 1e-8 * case.volatility, "{case:?} got {got:e}");
            compared += 1;
        }
    }
    assert!(compared > 1500, "{compared}");
}
