//! Plays a chain: every trading day in a chosen time, with prices between two closes interpolated.

use std::collections::HashMap;
use std::time::Duration;

use greeks_pricing::{BlackScholes, OptionKind};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::book::{Book, LONG_HELD};
use super::calendar::{CLOSE, OPEN, millis, new_york};
use super::chain::{Chain, Quoted, days_between, years};
use super::event::{Body, Event, GreekValues, Kind, Stamp, SymbolId};
use super::listing::Listing;
use super::{Due, Hub, Market, checked_rate, checked_underlying_rate, seconds};
use crate::SimError;
use crate::config::ChainMarket;

/// The shortest sleep, in seconds.
const BATCH: f64 = 0.004;

/// Hours of a trading day, and the hour at which it begins.
const OPEN_HOUR: f64 = 9.5;
const CLOSE_HOUR: f64 = 16.0;

/// A chain on its way from its first close to its last.
///
/// A day lasts `day` of running time and ends with one event for **every** contract quoted that day, at 16:00:00 in
/// New York, with the spot and volatility of the file. A `night` without events follows, so that a client which asked
/// for aggregation gets the close before the next day overwrites it. Before the close, spot (in logarithms) and
/// volatility lie between the close before and this one; a contract quoted for the first time keeps its volatility all day.
pub(crate) struct Replay {
    chain: Chain,
    options: Vec<Priced>,
    underlyings: Vec<SymbolId>,
    zone: TimeZone,
    rng: fastrand::Rng,
    rate: f64,
    underlying_rate: f64,
    day: Duration,
    night: Duration,
    /// The day being played, and the running time at which it began.
    today: usize,
    began: Duration,
    /// Part of the day at which the next event is due.
    next: f64,
    next_underlying: f64,
    /// Closing volatility of the day before, by contract.
    before: HashMap<usize, f64>,
    stamps: HashMap<(SymbolId, Kind), Stamp>,
}

#[derive(Clone, Copy)]
struct Priced {
    symbol: SymbolId,
    kind: OptionKind,
    strike: f64,
}

impl Replay {
    /// The replay and the book: every contract of the file, spread over the accounts.
    pub(crate) fn new(config: &ChainMarket, hub: &Hub) -> Result<(Self, Book), SimError> {
        let rate = checked_rate(config.rate)?;
        let underlying_rate = checked_underlying_rate(config.underlying_rate)?;
        if config.day.is_zero() {
            return Err(SimError::Config("a trading day must last".to_owned()));
        }
        let chain = Chain::read(&config.path, config.carry)?;
        let full = || SimError::Config("the chain has too many contracts".to_owned());
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let mut book = Book::new();
        let mut options = Vec::with_capacity(chain.contracts.len());
        for (place, listing) in chain.contracts.iter().enumerate() {
            let symbol = hub.intern(&listing.streamer_symbol).ok_or_else(full)?;
            let strike = super::universe::strike(&listing.contract);
            options.push(Priced { symbol, kind: listing.kind(), strike });
            let size = rng.i64(1..=12);
            let quantity = if rng.bool() { size } else { -size };
            let number = book.accounts.get(place % usize::from(config.accounts.clamp(1, 2)));
            if let Some(number) = number.map(|account| account.number.clone()) {
                book.set(&number, listing.clone(), quantity, LONG_HELD);
            }
        }
        let underlyings =
            chain.underlyings.iter().map(|symbol| hub.intern(symbol).ok_or_else(full)).collect::<Result<_, _>>()?;
        let replay = Self {
            chain,
            options,
            underlyings,
            zone: new_york(),
            rng,
            rate,
            underlying_rate,
            day: config.day,
            night: config.night,
            today: 0,
            began: Duration::ZERO,
            next: 0.0,
            next_underlying: 0.0,
            before: HashMap::new(),
            stamps: HashMap::new(),
        };
        Ok((replay, book))
    }

    /// Every event of today up to `part` of the trading day.
    fn play_until(&mut self, part: f64, out: &mut Vec<Event>) {
        let day = self.day.as_secs_f64();
        loop {
            let part_due = self.next.min(self.next_underlying);
            if part_due > part || part_due >= 1.0 {
                return;
            }
            if self.next_underlying <= self.next {
                self.quote_underlyings(part_due, out);
                self.next_underlying =
                    if self.underlying_rate > 0.0 { part_due + 1.0 / (self.underlying_rate * day) } else { 1.0 };
            } else {
                let count = self.chain.days.get(self.today).map_or(0, |day| day.quotes.len());
                let place = if count > 0 { self.rng.usize(0..count) } else { 0 };
                out.extend(self.quote(place, part_due));
                self.next = part_due + 1.0 / (self.rate * day);
            }
        }
    }

    /// The close: underlyings first, so that whoever joins them to options has the closing price.
    fn close(&mut self, out: &mut Vec<Event>) {
        self.quote_underlyings(1.0, out);
        let count = self.chain.days.get(self.today).map_or(0, |day| day.quotes.len());
        out.extend((0..count).filter_map(|place| self.quote(place, 1.0)));
        if let Some(day) = self.chain.days.get(self.today) {
            self.before.clear();
            self.before.extend(day.quotes.iter().map(|quote| (quote.contract, quote.volatility)));
        }
        self.today += 1;
        self.next = 0.0;
        self.next_underlying = 0.0;
    }

    /// Greeks of the contract at `place` of today's list, `part` into the trading day.
    fn quote(&mut self, place: usize, part: f64) -> Option<Event> {
        let day = self.chain.days.get(self.today)?;
        let quoted: Quoted = *day.quotes.get(place)?;
        let option = *self.options.get(quoted.contract)?;
        let expiration = self.chain.contracts.get(quoted.contract)?.contract.expiration();
        let hour = OPEN_HOUR + part * (CLOSE_HOUR - OPEN_HOUR);
        let model = BlackScholes {
            spot: self.spot(quoted.underlying, part)?,
            strike: option.strike,
            rate: quoted.carry.rate,
            dividend_yield: quoted.carry.dividend_yield,
            years: years(f64::from(days_between(day.date, expiration)) - hour / 24.0),
        };
        let volatility = match self.before.get(&quoted.contract) {
            // At the close exactly the figure of the file, without the rounding of an interpolation.
            Some(before) if part < 1.0 => before + (quoted.volatility - before) * part,
            _ => quoted.volatility,
        };
        let values = GreekValues::of(volatility, &model.greeks(option.kind, volatility));
        let time = self.instant(part)?;
        Some(self.stamped(option.symbol, Kind::Greeks, Body::Greeks(values), time))
    }

    fn quote_underlyings(&mut self, part: f64, out: &mut Vec<Event>) {
        let Some(time) = self.instant(part) else { return };
        for place in 0..self.underlyings.len() {
            let (Some(price), Some(symbol)) = (self.spot(place, part), self.underlyings.get(place).copied()) else {
                continue;
            };
            // No bid and ask are known of an index level: both sides are the level.
            let quote = Body::Quote { bid: price, ask: price, size: f64::NAN };
            out.push(self.stamped(symbol, Kind::Quote, quote, time));
            let trade = Body::Trade { price, size: f64::NAN, change: f64::NAN };
            out.push(self.stamped(symbol, Kind::Trade, trade, time));
        }
    }

    /// The underlying's price `part` into today.
    fn spot(&self, underlying: usize, part: f64) -> Option<f64> {
        let close = *self.chain.days.get(self.today)?.spots.get(&underlying)?;
        let before =
            self.today.checked_sub(1).and_then(|day| self.chain.days.get(day)?.spots.get(&underlying).copied());
        Some(match before {
            Some(before) if part < 1.0 => before * (close / before).powf(part),
            _ => close,
        })
    }

    /// `part` into today's trading hours, in milliseconds since 1970.
    fn instant(&self, part: f64) -> Option<i64> {
        let date = self.chain.days.get(self.today)?.date;
        let (open, close) = (millis(&self.zone, date.to_datetime(OPEN)), millis(&self.zone, date.to_datetime(CLOSE)));
        let length = f64::from(i32::try_from(close - open).ok()?);
        #[expect(clippy::cast_possible_truncation, reason = "a part of a day in milliseconds is a small number")]
        let passed = (length * part) as i64;
        Some(open + passed)
    }

    fn stamped(&mut self, symbol: SymbolId, kind: Kind, body: Body, time: i64) -> Event {
        let stamp = self.stamps.entry((symbol, kind)).or_default();
        *stamp = stamp.next(time);
        Event { symbol, stamp: *stamp, body }
    }
}

impl Market for Replay {
    fn advance(&mut self, elapsed: Duration, _wall: i64, out: &mut Vec<Event>) -> Due {
        loop {
            if self.today >= self.chain.days.len() {
                return Due::Finished;
            }
            let Some(into) = elapsed.checked_sub(self.began) else { return Due::At(self.began) };
            let part = into.as_secs_f64() / self.day.as_secs_f64();
            self.play_until(part.min(1.0), out);
            if part < 1.0 {
                let wait = (self.next.min(self.next_underlying).min(1.0) - part) * self.day.as_secs_f64();
                return Due::At(elapsed + seconds(wait.max(BATCH)));
            }
            self.close(out);
            // The next day begins a night after this close was played, however late that was: the night is a promise
            // to slow clients.
            self.began = elapsed + self.night;
        }
    }

    fn opening(&mut self, _wall: i64, _out: &mut Vec<Event>) {}

    fn set_rate(&mut self, rate: f64) {
        self.rate = rate;
    }

    fn list(&mut self, listing: &Listing, _hub: &Hub) -> bool {
        self.chain.contracts.iter().any(|known| known.contract == listing.contract)
    }

    fn opened(&self) -> Date {
        self.chain.days.first().map_or(Date::ZERO, |day| day.date)
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
