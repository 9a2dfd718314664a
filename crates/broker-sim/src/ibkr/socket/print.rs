//! Values as the gateway prints them: text with commas, percent signs, prefixes and unit letters. And what such a text
//! means.

use greeks_model::OptionType;

use crate::ibkr::contracts::{Instrument, What};
use crate::ibkr::faults::{IbkrDataFaults, UnknownFigure};
use crate::market::{Body, Event, GreekValues, Hub, Kind};

pub(crate) const LAST: u16 = 31;
pub(crate) const BID: u16 = 84;
pub(crate) const ASK: u16 = 86;
pub(crate) const VOLUME: u16 = 87;
pub(crate) const AVAILABILITY: u16 = 6509;
pub(crate) const DELTA: u16 = 7308;
pub(crate) const GAMMA: u16 = 7309;
pub(crate) const THETA: u16 = 7310;
pub(crate) const VEGA: u16 = 7311;
pub(crate) const VOLATILITY: u16 = 7633;
pub(crate) const MARK: u16 = 7635;

/// Whether a field comes later than the first frame.
pub(crate) const fn is_late(tag: u16) -> bool {
    matches!(tag, DELTA | GAMMA | THETA | VEGA | VOLATILITY)
}

/// What is known of a contract.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    greeks: Option<Event>,
    quote: Option<Event>,
    trade: Option<Event>,
}

impl Known {
    pub(crate) fn of(hub: &Hub, instrument: &Instrument) -> Self {
        let last = |kind| hub.last(instrument.symbol, kind);
        Self { greeks: last(Kind::Greeks), quote: last(Kind::Quote), trade: last(Kind::Trade) }
    }

    pub(crate) const fn take(&mut self, event: &Event) {
        match event.kind() {
            Kind::Greeks => self.greeks = Some(*event),
            Kind::Quote => self.quote = Some(*event),
            Kind::Trade => self.trade = Some(*event),
        }
    }

    /// Of the newest value, in milliseconds since 1970; 0 when nothing is known.
    pub(crate) fn time(&self) -> i64 {
        [self.greeks, self.quote, self.trade].into_iter().flatten().map(|event| event.stamp.time).max().unwrap_or(0)
    }

    pub(crate) const fn values(&self) -> Option<GreekValues> {
        match self.greeks {
            Some(Event { body: Body::Greeks(values), .. }) => Some(values),
            _ => None,
        }
    }

    const fn quote(&self) -> Option<(f64, f64, f64)> {
        match self.quote {
            Some(Event { body: Body::Quote { bid, ask, size }, .. }) => Some((bid, ask, size)),
            _ => None,
        }
    }

    const fn trade(&self) -> Option<(f64, f64)> {
        match self.trade {
            Some(Event { body: Body::Trade { price, change, .. }, .. }) => Some((price, change)),
            _ => None,
        }
    }
}

/// A value of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Printed {
    /// In quotes.
    Text(String),
    /// A number as it is.
    Json(String),
}

/// Prints the fields of one contract.
pub(crate) struct Printer<'a> {
    pub(crate) instrument: &'a Instrument,
    pub(crate) faults: &'a IbkrDataFaults,
    /// Of the Greeks.
    pub(crate) decimals: usize,
}

impl Printer<'_> {
    /// A field; `None` where there is nothing to say.
    pub(crate) fn print(&self, tag: u16, known: &Known) -> Option<Printed> {
        if tag == AVAILABILITY {
            return Some(Printed::Text(self.availability()));
        }
        let conid = self.instrument.conid;
        if self.faults.not_permitted.contains(&conid) {
            return None;
        }
        if let Some(fixed) = self.of_the_contract(tag) {
            return Some(fixed);
        }
        let text = match &self.instrument.what {
            What::Option { .. } => self.option(tag, known),
            What::Spot { .. } | What::Future { .. } => self.underlying(tag, known),
        };
        text.map(|text| if tag == 83 { Printed::Json(text) } else { Printed::Text(text) })
    }

    /// 6509.
    pub(crate) fn availability(&self) -> String {
        if self.faults.not_permitted.contains(&self.instrument.conid) {
            return "N".to_owned();
        }
        match &self.faults.availability {
            Some(text) => text.clone(),
            None if self.faults.closed => "ZB".to_owned(),
            None if self.instrument.underlying().is_some() => "RB".to_owned(),
            None => "RpB".to_owned(),
        }
    }

    fn of_the_contract(&self, tag: u16) -> Option<Printed> {
        let text = match tag {
            55 => self.instrument.ticker(),
            201 => match self.instrument.listing()?.contract.option_type() {
                OptionType::Call => "CALL".to_owned(),
                OptionType::Put => "PUT".to_owned(),
            },
            6008 => return Some(Printed::Json(self.instrument.conid.to_string())),
            6070 => self.instrument.asset_class().to_owned(),
            6457 => return Some(Printed::Json(self.instrument.underlying()?.to_string())),
            7219 => self.instrument.description(),
            _ => return None,
        };
        Some(Printed::Text(text))
    }

    fn option(&self, tag: u16, known: &Known) -> Option<String> {
        let values = known.values()?;
        if is_late(tag) && self.faults.without_greeks.contains(&self.instrument.conid) {
            return None;
        }
        let tick = 0.1_f64.powi(i32::try_from(self.instrument.decimals).unwrap_or(2));
        match tag {
            LAST => Some(self.last(values.price)),
            BID | ASK if self.faults.closed => None,
            BID => Some(self.price((values.price - tick).max(0.0))),
            ASK => Some(self.price(values.price + tick)),
            85 | 88 | 7059 => Some(grouped(&(self.instrument.conid % 2_900 + 1).to_string())),
            MARK => Some(self.price(values.price)),
            DELTA => self.figure(tag, values.delta),
            GAMMA => self.figure(tag, values.gamma),
            THETA => self.figure(tag, values.theta),
            VEGA => self.figure(tag, values.vega),
            VOLATILITY if values.volatility.is_nan() => self.unknown(tag),
            VOLATILITY => {
                let sign = if self.faults.bare_volatility { "" } else { "%" };
                Some(format!("{:.1}{sign}", values.volatility * 100.0))
            }
            7638 => Some((self.instrument.conid % 90_000).to_string()),
            _ => None,
        }
    }

    fn underlying(&self, tag: u16, known: &Known) -> Option<String> {
        match tag {
            LAST => known.trade().map(|(price, _)| self.last(price)),
            BID | ASK if self.faults.closed => None,
            BID => known.quote().map(|(bid, ..)| self.price(bid)),
            ASK => known.quote().map(|(_, ask, _)| self.price(ask)),
            85 | 88 | 7059 => {
                let (.., size) = known.quote().filter(|(.., size)| size.is_finite())?;
                Some(grouped(&format!("{:.0}", size * 13.0)))
            }
            82 => known.trade().filter(|(_, change)| change.is_finite()).map(|(_, change)| self.price(change)),
            83 => {
                let (price, change) = known.trade().filter(|(_, change)| change.is_finite())?;
                Some(format!("{:.2}", 100.0 * change / (price - change)))
            }
            VOLUME => Some("12.2M".to_owned()),
            7762 => Some("12200000".to_owned()),
            7283 => Some("28.0%".to_owned()),
            _ => None,
        }
    }

    fn last(&self, price: f64) -> String {
        let prefix = if self.faults.closed {
            "C"
        } else if self.faults.halted.contains(&self.instrument.conid) {
            "H"
        } else {
            ""
        };
        format!("{prefix}{}", self.price(price))
    }

    fn price(&self, price: f64) -> String {
        let text = format!("{price:.*}", self.instrument.decimals);
        if self.faults.commas { grouped(&text) } else { text }
    }

    fn figure(&self, tag: u16, value: f64) -> Option<String> {
        if value.is_nan() { self.unknown(tag) } else { Some(format!("{value:.*}", self.decimals)) }
    }

    fn unknown(&self, tag: u16) -> Option<String> {
        let blank = match tag % 3 {
            0 => "",
            1 => "-",
            _ => "N/A",
        };
        (self.faults.unknown == UnknownFigure::Blank).then(|| blank.to_owned())
    }
}

/// What the text of a price or Greek means. A zero has no sign.
pub(crate) fn meaning(text: &str) -> f64 {
    let text = text.trim_start_matches(['C', 'H']).trim_end_matches('%').replace(',', "");
    text.parse::<f64>().map_or(f64::NAN, |value| if value == 0.0 { 0.0 } else { value })
}

/// Commas between the thousands.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.find('.').map_or((number, ""), |point| number.split_at(point));
    let digits = whole.trim_start_matches('-');
    let mut text = String::with_capacity(number.len() + 4);
    if whole.len() > digits.len() {
        text.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in
            [("1300", "1,300"), ("999", "999"), ("-1234567.25", "-1,234,567.25"), ("0.5", "0.5"), ("-12.00", "-12.00")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn texts_mean_the_nearest_double() {
        for (text, value) in [("-0.257", -0.257), ("C5.20", 5.2), ("H5.20", 5.2), ("1,300", 1300.0), ("85.6%", 85.6)] {
            assert_eq!(meaning(text).to_bits(), f64::to_bits(value), "{text}");
        }
        assert_eq!(meaning("-0.000").to_bits(), 0.0_f64.to_bits());
        for text in ["", "-", "N/A"] {
            assert!(meaning(text).is_nan());
        }
    }
}
