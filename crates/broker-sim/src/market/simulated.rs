//! A seeded market: spots walk, the smile follows, time passes, and every figure comes from the pricing formulas.

use std::collections::HashMap;
use std::time::Duration;

use greeks_pricing::{Black76, BlackScholes, OptionKind};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::book::Book;
use super::calendar::{CLOSE, future_expiry, millis, new_york};
use super::event::{Body, Event, GreekValues, Stamp, SymbolId};
use super::filling::fill;
use super::listing::Listing;
use super::universe::{ASSETS, RATE, SPX, class_of, strike, underlying_streamer};
use super::{Due, Hub, Market, checked_rate, checked_underlying_rate, seconds};
use crate::config::SimulatedMarket;
use crate::{SimError, market::Kind};

const YEAR_MILLIS: f64 = 365.0 * 86_400_000.0;

/// Events that a market makes up for after a stall of the machine, in seconds of its rate.
const CATCH_UP: f64 = 1.0;

/// The fund that books are weighted against, and the part of the index that a share of it is worth.
const FUND: (&str, f64) = ("SPY", 0.0997);

/// The shortest sleep: at high rates events leave in batches of this length.
const BATCH: f64 = 0.004;

/// The simulated market. The same settings give the same contracts, path and values; only the stamps tell the time.
pub(crate) struct Simulated {
    rng: fastrand::Rng,
    zone: TimeZone,
    date: Date,
    /// Market time in milliseconds since 1970: moves on by one event's share with each event.
    clock: f64,
    rate: f64,
    underlying_rate: f64,
    elapsed: Duration,
    credit: f64,
    underlying_credit: f64,
    assets: Vec<AssetState>,
    underlyings: Vec<Quoted>,
    options: Vec<Priced>,
    turn: usize,
    underlying_turn: usize,
    stamps: HashMap<(SymbolId, Kind), Stamp>,
}

#[derive(Clone, Copy)]
struct AssetState {
    spot: f64,
    open: f64,
    volatility: f64,
    /// Market time of the last step.
    stepped: f64,
}

/// An underlying on the stream.
#[derive(Clone, Copy)]
struct Quoted {
    symbol: SymbolId,
    asset: usize,
    price: Price,
    tick: f64,
}

/// How the price of an underlying follows from its asset.
#[derive(Clone, Copy)]
enum Price {
    Asset,
    /// A future on the asset, delivered at this market time.
    Forward(f64),
    /// A fund whose share is this part of the asset.
    Share(f64),
}

/// An option on the stream.
#[derive(Clone, Copy)]
struct Priced {
    symbol: SymbolId,
    asset: usize,
    price: Price,
    futures_style: bool,
    kind: OptionKind,
    strike: f64,
    expiry: f64,
    illiquid: bool,
}

impl Simulated {
    /// The market and the book of its one customer.
    pub(crate) fn new(config: &SimulatedMarket, hub: &Hub) -> Result<(Self, Book), SimError> {
        let rate = checked_rate(config.rate)?;
        let underlying_rate = checked_underlying_rate(config.underlying_rate)?;
        let zone = new_york();
        let opened = config.opened.unwrap_or_else(|| {
            let today = Timestamp::now().to_zoned(zone.clone()).date();
            zone.to_timestamp(today.to_datetime(super::calendar::OPEN)).unwrap_or(Timestamp::UNIX_EPOCH)
        });
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let clock = as_double(opened.as_millisecond());
        let assets = ASSETS
            .iter()
            .map(|asset| {
                let spot = asset.spot * (1.0 + 0.02 * (rng.f64() - 0.5));
                AssetState { spot, open: spot, volatility: asset.volatility, stepped: clock }
            })
            .collect();
        let date = opened.to_zoned(zone.clone()).date();
        let mut market = Self {
            rng,
            zone,
            date,
            clock,
            rate,
            underlying_rate,
            elapsed: Duration::ZERO,
            credit: 0.0,
            underlying_credit: 0.0,
            assets,
            underlyings: Vec::new(),
            options: Vec::new(),
            turn: 0,
            underlying_turn: 0,
            stamps: HashMap::new(),
        };
        let spots: Vec<f64> = market.assets.iter().map(|asset| asset.spot).collect();
        let (book, quoted) = fill(&mut market.rng, date, config.positions, &spots)?;
        for (listing, illiquid) in &quoted {
            market.follow(listing, hub, *illiquid)?;
        }
        // Quoted whether anything on it is held or not.
        let symbol = hub.intern(FUND.0).ok_or_else(too_many)?;
        market.underlyings.push(Quoted { symbol, asset: SPX, price: Price::Share(FUND.1), tick: 0.01 });
        Ok((market, book))
    }

    /// Numbers the symbols of an option and of its underlying, and begins to quote both.
    fn follow(&mut self, listing: &Listing, hub: &Hub, illiquid: bool) -> Result<(), SimError> {
        let symbol = hub.intern(&listing.streamer_symbol).ok_or_else(too_many)?;
        let underlying = hub.intern(&underlying_streamer(listing)).ok_or_else(too_many)?;
        let option =
            self.model(listing, symbol, illiquid).ok_or_else(|| SimError::Unknown(listing.rest_symbol.clone()))?;
        if !self.underlyings.iter().any(|known| known.symbol == underlying) {
            let tick = ASSETS.get(option.asset).map_or(0.01, |asset| asset.tick);
            let tick = if matches!(option.price, Price::Forward(_)) { 0.25 } else { tick };
            self.underlyings.push(Quoted { symbol: underlying, asset: option.asset, price: option.price, tick });
        }
        self.options.push(option);
        Ok(())
    }

    fn model(&self, listing: &Listing, symbol: SymbolId, illiquid: bool) -> Option<Priced> {
        let (class, _) = class_of(&listing.contract)?;
        let price = match (class.future, listing.contract.future()) {
            (Some("ES"), Some(future)) => {
                Price::Forward(as_double(millis(&self.zone, future_expiry(future)?.to_datetime(CLOSE))))
            }
            _ => Price::Asset,
        };
        Some(Priced {
            symbol,
            asset: class.asset,
            price,
            futures_style: class.future.is_some(),
            kind: listing.kind(),
            strike: strike(&listing.contract),
            expiry: as_double(millis(&self.zone, listing.contract.expiration().to_datetime(CLOSE))),
            illiquid,
        })
    }

    /// One Greeks event of the next contract in turn; none if all have expired.
    fn quote_next(&mut self, wall: i64) -> Option<Event> {
        for _ in 0..self.options.len() {
            let option = *self.options.get(self.turn)?;
            self.turn = (self.turn + 1) % self.options.len();
            if option.expiry > self.clock {
                self.step(option.asset);
                let values = self.value(&option)?;
                return Some(self.stamped(option.symbol, Kind::Greeks, Body::Greeks(values), wall));
            }
        }
        None
    }

    /// Moves an asset's spot and volatility to the present of the market: geometric Brownian motion, with a volatility
    /// that rises when the spot falls and returns to its mean within days.
    fn step(&mut self, asset: usize) {
        let z = normal(&mut self.rng);
        let (Some(state), Some(asset)) = (self.assets.get_mut(asset), ASSETS.get(asset)) else { return };
        let years = (self.clock - state.stepped) / YEAR_MILLIS;
        if years <= 0.0 {
            return;
        }
        state.stepped = self.clock;
        let deviation = state.volatility * years.sqrt();
        state.spot *= (deviation * z - 0.5 * deviation * deviation).exp();
        let back = (asset.volatility - state.volatility) * (years * 80.0).min(1.0);
        state.volatility = (state.volatility + back - 0.6 * deviation * z).clamp(0.03, 1.5);
    }

    fn underlying_price(&self, asset: usize, price: Price) -> Option<f64> {
        let spot = self.assets.get(asset)?.spot;
        Some(match price {
            Price::Asset => spot,
            Price::Forward(delivery) => {
                let years = ((delivery - self.clock) / YEAR_MILLIS).max(0.0);
                spot * ((RATE - ASSETS.get(asset)?.dividend_yield) * years).exp()
            }
            Price::Share(part) => spot * part,
        })
    }

    fn value(&self, option: &Priced) -> Option<GreekValues> {
        let asset = ASSETS.get(option.asset)?;
        let spot = self.underlying_price(option.asset, option.price)?;
        let years = (option.expiry - self.clock) / YEAR_MILLIS;
        let level = self.assets.get(option.asset)?.volatility;
        // Puts and calls of one strike share a volatility, so parity holds between them.
        let distance = ((option.strike / spot).ln() / (level * years.sqrt())).clamp(-6.0, 6.0);
        let volatility = (level + asset.skew * distance + 0.004 * distance * distance).clamp(0.02, 3.0);
        let model = Model::of(option, spot, asset.dividend_yield, years);
        if !option.illiquid {
            return Some(GreekValues::of(volatility, &model.greeks(option.kind, volatility)));
        }
        // Nobody makes a tight market deep in the money: the price is known to the cent only, and that is often
        // outside of what any volatility can explain.
        let price = (model.greeks(option.kind, volatility).price * 100.0).round() / 100.0;
        Some(match model.implied(option.kind, price) {
            Some(solved) => GreekValues { price, ..GreekValues::of(solved, &model.greeks(option.kind, solved)) },
            None => GreekValues::unsolved(price),
        })
    }

    /// Quote and trade of the next underlying in turn.
    fn quote_underlying(&mut self, wall: i64, out: &mut Vec<Event>) {
        let Some(quoted) = self.underlyings.get(self.underlying_turn).copied() else { return };
        self.underlying_turn = (self.underlying_turn + 1) % self.underlyings.len();
        self.quote(quoted, wall, out);
    }

    fn quote(&mut self, quoted: Quoted, wall: i64, out: &mut Vec<Event>) {
        let Some(price) = self.underlying_price(quoted.asset, quoted.price) else { return };
        let ticks = price / quoted.tick;
        let (bid, ask) = (ticks.floor() * quoted.tick, (ticks.floor() + 1.0) * quoted.tick);
        // An index has levels but no sizes.
        let index = quoted.asset == SPX && matches!(quoted.price, Price::Asset);
        let size = if index { f64::NAN } else { 100.0 };
        let change = price - self.assets.get(quoted.asset).map_or(price, |state| state.open);
        out.push(self.stamped(quoted.symbol, Kind::Quote, Body::Quote { bid: tidy(bid), ask: tidy(ask), size }, wall));
        let last = tidy(ticks.round() * quoted.tick);
        let trade = Body::Trade { price: last, size, change: tidy(change) };
        out.push(self.stamped(quoted.symbol, Kind::Trade, trade, wall));
    }

    fn stamped(&mut self, symbol: SymbolId, kind: Kind, body: Body, wall: i64) -> Event {
        let stamp = self.stamps.entry((symbol, kind)).or_default();
        *stamp = stamp.next(wall);
        Event { symbol, stamp: *stamp, body }
    }
}

fn too_many() -> SimError {
    SimError::Config("too many symbols".to_owned())
}

impl Market for Simulated {
    fn advance(&mut self, elapsed: Duration, wall: i64, out: &mut Vec<Event>) -> Due {
        let passed = elapsed.saturating_sub(self.elapsed).as_secs_f64();
        self.elapsed = elapsed;
        self.credit += passed.min(CATCH_UP) * self.rate;
        while self.credit >= 1.0 {
            self.credit -= 1.0;
            self.clock += 1000.0 / self.rate;
            out.extend(self.quote_next(wall));
            self.underlying_credit += self.underlying_rate / self.rate;
            while self.underlying_credit >= 1.0 {
                self.underlying_credit -= 1.0;
                self.quote_underlying(wall, out);
            }
        }
        Due::At(elapsed + seconds(((1.0 - self.credit) / self.rate).max(BATCH)))
    }

    fn opening(&mut self, wall: i64, out: &mut Vec<Event>) {
        for quoted in self.underlyings.clone() {
            self.quote(quoted, wall, out);
        }
        for option in self.options.clone() {
            if let Some(values) = self.value(&option) {
                out.push(self.stamped(option.symbol, Kind::Greeks, Body::Greeks(values), wall));
            }
        }
    }

    fn set_rate(&mut self, rate: f64) {
        self.rate = rate;
        self.credit = self.credit.min(1.0);
    }

    fn list(&mut self, listing: &Listing, hub: &Hub) -> bool {
        let known = hub.lookup(&listing.streamer_symbol);
        if known.is_some_and(|symbol| self.options.iter().any(|option| option.symbol == symbol)) {
            return true;
        }
        self.follow(listing, hub, false).is_ok()
    }

    fn opened(&self) -> Date {
        self.date
    }
}

/// One of the two formulas, with everything but the volatility filled in.
enum Model {
    Spot(BlackScholes),
    Future(Black76),
}

impl Model {
    fn of(option: &Priced, underlying: f64, dividend_yield: f64, years: f64) -> Self {
        let strike = option.strike;
        if option.futures_style {
            Self::Future(Black76 { forward: underlying, strike, rate: RATE, years })
        } else {
            Self::Spot(BlackScholes { spot: underlying, strike, rate: RATE, dividend_yield, years })
        }
    }

    fn greeks(&self, kind: OptionKind, volatility: f64) -> greeks_pricing::Greeks {
        match self {
            Self::Spot(model) => model.greeks(kind, volatility),
            Self::Future(model) => model.greeks(kind, volatility),
        }
    }

    fn implied(&self, kind: OptionKind, price: f64) -> Option<f64> {
        match self {
            Self::Spot(model) => model.implied_volatility(kind, price),
            Self::Future(model) => model.implied_volatility(kind, price),
        }
    }
}

/// A standard normal number (Box and Muller).
fn normal(rng: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

/// Prices are quoted in decimals: drops the noise behind the ninth place.
fn tidy(price: f64) -> f64 {
    (price * 1e9).round() / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age fit into 53 bits")]
const fn as_double(millis: i64) -> f64 {
    millis as f64
}

#[cfg(test)]
#[path = "simulated_tests.rs"]
mod tests;
