//! What an answer tells of a contract.

use broker_net::json;
use greeks_model::jiff::civil::Date;
use greeks_model::{Decimal, OptionType};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::body;
use crate::wire::Conid;

/// What kind of thing a contract is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AssetClass {
    /// An option on a stock, fund or index.
    Option,
    /// An option on a future.
    FutureOption,
    /// A warrant or structured product: an option, but none with an OSI symbol.
    Warrant,
    /// No option.
    Other,
}

/// Terms of a contract; `None` is what the answer does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    pub(crate) class: Option<AssetClass>,
    /// The underlying's symbol as IBKR writes it, `BRK B`.
    pub(crate) symbol: Option<String>,
    pub(crate) underlying: Option<Conid>,
    pub(crate) expiration: Option<Date>,
    /// Can be the day before expiration: options that settle in the morning.
    pub(crate) last_trading_day: Option<Date>,
    pub(crate) option_type: Option<OptionType>,
    /// Zero is a filler in some answers and a strike in others.
    pub(crate) strike: Option<Decimal>,
    pub(crate) multiplier: Option<Decimal>,
    pub(crate) currency: Option<String>,
}

impl Terms {
    /// These terms, with what they do not tell taken from `other`.
    pub(crate) fn or(self, other: &Self) -> Self {
        Self {
            class: self.class.or(other.class),
            symbol: self.symbol.or_else(|| other.symbol.clone()),
            underlying: self.underlying.or(other.underlying),
            expiration: self.expiration.or(other.expiration),
            last_trading_day: self.last_trading_day.or(other.last_trading_day),
            option_type: self.option_type.or(other.option_type),
            // A strike of zero gives way to any other.
            strike: self.strike.filter(|strike| !strike.is_zero()).or(other.strike).or(self.strike),
            multiplier: self.multiplier.or(other.multiplier),
            currency: self.currency.or_else(|| other.currency.clone()),
        }
    }
}

/// The keys of rows of positions and of security definitions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawTerms<'a> {
    #[serde(borrow)]
    pub(super) conid: Option<&'a RawValue>,
    #[serde(borrow)]
    asset_class: Option<&'a RawValue>,
    #[serde(borrow)]
    sec_type: Option<&'a RawValue>,
    #[serde(borrow)]
    und_sym: Option<&'a RawValue>,
    #[serde(borrow)]
    ticker: Option<&'a RawValue>,
    #[serde(borrow)]
    und_conid: Option<&'a RawValue>,
    #[serde(borrow)]
    expiry: Option<&'a RawValue>,
    #[serde(borrow)]
    last_trading_day: Option<&'a RawValue>,
    #[serde(borrow)]
    put_or_call: Option<&'a RawValue>,
    #[serde(borrow)]
    strike: Option<&'a RawValue>,
    #[serde(borrow)]
    multiplier: Option<&'a RawValue>,
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
}

impl RawTerms<'_> {
    pub(super) fn conid(&self) -> Option<Conid> {
        conid(self.conid)
    }

    pub(super) fn read(&self) -> Terms {
        Terms {
            class: class(self.asset_class).or_else(|| class(self.sec_type)),
            symbol: body::text(self.und_sym).or_else(|| body::text(self.ticker)),
            underlying: conid(self.und_conid),
            expiration: date(self.expiry),
            last_trading_day: date(self.last_trading_day),
            option_type: option_type(self.put_or_call),
            strike: self.strike.and_then(json::decimal),
            multiplier: multiplier(self.multiplier),
            currency: body::text(self.currency),
        }
    }
}

pub(super) fn conid(raw: Option<&RawValue>) -> Option<Conid> {
    Conid::from_text(&body::text(raw)?)
}

pub(super) fn class(raw: Option<&RawValue>) -> Option<AssetClass> {
    Some(match body::text(raw)?.as_str() {
        "OPT" => AssetClass::Option,
        "FOP" => AssetClass::FutureOption,
        "WAR" | "IOPT" => AssetClass::Warrant,
        _ => AssetClass::Other,
    })
}

/// `20250117`, or with hyphens.
pub(super) fn date(raw: Option<&RawValue>) -> Option<Date> {
    let digits = body::text(raw)?.replace('-', "");
    if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i32 = digits.parse().ok()?;
    let part = |value: i32| i8::try_from(value % 100).ok();
    Date::new(i16::try_from(number / 10_000).ok()?, part(number / 100)?, part(number)?).ok()
}

/// `C`, `P`, or the words.
pub(super) fn option_type(raw: Option<&RawValue>) -> Option<OptionType> {
    let text = body::text(raw)?.to_ascii_uppercase();
    match text.as_str() {
        "C" | "CALL" => Some(OptionType::Call),
        "P" | "PUT" => Some(OptionType::Put),
        _ => None,
    }
}

/// Zero stands for none.
pub(super) fn multiplier(raw: Option<&RawValue>) -> Option<Decimal> {
    raw.and_then(json::decimal).filter(|it| *it > Decimal::ZERO).map(|it| it.normalize())
}

#[cfg(test)]
mod tests {
    use greeks_model::jiff::civil::date as day;

    use super::*;

    fn read(text: &str) -> (Option<Conid>, Terms) {
        let raw: RawTerms<'_> = serde_json::from_str(text).unwrap();
        (raw.conid(), raw.read())
    }

    #[test]
    fn the_long_and_the_short_shape() {
        let (conid, terms) = read(
            r#"{"conid":584891614,"assetClass":"OPT","expiry":"20250117","lastTradingDay":"20250116","putOrCall":"C","strike":"440","multiplier":100,"ticker":"SPY","undConid":756733,"undSym":"SPY","currency":"USD"}"#,
        );
        assert_eq!(conid, Conid::new(584_891_614));
        let whole = Terms {
            class: Some(AssetClass::Option),
            symbol: Some("SPY".into()),
            underlying: Conid::new(756_733),
            expiration: Some(day(2025, 1, 17)),
            last_trading_day: Some(day(2025, 1, 16)),
            option_type: Some(OptionType::Call),
            strike: Some("440".parse().unwrap()),
            multiplier: Some("100".parse().unwrap()),
            currency: Some("USD".into()),
        };
        assert_eq!(terms, whole);
        let (conid, terms) = read(
            r#"{"conid":"584891614","secType":"OPT","expiry":null,"putOrCall":null,"strike":0.0,"multiplier":null,"exchs":null,"undConid":0}"#,
        );
        assert_eq!(conid, Conid::new(584_891_614));
        let class = Some(AssetClass::Option);
        assert_eq!(terms, Terms { class, strike: Some(Decimal::ZERO), ..Terms::default() });
        assert_eq!(terms.or(&whole), whole);
    }

    #[test]
    fn values_of_every_shape() {
        let with = |key: &str, value: &str| read(&format!(r#"{{"{key}":{value}}}"#)).1;
        for (value, expected) in [("100", "100"), ("\"100.0\"", "100"), ("2.5", "2.5"), ("5E1", "50")] {
            assert_eq!(with("multiplier", value).multiplier.map(|it| it.to_string()).as_deref(), Some(expected));
        }
        for value in ["0", "\"0.0\"", "null", "\"\"", "\"x\"", "-1"] {
            assert_eq!(with("multiplier", value).multiplier, None, "{value}");
        }
        for value in ["232.5", "\"232.5\"", "\"232.50\"", "2.325E2"] {
            assert_eq!(with("strike", value).strike, Some("232.5".parse().unwrap()), "{value}");
        }
        for value in ["20261127", "\"20261127\"", "\"2026-11-27\""] {
            assert_eq!(with("expiry", value).expiration, Some(day(2026, 11, 27)), "{value}");
        }
        for value in ["\"202611\"", "\"20261327\"", "\"NOV 27\"", "null"] {
            assert_eq!(with("expiry", value).expiration, None, "{value}");
        }
        for (value, expected) in [
            ("\"P\"", Some(OptionType::Put)),
            ("\"Put\"", Some(OptionType::Put)),
            ("\"CALL\"", Some(OptionType::Call)),
            ("\"\"", None),
        ] {
            assert_eq!(with("putOrCall", value).option_type, expected, "{value}");
        }
        for (value, expected) in [
            ("FOP", AssetClass::FutureOption),
            ("WAR", AssetClass::Warrant),
            ("IOPT", AssetClass::Warrant),
            ("STK", AssetClass::Other),
        ] {
            assert_eq!(with("assetClass", &format!("\"{value}\"")).class, Some(expected));
        }
        assert_eq!(with("conid", "\"x\"").class, None);
        assert_eq!(read(r#"{"conid":-1}"#).0, None);
    }
}
