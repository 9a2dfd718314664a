//! A real chain from an end-of-day file: contracts, and per trading day spot, volatilities and carry.
//!
//! The layout is the common one: a header, one row per contract and day, dates as MM/DD/YYYY. Needed are the columns
//! `underlying`, `underlying_last`, `type`, `expiration`, `quotedate`, `strike` and `impliedvol`; `optionroot` names the
//! class where it differs from the underlying, `delta`, `theta` and `vega` serve [`CarrySource::File`].

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use greeks_model::{Contract, Decimal, OptionType};
use jiff::civil::Date;

use super::carry::{Carry, DeepRow, recover};
use super::listing::Listing;
use crate::SimError;

/// Where interest and dividends of a replay come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CarrySource {
    /// The file: recovered per expiry and day from the thetas of options deep in the money, else as on the nearest day
    /// that tells, else none.
    File,
    /// The same for the whole chain.
    Fixed(Carry),
}

/// A file in memory.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) contracts: Vec<Listing>,
    pub(crate) underlyings: Vec<String>,
    pub(crate) days: Vec<Day>,
}

/// One trading day.
#[derive(Debug)]
pub(crate) struct Day {
    pub(crate) date: Date,
    /// Closing price per underlying, by its place in [`Chain::underlyings`].
    pub(crate) spots: HashMap<usize, f64>,
    pub(crate) quotes: Vec<Quoted>,
}

/// A contract quoted on a day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted {
    /// Place in [`Chain::contracts`].
    pub(crate) contract: usize,
    /// Place in [`Chain::underlyings`].
    pub(crate) underlying: usize,
    pub(crate) volatility: f64,
    pub(crate) carry: Carry,
}

/// Time from the close of `from` to the expiry as the vendors of such files count it: to the first minute of the
/// expiration date, in years of 365 days of 24 hours.
pub(crate) fn years_from_close(from: Date, expiration: Date) -> f64 {
    years(f64::from(days_between(from, expiration)) - 16.0 / 24.0)
}

/// Days and parts of days in years, never negative.
pub(crate) fn years(days: f64) -> f64 {
    (days / 365.0).max(0.0)
}

pub(crate) fn days_between(from: Date, to: Date) -> i32 {
    from.until(to).map_or(0, |span| span.get_days())
}

impl Chain {
    pub(crate) fn read(path: &Path, carry: CarrySource) -> Result<Self, SimError> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_path(path)
            .map_err(|source| SimError::ChainFile { path: path.to_owned(), source })?;
        let headers = reader.headers().map_err(|source| SimError::ChainFile { path: path.to_owned(), source })?.clone();
        let columns = Columns::find(path, &headers)?;
        let mut builder = Builder { path: path.to_owned(), ..Builder::default() };
        for record in reader.records() {
            let record = record.map_err(|source| SimError::ChainFile { path: path.to_owned(), source })?;
            let line = record.position().map_or(0, csv::Position::line);
            builder.add(&columns, &record).map_err(|reason| builder.row_error(line, reason))?;
        }
        builder.finish(carry)
    }
}

/// Places of the columns.
struct Columns {
    underlying: usize,
    spot: usize,
    kind: usize,
    expiration: usize,
    date: usize,
    strike: usize,
    volatility: usize,
    root: Option<usize>,
    delta: Option<usize>,
    theta: Option<usize>,
    vega: Option<usize>,
}

impl Columns {
    fn find(path: &Path, headers: &csv::StringRecord) -> Result<Self, SimError> {
        let find = |name: &str| {
            headers.iter().position(|header| header.trim_start_matches('\u{feff}').trim().eq_ignore_ascii_case(name))
        };
        let need = |column: &'static str| find(column).ok_or(SimError::ChainColumn { path: path.to_owned(), column });
        Ok(Self {
            underlying: need("underlying")?,
            spot: need("underlying_last")?,
            kind: need("type")?,
            expiration: need("expiration")?,
            date: need("quotedate")?,
            strike: need("strike")?,
            volatility: need("impliedvol")?,
            root: find("optionroot"),
            delta: find("delta"),
            theta: find("theta"),
            vega: find("vega"),
        })
    }
}

#[derive(Default)]
struct Builder {
    path: PathBuf,
    contracts: Vec<Listing>,
    places: HashMap<Contract, usize>,
    underlyings: Vec<String>,
    days: BTreeMap<Date, Day>,
    deep: HashMap<(Date, usize, Date), Vec<DeepRow>>,
}

impl Builder {
    fn row_error(&self, line: u64, reason: String) -> SimError {
        SimError::ChainRow { path: self.path.clone(), line, reason }
    }

    fn add(&mut self, columns: &Columns, record: &csv::StringRecord) -> Result<(), String> {
        let text = |column: usize| record.get(column).unwrap_or_default();
        let number = |column: usize| number(text(column));
        let date = date(text(columns.date))?;
        let expiration = self::date(text(columns.expiration))?;
        let spot = number(columns.spot)?;
        let volatility = number(columns.volatility)?;
        if !(spot > 0.0 && volatility >= 0.0) {
            return Err(format!("a spot of {spot} with a volatility of {volatility}"));
        }
        let kind = match text(columns.kind).to_ascii_lowercase().as_str() {
            "call" | "c" => OptionType::Call,
            "put" | "p" => OptionType::Put,
            other => return Err(format!("{other:?} is neither call nor put")),
        };
        let strike: Decimal =
            text(columns.strike).parse().map_err(|_| format!("{:?} is no strike", text(columns.strike)))?;
        let root = root(columns.root.map_or("", text), text(columns.underlying));
        let contract = Contract::osi(&root, expiration, kind, strike).map_err(|error| error.to_string())?;
        let underlying = self.underlying(index_of(&root).unwrap_or(text(columns.underlying)));

        let place = self.place(contract, underlying);
        let day = self.days.entry(date).or_insert_with(|| Day { date, spots: HashMap::new(), quotes: Vec::new() });
        if *day.spots.entry(underlying).or_insert(spot) != spot {
            return Err(format!("a second spot for {date}"));
        }
        if day.quotes.last().is_some_and(|quote| quote.contract == place) {
            return Err(format!("a second row for the same contract on {date}"));
        }
        day.quotes.push(Quoted { contract: place, underlying, volatility, carry: Carry::default() });

        let column = |column: Option<usize>| column.and_then(|column| number(column).ok());
        if let (Some(delta), Some(theta), Some(vega)) =
            (column(columns.delta), column(columns.theta), column(columns.vega))
            && vega == 0.0
            && delta.abs() > 0.99
        {
            let theta = if kind == OptionType::Call { theta } else { -theta };
            let strike = super::universe::strike_value(strike);
            self.deep.entry((expiration, underlying, date)).or_default().push(DeepRow { strike, theta });
        }
        Ok(())
    }

    fn underlying(&mut self, symbol: &str) -> usize {
        self.underlyings.iter().position(|known| known == symbol).unwrap_or_else(|| {
            self.underlyings.push(symbol.to_owned());
            self.underlyings.len() - 1
        })
    }

    fn place(&mut self, contract: Contract, underlying: usize) -> usize {
        if let Some(place) = self.places.get(&contract) {
            return *place;
        }
        let symbol = self.underlyings.get(underlying).map_or("", String::as_str);
        self.contracts.push(Listing::osi(contract.clone(), symbol, Decimal::ONE_HUNDRED));
        self.places.insert(contract, self.contracts.len() - 1);
        self.contracts.len() - 1
    }

    fn finish(self, source: CarrySource) -> Result<Chain, SimError> {
        if self.days.is_empty() {
            return Err(self.row_error(2, "the file has no rows".to_owned()));
        }
        let mut carries: BTreeMap<(Date, usize, Date), Carry> = BTreeMap::new();
        if source == CarrySource::File {
            for (key @ (expiration, underlying, date), rows) in &self.deep {
                let spot = self.days.get(date).and_then(|day| day.spots.get(underlying)).copied().unwrap_or(f64::NAN);
                let found = recover(rows, spot, years_from_close(*date, *expiration));
                carries.extend(found.map(|carry| (*key, carry)));
            }
        }
        let mut days: Vec<Day> = self.days.into_values().collect();
        for day in &mut days {
            for quote in &mut day.quotes {
                let Some(listing) = self.contracts.get(quote.contract) else { continue };
                quote.carry = match source {
                    CarrySource::Fixed(carry) => carry,
                    CarrySource::File => nearest(&carries, listing.contract.expiration(), quote.underlying, day.date),
                };
            }
        }
        Ok(Chain { contracts: self.contracts, underlyings: self.underlyings, days })
    }
}

/// The carry of the day, else of the last day before that tells, else of the first after it, else none.
fn nearest(carries: &BTreeMap<(Date, usize, Date), Carry>, expiration: Date, underlying: usize, date: Date) -> Carry {
    let before = carries.range((expiration, underlying, Date::MIN)..=(expiration, underlying, date)).next_back();
    let found =
        before.or_else(|| carries.range((expiration, underlying, date)..=(expiration, underlying, Date::MAX)).next());
    found.map(|(_, carry)| *carry).unwrap_or_default()
}

fn number(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(|| format!("{text:?} is no number"))
}

/// MM/DD/YYYY.
fn date(text: &str) -> Result<Date, String> {
    let refuse = || format!("{text:?} is no date written MM/DD/YYYY");
    let mut parts = text.split('/');
    let mut part = || parts.next().and_then(|part| part.parse::<i16>().ok()).ok_or_else(refuse);
    let (month, day, year) = (part()?, part()?, part()?);
    let small = |value: i16| i8::try_from(value).map_err(|_| refuse());
    Date::new(year, small(month)?, small(day)?).map_err(|_| refuse())
}

/// The option root: the symbol in `optionroot` without its 15 characters of date, type and strike.
fn root(symbol: &str, underlying: &str) -> String {
    let symbol = symbol.trim();
    let root = symbol.len().checked_sub(15).and_then(|end| symbol.get(..end)).map(str::trim);
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    plain(root.filter(|root| !root.is_empty()).unwrap_or(underlying))
}

/// The index behind an option root that is not called like its index.
fn index_of(root: &str) -> Option<&'static str> {
    match root {
        "SPXW" | "SPX" => Some("SPX"),
        "NDXP" | "NDX" => Some("NDX"),
        "RUTW" | "RUT" => Some("RUT"),
        "VIXW" | "VIX" => Some("VIX"),
        _ => None,
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
