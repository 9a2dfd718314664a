//! Which contracts the customer of the simulated market holds.

use std::collections::HashSet;

use fastrand::Rng;
use greeks_model::{Contract, OptionType};
use jiff::civil::Date;

use super::book::{Book, Holding, LONG_HELD, SimPosition};
use super::listing::Listing;
use super::universe::{ASSETS, CLASSES, Class, MORNING};
use crate::SimError;

/// The place in the book of the contract that nobody makes a market in.
const ILLIQUID: usize = 8;

/// Strikes below the money of that contract: so deep that no time value is left.
const DEEP: i64 = -66;

/// So many contracts of a book are drawn; beyond, whatever is listed is taken in turn, expiration by expiration.
const DRAWN: usize = 10_000;

/// Contracts that one book holds at most.
const MAX_COUNT: usize = 100_000;

/// How far the strikes that are taken in turn are from the money, in both directions.
const FAR: i64 = 400;

/// A book of `count` option contracts, and every contract to be quoted with whether it is illiquid.
///
/// The first contract is held in both accounts, on opposite sides; besides there are a stock and a position that was
/// closed today.
pub(super) fn fill(
    rng: &mut Rng,
    date: Date,
    count: usize,
    spots: &[f64],
) -> Result<(Book, Vec<(Listing, bool)>), SimError> {
    if count > MAX_COUNT {
        return Err(SimError::Config(format!("{count} option positions: at most {MAX_COUNT}")));
    }
    let mut book = Book::new();
    let mut picker = Picker::new(rng, date, count, spots, HashSet::new());
    let mut quoted = Vec::with_capacity(count + 1);
    let numbers: Vec<String> = book.accounts.iter().map(|account| account.number.clone()).collect();
    let [first, second, ..] = numbers.as_slice() else { return Ok((book, quoted)) };
    for place in 0..count {
        let illiquid = place == ILLIQUID;
        let listing = picker.pick(place, illiquid).ok_or_else(|| {
            SimError::Config(format!("{count} option positions are more than the simulated market has contracts"))
        })?;
        let quantity = picker.quantity();
        book.add(if place % 3 == 1 { second } else { first }, listing.clone(), quantity, LONG_HELD);
        if place == 0 {
            book.add(second, listing.clone(), -quantity.signum() * picker.rng.i64(1..=9), LONG_HELD);
        }
        quoted.push((listing, illiquid));
    }
    if let Some(closed) = (count > 0).then(|| picker.pick(0, false)).flatten() {
        book.add(first, closed.clone(), 0, LONG_HELD);
        let stock = Holding::Stock("AAPL".to_owned());
        book.positions.push(SimPosition { account: first.clone(), holding: stock, quantity: 200, updated: LONG_HELD });
        quoted.push((closed, false));
    }
    Ok((book, quoted))
}

/// `count` contracts beside those in `taken`, two of them on the root SPX where so many are asked for.
pub(crate) fn more(
    seed: u64,
    date: Date,
    count: usize,
    taken: impl Iterator<Item = Contract>,
) -> Result<Vec<Listing>, SimError> {
    let mut rng = Rng::with_seed(seed);
    let spots: Vec<f64> = ASSETS.iter().map(|asset| asset.spot).collect();
    let mut picker = Picker::new(&mut rng, date, count, &spots, taken.collect());
    let mut listings = Vec::with_capacity(count);
    for (n, kind) in [(0, OptionType::Call), (1, OptionType::Put)].into_iter().take(count) {
        listings.extend((-20..20).find_map(|steps| picker.free(&MORNING, n, steps, kind)));
    }
    picker.taken.extend(listings.iter().map(|listing: &Listing| listing.contract.clone()));
    for place in listings.len()..count {
        listings.push(picker.pick(place, false).ok_or_else(|| {
            SimError::Config(format!("{count} option positions are more than the simulated market has contracts"))
        })?);
    }
    Ok(listings)
}

struct Picker<'a> {
    rng: &'a mut Rng,
    date: Date,
    count: usize,
    spots: &'a [f64],
    taken: HashSet<Contract>,
    in_turn: Box<dyn Iterator<Item = Place> + Send>,
}

/// Where in a class a contract is: the number of its expiration, strikes from the money, and its kind.
type Place = (&'static Class, i32, i64, OptionType);

impl<'a> Picker<'a> {
    fn new(rng: &'a mut Rng, date: Date, count: usize, spots: &'a [f64], taken: HashSet<Contract>) -> Self {
        let strikes = (0..40).flat_map(|n| (-FAR..=FAR).map(move |steps| (n, steps)));
        let places = strikes.flat_map(|(n, steps)| CLASSES.iter().map(move |class| (class, n, steps)));
        let kinds = [OptionType::Call, OptionType::Put];
        let in_turn = Box::new(places.flat_map(move |(class, n, steps)| kinds.map(|kind| (class, n, steps, kind))));
        Self { rng, date, count: count.min(DRAWN), spots, taken, in_turn }
    }

    /// A contract that is not taken yet, the nearer to the money and to today the smaller the book.
    fn pick(&mut self, place: usize, illiquid: bool) -> Option<Listing> {
        let listing = if place < DRAWN { self.draw(place, illiquid) } else { self.next_in_turn() }?;
        self.taken.insert(listing.contract.clone());
        Some(listing)
    }

    fn draw(&mut self, place: usize, illiquid: bool) -> Option<Listing> {
        let class = CLASSES.get(if illiquid { 0 } else { place % CLASSES.len() })?;
        let found = if illiquid { self.deep(class) } else { self.at_random(class) };
        // Where a class is sold out, any class may have more.
        found.or_else(|| self.next_in_turn())
    }

    fn next_in_turn(&mut self) -> Option<Listing> {
        loop {
            let (class, n, steps, kind) = self.in_turn.next()?;
            if let Some(listing) = self.free(class, n, steps, kind) {
                return Some(listing);
            }
        }
    }

    fn quantity(&mut self) -> i64 {
        let size = self.rng.i64(1..=12);
        if self.rng.bool() { size } else { -size }
    }

    fn deep(&self, class: &Class) -> Option<Listing> {
        (0..12).find_map(|n| self.free(class, n, DEEP, OptionType::Call))
    }

    fn at_random(&mut self, class: &Class) -> Option<Listing> {
        let base = 3 + i64::try_from(self.count / (CLASSES.len() * 4)).ok()?;
        (0..400_i32).find_map(|attempt| {
            let width = base + i64::from(attempt);
            let steps = (self.rng.i64(-width..=width) + self.rng.i64(-width..=width)) / 2;
            let kind = if self.rng.bool() { OptionType::Call } else { OptionType::Put };
            let n = self.rng.i32(0..3 + attempt / 10);
            self.free(class, n, steps, kind)
        })
    }

    fn free(&self, class: &Class, n: i32, steps: i64, kind: OptionType) -> Option<Listing> {
        let listing = class.contract(self.date, n, steps, kind, *self.spots.get(class.asset)?)?;
        (!self.taken.contains(&listing.contract)).then_some(listing)
    }
}
