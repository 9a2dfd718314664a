//! What a line adds to the sums, and the sums.

use super::exact::{Digits, ExactSum};
use super::view::{Figure, Figures, LineFigures};

/// What one position amounts to, as it is in the sums: every number finite.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Terms {
    pub(super) delta: Option<f64>,
    pub(super) delta_dollars: Option<f64>,
    pub(super) beta_weighted_delta_dollars: Option<f64>,
    pub(super) gamma_1pct: Option<f64>,
    pub(super) theta: Option<f64>,
    pub(super) vega: Option<f64>,
}

/// What the terms of a line are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inputs {
    pub(super) quantity: f64,
    pub(super) multiplier: f64,
    pub(super) beta: Option<f64>,
    pub(super) delta: Option<f64>,
    pub(super) gamma: Option<f64>,
    pub(super) theta: Option<f64>,
    pub(super) vega: Option<f64>,
    pub(super) underlying_price: Option<f64>,
}

impl Terms {
    pub(super) fn of(inputs: &Inputs) -> Self {
        let size = inputs.quantity * inputs.multiplier;
        let times = |a: Option<f64>, b: Option<f64>| Some(a? * b?).filter(|product| product.is_finite());
        let price = inputs.underlying_price;
        let delta = times(inputs.delta, Some(size));
        let delta_dollars = times(delta, price);
        // Delta moves by gamma per 1.00, and 1 % of the underlying is a hundredth of its price.
        let moved = times(times(inputs.gamma, Some(size)), price);
        Self {
            delta,
            delta_dollars,
            beta_weighted_delta_dollars: times(delta_dollars, inputs.beta),
            gamma_1pct: times(times(moved, price), Some(0.01)),
            theta: times(inputs.theta, Some(size)),
            vega: times(inputs.vega, Some(size)),
        }
    }

    const fn all(&self) -> [Option<f64>; 6] {
        [self.delta, self.delta_dollars, self.beta_weighted_delta_dollars, self.gamma_1pct, self.theta, self.vega]
    }

    /// The figures of a line, given the benchmark's price.
    pub(super) fn figures(&self, benchmark_price: Option<f64>) -> LineFigures {
        LineFigures {
            delta: self.delta,
            delta_dollars: self.delta_dollars,
            beta_weighted_delta_dollars: self.beta_weighted_delta_dollars,
            beta_weighted_delta: in_shares(self.beta_weighted_delta_dollars, benchmark_price),
            gamma_1pct: self.gamma_1pct,
            theta: self.theta,
            vega: self.vega,
        }
    }
}

fn in_shares(dollars: Option<f64>, price: Option<f64>) -> Option<f64> {
    Some(dollars? / price?).filter(|shares| shares.is_finite())
}

/// The exact sums of a group of lines, and of how many lines each is.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    sums: [Sum; 6],
}

#[derive(Clone, Debug, Default)]
struct Sum {
    exact: ExactSum,
    lines: u32,
}

/// What becomes of sums when a line amounts to something else: worked out once for all the groups it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) was_open: bool,
    pub(super) is_open: bool,
    steps: [Step; 6],
}

/// What goes from one sum and what comes in its place.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    gone: Option<Digits>,
    come: Option<Digits>,
}

impl Change {
    /// `None` is a line that is not open.
    pub(super) fn between(was: Option<&Terms>, is: Option<&Terms>) -> Self {
        let all = |terms: Option<&Terms>| terms.map_or([None; 6], Terms::all);
        let mut steps = [Step::default(); 6];
        // Most events change some of the terms only.
        for (step, (was, is)) in steps.iter_mut().zip(all(was).into_iter().zip(all(is))).filter(|(_, (a, b))| a != b) {
            *step = Step { gone: was.map(Digits::of), come: is.map(Digits::of) };
        }
        Self { was_open: was.is_some(), is_open: is.is_some(), steps }
    }
}

impl Sums {
    /// Goes along with a change of a line that is, or was, among those summed up.
    pub(super) fn apply(&mut self, change: &Change) {
        for (sum, step) in self.sums.iter_mut().zip(&change.steps) {
            if let Some(gone) = &step.gone {
                sum.exact.remove(gone);
                sum.lines -= 1;
            }
            if let Some(come) = &step.come {
                sum.exact.add(come);
                sum.lines += 1;
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.sums.iter_mut().zip(&other.sums) {
            mine.exact.merge(&theirs.exact);
            mine.lines += theirs.lines;
        }
    }

    /// The sums, rounded, given the benchmark's price.
    pub(super) fn figures(&self, benchmark_price: Option<f64>) -> Figures {
        let [delta, delta_dollars, beta_weighted_delta_dollars, gamma_1pct, theta, vega] =
            self.sums.each_ref().map(Sum::figure);
        let beta_weighted_delta = Figure {
            value: in_shares(beta_weighted_delta_dollars.value, benchmark_price),
            lines: if benchmark_price.is_some() { beta_weighted_delta_dollars.lines } else { 0 },
        };
        let ratio = |theta: f64, vega: f64| Some(theta / vega).filter(|ratio| ratio.is_finite());
        Figures {
            delta,
            delta_dollars,
            beta_weighted_delta_dollars,
            beta_weighted_delta,
            gamma_1pct,
            theta,
            vega,
            theta_vega: theta.value.zip(vega.value).and_then(|(theta, vega)| ratio(theta, vega)),
        }
    }
}

impl Sum {
    fn figure(&self) -> Figure {
        let value = (self.lines > 0).then(|| self.exact.value()).filter(|value| value.is_finite());
        Figure { value, lines: self.lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> Inputs {
        Inputs {
            quantity: -3.0,
            multiplier: 100.0,
            beta: Some(2.0),
            delta: Some(0.25),
            gamma: Some(0.5),
            theta: Some(-0.125),
            vega: Some(0.75),
            underlying_price: Some(200.0),
        }
    }

    #[test]
    fn figures_are_signed_by_the_position_and_in_their_units() {
        let terms = Terms::of(&inputs());
        assert_eq!(terms.delta, Some(-75.0));
        assert_eq!(terms.delta_dollars, Some(-15_000.0));
        assert_eq!(terms.beta_weighted_delta_dollars, Some(-30_000.0));
        // 1 % of 200 is 2: delta moves by 1 for each contract, by -300 in all, which is -60,000 of money.
        assert_eq!(terms.gamma_1pct, Some(-60_000.0));
        assert_eq!(terms.theta, Some(37.5));
        assert_eq!(terms.vega, Some(-225.0));
        let figures = terms.figures(Some(600.0));
        assert_eq!(figures.beta_weighted_delta, Some(-50.0));
        assert_eq!(terms.figures(None).beta_weighted_delta, None);
    }

    #[test]
    fn unknown_is_never_zero() {
        let no_price = Terms::of(&Inputs { underlying_price: None, ..inputs() });
        assert_eq!((no_price.delta, no_price.delta_dollars, no_price.gamma_1pct), (Some(-75.0), None, None));
        let no_beta = Terms::of(&Inputs { beta: None, ..inputs() });
        assert_eq!(no_beta.beta_weighted_delta_dollars, None);
        let too_much = Terms::of(&Inputs { delta: Some(1e308), ..inputs() });
        assert_eq!((too_much.delta, too_much.delta_dollars), (None, None));

        let mut sums = Sums::default();
        assert_eq!(sums.figures(Some(600.0)), Figures::default());
        sums.apply(&Change::between(None, Some(&no_price)));
        let figures = sums.figures(Some(600.0));
        assert_eq!(figures.delta, Figure { value: Some(-75.0), lines: 1 });
        assert_eq!(figures.delta_dollars, Figure { value: None, lines: 0 });
        assert_eq!(figures.theta_vega, Some(37.5 / -225.0));
        sums.apply(&Change::between(Some(&no_price), Some(&Terms::of(&inputs()))));
        assert_eq!(sums.figures(None).delta_dollars, Figure { value: Some(-15_000.0), lines: 1 });
        assert_eq!(sums.figures(None).beta_weighted_delta, Figure { value: None, lines: 0 });
        sums.apply(&Change::between(Some(&Terms::of(&inputs())), None));
        assert_eq!(sums.figures(Some(600.0)), Figures::default());
    }

    #[test]
    fn a_ratio_to_no_vega_is_unknown() {
        let mut sums = Sums::default();
        let no_vega = Terms { theta: Some(1.0), vega: Some(0.0), ..Terms::default() };
        sums.apply(&Change::between(None, Some(&no_vega)));
        assert_eq!(sums.figures(None).theta_vega, None);
        sums.apply(&Change::between(None, Some(&Terms { vega: Some(2.0), ..Terms::default() })));
        assert_eq!(sums.figures(None).theta_vega, Some(0.5));
    }
}
