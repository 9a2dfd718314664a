//! Closed-form prices, Greeks and implied volatility of European options.
//!
//! - [`BlackScholes`]: an option on a spot price with a continuous dividend yield (Black and Scholes 1973, Merton 1973).
//! - [`Black76`]: an option on a forward or future, its premium paid up front (Black 1976).
//!
//! Both are plain structs of what the market says; the volatility is an argument, and `implied_volatility` is the way
//! back from a price.
//!
//! ```
//! use greeks_pricing::{BlackScholes, OptionKind};
//!
//! let option = BlackScholes { spot: 100.0, strike: 105.0, rate: 0.04, dividend_yield: 0.01, years: 0.25 };
//! let greeks = option.greeks(OptionKind::Call, 0.2);
//! assert!((greeks.price - 2.3002).abs() < 1e-4);
//! assert!((greeks.delta - 0.357).abs() < 0.001);
//!
//! let volatility = option.implied_volatility(OptionKind::Call, greeks.price).unwrap();
//! assert!((volatility - 0.2).abs() < 1e-12);
//! ```
//!
//! # Units
//!
//! | figure | unit |
//! |---|---|
//! | inputs | rates, yields and volatilities as fractions per year (0.25 is 25 %), rates compounded continuously, time in years |
//! | price | the currency of spot and strike, per one unit of the contract |
//! | delta | per 1.00 of the spot ([`BlackScholes`]) or forward ([`Black76`]) |
//! | gamma | change of delta per 1.00 |
//! | theta | per calendar day: the yearly figure / 365, negative when the option loses value as time passes |
//! | vega | per 1 volatility point (0.01) |
//! | rho | per 1 % of rate (0.01); see [`Black76::greeks`] for what is held constant there |
//!
//! # Accuracy
//!
//! Every figure is within 1e-10 relative or 1e-12 absolute of a 60-digit evaluation of the same doubles. The committed
//! fixtures cover seconds to ten years, volatilities from 0.01 % to 1000 %, negative rates, and moneyness far beyond
//! both tails; there all figures but theta, which crosses zero, hold eleven digits however small they are. Three
//! choices make that possible: the out-of-the-money option is always priced first and parity then only adds, tails come
//! from the complementary error function and the Mills ratio, and the difference of two nearly equal tails is
//! integrated rather than subtracted. The functions come from the `libm` crate, so that the figures do not depend on the
//! mathematics library of the platform.
//!
//! # Limits
//!
//! At expiry (`years == 0`) and without volatility the price is the discounted intrinsic value and the Greeks are its
//! derivatives; gamma and vega are 0. Exactly at the kink, where the forward
//! equals the strike, delta, theta and rho are the mean of both sides (delta is one half of its in-the-money value)
//! and gamma and vega stay 0: a finite figure that can be summed, though the limit of gamma is infinite.
//!
//! # Implied volatility
//!
//! `implied_volatility` answers with a volatility whose price differs from the given one by rounding only (below 1e-12
//! of the underlying, unless the price itself is so large that its last digit is worth more).
//!
//! It is `None` where no positive volatility does that: no time left, a price at or below the discounted intrinsic
//! value, a price at or above that of unlimited volatility (the discounted spot or forward for a call, the discounted
//! strike for a put). A price exactly at the lower bound is `None` rather than 0, because it says nothing: far from the
//! money every small volatility gives that very double, and an unknown figure must not read as a known one. For the
//! same reason an option far in the money has no implied volatility once its time value is below the rounding of its
//! price, and one whose time value is a few last digits has one that reprices but says little.
//!
//! # Invalid input
//!
//! One rule: every figure is NaN, and `implied_volatility` is `None`. Invalid is a NaN or an infinity anywhere, a spot,
//! forward or strike that is not positive, a negative time or volatility, and a rate so extreme that discounting
//! overflows a double. Valid input never gives NaN; a figure beyond
//! the largest double, such as gamma at the money with next to no time left, is infinite.
//!
//! # Sources
//!
//! - F. Black and M. Scholes, "The Pricing of Options and Corporate Liabilities", Journal of Political Economy 81 (1973).
//! - R. C. Merton, "Theory of Rational Option Pricing", Bell Journal of Economics and Management Science 4 (1973).
//! - F. Black, "The Pricing of Commodity Contracts", Journal of Financial Economics 3 (1976).
#![no_std]

mod types;

mod black76;
mod bsm;

mod black;
mod implied;
mod normal;

pub use black76::Black76;
pub use bsm::BlackScholes;
pub use types::{Greeks, OptionKind};
