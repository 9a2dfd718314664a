//! Option contracts and their key: the same contract at two brokers has the same key.

use std::fmt;
use std::str::FromStr;

use crate::jiff::civil::Date;
use crate::{Decimal, Future, osi};

/// Call or put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptionType {
    /// The right to buy.
    Call,
    /// The right to sell.
    Put,
}

impl OptionType {
    /// `C` or `P`, as stored.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Call => 'C',
            Self::Put => 'P',
        }
    }

    /// From `C` or `P`.
    #[must_use]
    pub fn from_letter(letter: &str) -> Option<Self> {
        match letter {
            "C" => Some(Self::Call),
            "P" => Some(Self::Put),
            _ => None,
        }
    }
}

impl fmt::Display for OptionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.letter())
    }
}

/// An option contract, identified as its exchange does. `Display` writes the `contract_key`, `FromStr` reads it:
///
/// - equity and index options: the OSI symbol with the option root, `SPXW  261124P06650000`;
/// - futures options: the future, a blank, expiration, type and plain strike, `/ESZ26 261127P5000`.
///
/// Two values are equal exactly when their keys are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contract {
    kind: Kind,
    expiration: Date,
    option_type: OptionType,
    strike: Decimal,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Osi { root: Box<str> },
    OnFuture(Future),
}

impl Contract {
    /// An equity or index option by its option root: `SPXW`, not the underlying `SPX`.
    ///
    /// # Errors
    /// [`ContractError`] when the root is not 1 to 6 capital letters and digits, the strike is not a positive number
    /// of at most 99999.999 with three decimals, or the expiration is not in 2000 to 2099.
    pub fn osi(root: &str, expiration: Date, option_type: OptionType, strike: Decimal) -> Result<Self, ContractError> {
        if !osi::is_root(root) {
            return Err(ContractError::new(root, "an OSI root is 1 to 6 capital letters and digits"));
        }
        if osi::strike_thousandths(strike).is_none() {
            return Err(ContractError::new(root, "an OSI strike is positive, at most 99999.999, with three decimals"));
        }
        Self::checked(Kind::Osi { root: root.into() }, expiration, option_type, strike)
    }

    /// Reads an OSI symbol whose root is padded in another way than to six characters, or not at all:
    /// `AAPL261218C00232500`.
    ///
    /// # Errors
    /// [`ContractError`] when the text is no OSI symbol besides.
    pub fn from_osi(text: &str) -> Result<Self, ContractError> {
        let text = text.trim();
        match text.len().checked_sub(osi::TAIL).and_then(|at| text.split_at_checked(at)) {
            Some((root, tail)) if !root.starts_with('/') => format!("{:<6}{tail}", root.trim_end()).parse(),
            _ => Err(ContractError::new(text, "an OSI symbol ends in YYMMDD, C or P, and eight digits of the strike")),
        }
    }

    /// An option on a future. The strike may be zero or negative: such strikes have traded.
    ///
    /// # Errors
    /// [`ContractError`] when the expiration is not in 2000 to 2099.
    pub fn on_future(
        future: Future,
        expiration: Date,
        option_type: OptionType,
        strike: Decimal,
    ) -> Result<Self, ContractError> {
        Self::checked(Kind::OnFuture(future), expiration, option_type, strike)
    }

    fn checked(kind: Kind, expiration: Date, option_type: OptionType, strike: Decimal) -> Result<Self, ContractError> {
        if !(2000..=2099).contains(&expiration.year()) {
            return Err(ContractError::new(&expiration.to_string(), "an expiration lies in 2000 to 2099"));
        }
        // One spelling of each number, and no negative zero, so that equal contracts hash and print alike.
        let strike = if strike.is_zero() { Decimal::ZERO } else { strike.normalize() };
        Ok(Self { kind, expiration, option_type, strike })
    }

    /// The option root of an equity or index option, the product code of an option on a future.
    #[must_use]
    pub fn root(&self) -> &str {
        match &self.kind {
            Kind::Osi { root } => root,
            Kind::OnFuture(future) => future.product(),
        }
    }

    /// The future that the option is written on; `None` for equity and index options.
    #[must_use]
    pub const fn future(&self) -> Option<&Future> {
        match &self.kind {
            Kind::Osi { .. } => None,
            Kind::OnFuture(future) => Some(future),
        }
    }

    /// The last day, in the exchange's own time.
    #[must_use]
    pub const fn expiration(&self) -> Date {
        self.expiration
    }

    /// Call or put.
    #[must_use]
    pub const fn option_type(&self) -> OptionType {
        self.option_type
    }

    /// The strike, without trailing zeros.
    #[must_use]
    pub const fn strike(&self) -> Decimal {
        self.strike
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Osi { root } => osi::format(f, root, self.expiration, self.option_type, self.strike),
            Kind::OnFuture(future) => {
                write!(f, "{future} {}{}{}", osi::yymmdd(self.expiration), self.option_type, self.strike)
            }
        }
    }
}

impl FromStr for Contract {
    type Err = ContractError;

    fn from_str(text: &str) -> Result<Self, ContractError> {
        if !text.starts_with('/') {
            let (root, expiration, option_type, strike) = osi::parse(text)?;
            return Self::osi(root, expiration, option_type, strike).map_err(|e| ContractError::new(text, e.reason));
        }
        let refuse =
            || ContractError::new(text, "a futures option is written like '/ESZ26 261127P5000', with a plain strike");
        let (future, tail) = text.split_once(' ').ok_or_else(refuse)?;
        let (expiration, option_type, strike) = osi::split_tail(tail).ok_or_else(refuse)?;
        // A key has two digits for the year; a symbol with one digit is a broker's, not a key.
        let two_digits = future.len() >= 2 && future.bytes().rev().take(2).all(|b| b.is_ascii_digit());
        let future = Future::parse(future, expiration).ok().filter(|_| two_digits).ok_or_else(refuse)?;
        Self::on_future(future, expiration, option_type, plain_decimal(strike).ok_or_else(refuse)?)
    }
}

/// Reads digits with at most one point and an optional minus; no exponent, no plus, no separators.
fn plain_decimal(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    Decimal::from_str_exact(text).ok()
}

/// A text or a set of values that names no contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a contract: {reason}")]
pub struct ContractError {
    text: String,
    reason: &'static str,
}

impl ContractError {
    pub(crate) fn new(text: &str, reason: &'static str) -> Self {
        // A hostile text could be of any length; the head is enough to find it.
        Self { text: text.chars().take(64).collect(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MonthCode;
    use crate::jiff::civil::date;
    use proptest::prelude::*;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn osi_symbols_of_every_shape_read_and_write() {
        for (text, root, day, option_type, strike) in [
            ("AAPL  261218C00232500", "AAPL", date(2026, 12, 18), OptionType::Call, dec("232.5")),
            ("SPXW  261124P06650000", "SPXW", date(2026, 11, 24), OptionType::Put, dec("6650")),
            ("AAPL1 261218C00200000", "AAPL1", date(2026, 12, 18), OptionType::Call, dec("200")),
            ("BABA2 251017C00145000", "BABA2", date(2025, 10, 17), OptionType::Call, dec("145")),
            ("F     261211P00012330", "F", date(2026, 12, 11), OptionType::Put, dec("12.33")),
            ("SNDL  261218C00000500", "SNDL", date(2026, 12, 18), OptionType::Call, dec("0.5")),
            ("SPY   250117C00440000", "SPY", date(2025, 1, 17), OptionType::Call, dec("440")),
            ("1SPXWZ261218C99999999", "1SPXWZ", date(2026, 12, 18), OptionType::Call, dec("99999.999")),
        ] {
            let contract: Contract = text.parse().unwrap();
            assert_eq!(contract.root(), root);
            assert_eq!(contract.expiration(), day);
            assert_eq!(contract.option_type(), option_type);
            assert_eq!(contract.strike(), strike);
            assert_eq!(contract.strike().to_string(), strike.normalize().to_string());
            assert_eq!(contract.future(), None);
            assert_eq!(contract.to_string(), text);
        }
    }

    #[test]
    fn futures_options_of_every_shape_read_and_write() {
        for (text, product, future, strike) in [
            ("/ESZ26 261127P5000", "ES", "/ESZ26", dec("5000")),
            ("/6JZ26 261204P0.00665", "6J", "/6JZ26", dec("0.00665")),
            ("/MNQZ25 250922C24575", "MNQ", "/MNQZ25", dec("24575")),
            ("/1EUZ26 261204C1.105", "1EU", "/1EUZ26", dec("1.105")),
            ("/CLM20 200514P-5.5", "CL", "/CLM20", dec("-5.5")),
        ] {
            let contract: Contract = text.parse().unwrap();
            assert_eq!(contract.root(), product);
            assert_eq!(contract.future().unwrap().to_string(), future);
            assert_eq!(contract.strike(), strike);
            assert_eq!(contract.to_string(), text);
        }
    }

    #[test]
    fn osi_symbols_with_other_padding() {
        for (text, key) in [
            ("AAPL  261218C00232500", "AAPL  261218C00232500"),
            ("AAPL261218C00232500", "AAPL  261218C00232500"),
            (" F 261211P00012330 ", "F     261211P00012330"),
            ("SPXW     261124P06650000", "SPXW  261124P06650000"),
        ] {
            assert_eq!(Contract::from_osi(text).unwrap().to_string(), key);
        }
        for text in ["", "AAPL", "261218C00232500", "/ESZ26 261127P5000", "/ESZ261127P00005000", "A B 261218C00232500"]
        {
            assert!(Contract::from_osi(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_spelling_for_each_contract() {
        let plain: Contract = "/ESZ26 261127P5000".parse().unwrap();
        let padded: Contract = "/ESZ26 261127P5000.00".parse().unwrap();
        assert_eq!(plain, padded);
        assert_eq!(padded.to_string(), "/ESZ26 261127P5000");
        let zero: Contract = "/CLM20 200514P-0.0".parse().unwrap();
        assert_eq!(zero.to_string(), "/CLM20 200514P0");
        let built = Contract::osi("SPY", date(2025, 1, 17), OptionType::Call, dec("440.000")).unwrap();
        assert_eq!(built, "SPY   250117C00440000".parse().unwrap());
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        for text in [
            "",
            "AAPL",
            "AAPL 261218C00232500",
            "AAPL  261218C0023250",
            "AAPL  261218C002325000",
            "aapl  261218C00232500",
            " AAPL 261218C00232500",
            "AA PL 261218C00232500",
            "      261218C00232500",
            "AAPL  261318C00232500",
            "AAPL  260230C00232500",
            "AAPL  261218X00232500",
            "AAPL  261218C0023250x",
            "AAPL  261218C+0232500",
            "AAPL  261218C00000000",
            "ÄAPL 261218C00232500",
            ".AAPL261218C232.5",
            "/ESZ6 261127P5000",
            "/ESZ26  261127P5000",
            "/ESZ26 261127P",
            "/ESZ26 261127P5e3",
            "/ESZ26 261127P5_000",
            "/ESZ26 261127P+5000",
            "/ESZ26 261127P5.",
            "/ESZ26 261127P.5",
            "/ESZ26 261127P--5",
            "/ESZ26 261127P5.0.0",
            "/ESZ26",
            "/ 261127P5000",
            "/ESA26 261127P5000",
            "/ESZ26 261127P99999999999999999999999999999999",
        ] {
            let error = text.parse::<Contract>().expect_err(text);
            assert!(error.to_string().contains("is not a contract: "), "{error}");
        }
        for strike in [dec("0"), dec("-1"), dec("0.0005"), dec("100000")] {
            assert!(Contract::osi("F", date(2026, 1, 16), OptionType::Call, strike).is_err(), "{strike}");
        }
        assert!(Contract::osi("F", date(1999, 1, 16), OptionType::Call, dec("1")).is_err());
        assert!(Contract::osi("F", date(2100, 1, 16), OptionType::Call, dec("1")).is_err());
    }

    fn any_date() -> impl Strategy<Value = Date> {
        (2000i16..2100, 1i8..=12, 1i8..=28).prop_map(|(y, m, d)| date(y, m, d))
    }

    fn any_type() -> impl Strategy<Value = OptionType> {
        prop_oneof![Just(OptionType::Call), Just(OptionType::Put)]
    }

    pub(crate) fn any_contract() -> impl Strategy<Value = Contract> {
        let osi = ("[A-Z0-9]{1,6}", any_date(), any_type(), 1i64..=99_999_999)
            .prop_map(|(root, day, kind, k)| Contract::osi(&root, day, kind, Decimal::new(k, 3)).unwrap());
        let future = ("[A-Z0-9]{1,6}", 1u8..=12, 2000u16..=2099, any_date(), any_type(), any::<i32>(), 0u32..9)
            .prop_map(|(product, month, year, day, kind, mantissa, scale)| {
                let future = Future::new(&product, MonthCode::from_month(month).unwrap(), year).unwrap();
                Contract::on_future(future, day, kind, Decimal::new(mantissa.into(), scale)).unwrap()
            });
        prop_oneof![osi, future]
    }

    proptest! {
        #[test]
        fn key_reads_back(contract in any_contract()) {
            let key = contract.to_string();
            prop_assert_eq!(key.parse::<Contract>().unwrap(), contract.clone());
            prop_assert!(contract.future().is_some() || key.len() == 21);
        }

        #[test]
        fn equal_contracts_are_those_with_equal_keys(a in any_contract(), b in any_contract()) {
            prop_assert_eq!(a == b, a.to_string() == b.to_string());
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,24}") {
            if let Ok(contract) = text.parse::<Contract>() {
                prop_assert_eq!(contract.to_string().parse::<Contract>().unwrap(), contract);
            }
        }
    }
}
