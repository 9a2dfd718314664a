//! IBKR's descriptions in, contracts out.
//!
//! An option on a stock, fund or index is known by its OCC symbol alone, which stands in brackets in the description of a
//! position, or in the exchange's own name of the contract. It is never put together from a ticker: nothing else tells
//! SPXW from SPX, or an adjusted AAPL1 from AAPL, and a wrong key is worse than none. Options on stocks that trade in
//! Canada or Europe have no OCC symbol, and what IBKR writes in its place can be the symbol of another contract. An option on a future is known by
//! the exchange's name of the future and its own expiration, type and strike.

use greeks_model::jiff::civil::Date;
use greeks_model::{Contract, Decimal, Future};

use crate::rest::{ContractInfo, Terms};

/// How many days an OCC symbol's date may lie after the last trading day: options that settle in the morning trade until
/// the day before, and weekends and holidays can lie between.
const LONGEST_SETTLEMENT_DAYS: i32 = 4;

/// Why a position names no contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContractFault {
    #[error("nothing tells what kind of contract it is")]
    NoClass,
    #[error("it is not traded in dollars, and an OCC symbol would name another contract")]
    NotOcc,
    #[error("nothing tells its option root")]
    NoRoot,
    #[error("its OCC symbol contradicts its terms")]
    Contradiction,
    #[error("nothing tells the future it is written on")]
    NoFuture,
    #[error("nothing tells its expiration, type and strike")]
    NoTerms,
    #[error("its terms make no contract")]
    NoContract,
}

/// What stands in brackets in the description of an option.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bracketed {
    pub(crate) contract: Contract,
    pub(crate) multiplier: Option<Decimal>,
}

/// The OCC symbol and multiplier in `SPY    JAN2025 440 C [SPY   250117C00440000 100]`, with any padding.
pub(crate) fn bracketed(description: &str) -> Option<Bracketed> {
    let (_, inside) = description.rsplit_once('[')?;
    let (inside, _) = inside.split_once(']')?;
    let inside = inside.trim();
    let read = |symbol: &str| Contract::from_osi(symbol).ok();
    if let Some(contract) = read(inside) {
        return Some(Bracketed { contract, multiplier: None });
    }
    let (symbol, last) = inside.rsplit_once(char::is_whitespace)?;
    let multiplier = Decimal::from_str_exact(last).ok().filter(|it| *it > Decimal::ZERO)?;
    Some(Bracketed { contract: read(symbol)?, multiplier: Some(multiplier.normalize()) })
}

/// Whether the option can have an OCC symbol: only those that are traded in dollars do.
pub(crate) fn may_be_occ(terms: &Terms) -> bool {
    terms.currency.as_deref().is_none_or(|currency| currency == "USD")
}

/// The contract of an option on a stock, fund or index by the OCC symbol of its description; `Ok(None)` when there is
/// none.
pub(crate) fn described_option(bracketed: Option<Bracketed>, terms: &Terms) -> Result<Option<Contract>, ContractFault> {
    match bracketed {
        Some(found) if agrees(&found.contract, terms) => Ok(Some(found.contract)),
        Some(_) => Err(ContractFault::Contradiction),
        None => Ok(None),
    }
}

/// The contract of an option on a stock, fund or index by its exchange's name, or by its trading class, which is the
/// option root.
pub(crate) fn listed_option(info: &ContractInfo, terms: &Terms) -> Result<Contract, ContractFault> {
    let terms = terms.clone().or(&info.terms);
    if !may_be_occ(&terms) {
        return Err(ContractFault::NotOcc);
    }
    if let Some(contract) = info.local_symbol.as_deref().and_then(|symbol| Contract::from_osi(symbol).ok()) {
        return if agrees(&contract, &terms) { Ok(contract) } else { Err(ContractFault::Contradiction) };
    }
    let root = info.trading_class.as_deref().ok_or(ContractFault::NoRoot)?;
    // The date of the symbol is the expiration; the last trading day would make another contract of it.
    let (Some(date), Some(option_type), Some(strike)) = (terms.expiration, terms.option_type, terms.strike) else {
        return Err(ContractFault::NoTerms);
    };
    Contract::osi(root, date, option_type, strike).map_err(|_| ContractFault::NoContract)
}

/// The future that `info` describes: its exchange's name, `ESU6` or `ZN   DEC 26`, with the year that one digit leaves
/// open taken from its delivery month or maturity, and else the first that is not before `not_before`.
pub(crate) fn future(info: &ContractInfo, not_before: Option<Date>) -> Option<Future> {
    let symbol = info.local_symbol.as_deref()?.trim();
    if let Some(future) = spelled_out(symbol) {
        return Some(future);
    }
    // A contract can mature in the year before its delivery month, and be named after either.
    let delivery = info.contract_month.map(|(year, _)| year).or(info.terms.expiration.map(Date::year));
    let from = delivery.and_then(|year| Date::new(year - 1, 1, 1).ok()).or(not_before)?;
    let future = Future::parse(symbol, from).ok()?;
    let near = delivery.is_none_or(|year| (i32::from(year) - i32::from(future.year())).abs() <= 1);
    near.then_some(future)
}

/// The contract of an option on `future`.
pub(crate) fn future_option(future: Future, terms: &Terms) -> Result<Contract, ContractFault> {
    let date = terms.expiration.or(terms.last_trading_day);
    let (Some(date), Some(option_type), Some(strike)) = (date, terms.option_type, terms.strike) else {
        return Err(ContractFault::NoTerms);
    };
    Contract::on_future(future, date, option_type, strike).map_err(|_| ContractFault::NoContract)
}

/// The canonical symbol of a stock, fund or index: `BRK/B` for IBKR's `BRK B`.
pub(crate) fn canonical_symbol(symbol: &str) -> Option<String> {
    let parts: Vec<&str> = symbol.split(|c: char| c.is_whitespace() || c == '.').filter(|it| !it.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// The symbol at the head of a description: what stands before `JAN2025`.
pub(crate) fn described_symbol(description: &str) -> Option<String> {
    let head = description.split('[').next().unwrap_or_default();
    let words: Vec<&str> = head.split_whitespace().collect();
    let month = words.iter().position(|word| is_month_and_year(word))?;
    canonical_symbol(&words.get(..month)?.join(" "))
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

fn is_month_and_year(word: &str) -> bool {
    let year = word.split_at_checked(3).filter(|(month, _)| MONTHS.contains(month)).map(|(_, year)| year);
    year.is_some_and(|year| year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()))
}

/// `ZN   DEC 26`, the older form of Chicago's names.
fn spelled_out(symbol: &str) -> Option<Future> {
    let words: Vec<&str> = symbol.split_whitespace().collect();
    let [product, month, year] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    let month = greeks_model::MonthCode::from_month(u8::try_from(month).ok()?)?;
    let year: u16 = year.parse().ok().filter(|_| year.len() == 2)?;
    Future::new(product, month, 2000 + year).ok()
}

/// Whether nothing in the terms speaks against the contract.
fn agrees(contract: &Contract, terms: &Terms) -> bool {
    let option_type = terms.option_type.is_none_or(|it| it == contract.option_type());
    let strike = terms.strike.is_none_or(|it| it.is_zero() || it == contract.strike());
    let days_after = |date: Date| contract.expiration().since(date).map_or(i32::MAX, |span| span.get_days());
    let mut dates = [terms.expiration, terms.last_trading_day].into_iter().flatten().peekable();
    let date = dates.peek().is_none() || dates.any(|date| (0..=LONGEST_SETTLEMENT_DAYS).contains(&days_after(date)));
    option_type && strike && date
}

#[cfg(test)]
mod tests {
    use greeks_model::OptionType;
    use greeks_model::jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn terms(day: Option<Date>, letter: &str, strike: &str) -> Terms {
        Terms {
            expiration: day,
            option_type: OptionType::from_letter(letter),
            strike: Some(strike).filter(|it| !it.is_empty()).map(dec),
            ..Terms::default()
        }
    }

    #[test]
    fn symbols_in_brackets_of_every_shape() {
        for (description, key, multiplier) in [
            ("SPY    JAN2025 440 C [SPY   250117C00440000 100]", "SPY   250117C00440000", Some("100")),
            ("SPX    NOV2026 6650 P [SPXW  261124P06650000 100]", "SPXW  261124P06650000", Some("100")),
            ("AAPL1    DEC2026 200 C [AAPL1 261218C00200000 100]", "AAPL1 261218C00200000", Some("100")),
            ("BRK B    DEC2026 400 C [BRKB  261218C00400000 100]", "BRKB  261218C00400000", Some("100")),
            ("F [F     261211P00012330 100.0]", "F     261211P00012330", Some("100")),
            ("[F 261211P00012330]", "F     261211P00012330", None),
            ("[F261211P00012330 10]", "F     261211P00012330", Some("10")),
            ("[ SPY   250117C00440000   100 ]", "SPY   250117C00440000", Some("100")),
            ("odd [text] [SPY   250117C00440000 100]", "SPY   250117C00440000", Some("100")),
        ] {
            let found = bracketed(description).unwrap_or_else(|| panic!("{description}"));
            assert_eq!((found.contract.to_string().as_str(), found.multiplier), (key, multiplier.map(dec)));
        }
        for description in [
            "",
            "SPY    JAN2025 440 C",
            "SPY   250117C00440000 100",
            "[SPY   250117C00440000 100",
            "[SPY   250117C00440000 x]",
            "[SPY   250117C00440000 0]",
            "[SPY   250117C00440000 100 100]",
            "[SPY   251317C00440000 100]",
            "[BRK B 261218C00400000 100]",
            "[C DAX  20261218 17500 M]",
            "[EW4X6 P5000 50]",
            "[]",
            "]x[",
        ] {
            assert_eq!(bracketed(description), None, "{description}");
        }
    }

    #[test]
    fn a_symbol_counts_only_if_nothing_speaks_against_it() {
        let found = bracketed("[SPX   250117C04400000 100]");
        let friday = date(2025, 1, 17);
        let agrees = |terms: &Terms| described_option(found.clone(), terms).map(|it| it.is_some());
        let last = |day| Terms { last_trading_day: Some(day), ..Terms::default() };
        for good in [
            Terms::default(),
            terms(Some(friday), "C", "4400.0"),
            terms(None, "C", "0"),
            // The gateway may tell the last trading day of an option that settles in the morning.
            terms(Some(date(2025, 1, 16)), "C", "4400"),
            Terms { last_trading_day: Some(date(2025, 1, 16)), ..terms(Some(friday), "C", "4400") },
            last(date(2025, 1, 16)),
        ] {
            assert_eq!(agrees(&good), Ok(true), "{good:?}");
        }
        for bad in [
            terms(Some(friday), "P", "4400"),
            terms(Some(friday), "C", "4400.5"),
            terms(Some(date(2025, 1, 18)), "C", "4400"),
            terms(Some(date(2025, 1, 10)), "C", "4400"),
            last(date(2026, 1, 16)),
        ] {
            assert_eq!(agrees(&bad), Err(ContractFault::Contradiction), "{bad:?}");
        }
        assert_eq!(described_option(None, &terms(Some(friday), "C", "4400")), Ok(None), "never by its terms alone");
    }

    #[test]
    fn the_exchanges_name_of_an_option_or_its_root() {
        let info = |symbol: Option<&str>, class: Option<&str>, terms: Terms| ContractInfo {
            local_symbol: symbol.map(Into::into),
            trading_class: class.map(Into::into),
            terms,
            ..ContractInfo::default()
        };
        let day = date(2026, 11, 24);
        let whole = terms(Some(day), "P", "6650");
        let key = |info: &ContractInfo, terms: &Terms| listed_option(info, terms).map(|it| it.to_string());
        let expected = || Ok("SPXW  261124P06650000".to_owned());
        assert_eq!(key(&info(Some("SPXW  261124P06650000"), Some("SPX"), Terms::default()), &whole), expected());
        assert_eq!(key(&info(Some("SPXW  261124P06650000"), None, whole.clone()), &Terms::default()), expected());
        assert_eq!(key(&info(Some("odd"), Some("SPXW"), whole.clone()), &Terms::default()), expected());
        assert_eq!(key(&info(None, Some("SPXW"), Terms::default()), &whole), expected());
        for (info, terms, fault) in [
            (info(None, None, whole.clone()), whole.clone(), ContractFault::NoRoot),
            (info(None, Some("SPXW"), Terms::default()), terms(None, "P", "6650"), ContractFault::NoTerms),
            (info(None, Some("SPXW"), Terms::default()), terms(Some(day), "", "6650"), ContractFault::NoTerms),
            (info(None, Some("SPXW"), Terms::default()), terms(Some(day), "P", "0"), ContractFault::NoContract),
            (info(None, Some("SPX W"), Terms::default()), whole.clone(), ContractFault::NoContract),
            (
                info(Some("SPXW  261124P06650000"), None, Terms { currency: Some("CAD".into()), ..whole.clone() }),
                whole.clone(),
                ContractFault::NotOcc,
            ),
            (info(Some("SPXW  261124C06650000"), None, Terms::default()), whole, ContractFault::Contradiction),
        ] {
            assert_eq!(listed_option(&info, &terms), Err(fault), "{info:?}");
        }
    }

    #[test]
    fn futures_by_their_exchanges_names() {
        let day = |text: &str| text.parse::<Date>().ok();
        for (symbol, month, maturity, not_before, expected) in [
            ("ESU6", Some((2026, 9)), "2026-09-18", "", Some("/ESU26")),
            ("ESU6", Some((2026, 9)), "", "", Some("/ESU26")),
            ("ESU6", None, "2026-09-18", "", Some("/ESU26")),
            ("ESU6", None, "", "2026-09-04", Some("/ESU26")),
            ("ESU6", None, "", "", None),
            ("6EZ6", Some((2026, 12)), "2026-12-14", "", Some("/6EZ26")),
            ("M2KZ6", Some((2026, 12)), "", "", Some("/M2KZ26")),
            ("M6EZ6", Some((2026, 12)), "", "", Some("/M6EZ26")),
            ("10YX29", Some((2029, 11)), "", "", Some("/10YX29")),
            ("ESZ26", None, "2026-12-18", "", Some("/ESZ26")),
            // Crude oil for January matures in December.
            ("CLF7", Some((2027, 1)), "2026-12-21", "", Some("/CLF27")),
            ("CLF7", None, "2026-12-21", "", Some("/CLF27")),
            ("ESH0", Some((2030, 3)), "", "", Some("/ESH30")),
            ("ESH0", None, "2030-03-15", "2029-12-21", Some("/ESH30")),
            (" ESZ6 ", None, "2026-12-18", "", Some("/ESZ26")),
            ("ZN   DEC 26", None, "", "", Some("/ZNZ26")),
            ("YM   SEP 26", Some((2026, 9)), "", "", Some("/YMU26")),
            // What contradicts itself is believed in nothing.
            ("ESU6", Some((2031, 9)), "", "", None),
            ("ESZ26", Some((2029, 12)), "", "", None),
            ("ES", Some((2026, 9)), "", "", None),
            ("ESA6", Some((2026, 9)), "", "", None),
            ("ZN   DEZ 26", None, "2026-12-18", "", None),
            ("", Some((2026, 9)), "", "", None),
        ] {
            let info = ContractInfo {
                local_symbol: Some(symbol.into()),
                contract_month: month,
                terms: Terms { expiration: day(maturity), ..Terms::default() },
                ..ContractInfo::default()
            };
            let found = future(&info, day(not_before)).map(|it| it.to_string());
            assert_eq!(found.as_deref(), expected, "{symbol} {month:?} {maturity} {not_before}");
        }
        assert_eq!(future(&ContractInfo::default(), day("2026-01-01")), None);
    }

    #[test]
    fn options_on_futures() {
        let future = || Future::parse("/ESZ26", date(2026, 1, 1)).unwrap();
        let day = Some(date(2026, 11, 27));
        let key = |terms: &Terms| future_option(future(), terms).map(|it| it.to_string());
        assert_eq!(key(&terms(day, "P", "5000.00")).as_deref(), Ok("/ESZ26 261127P5000"));
        let last = Terms { last_trading_day: day, ..terms(None, "C", "0.00665") };
        assert_eq!(key(&last).as_deref(), Ok("/ESZ26 261127C0.00665"));
        assert_eq!(key(&terms(day, "P", "-5.5")).as_deref(), Ok("/ESZ26 261127P-5.5"));
        for lacking in [terms(None, "P", "1"), terms(day, "", "1"), terms(day, "P", "")] {
            assert_eq!(key(&lacking), Err(ContractFault::NoTerms));
        }
        assert_eq!(key(&terms(Some(date(1999, 1, 1)), "P", "1")), Err(ContractFault::NoContract));
    }

    #[test]
    fn symbols_of_underlyings() {
        for (symbol, expected) in [
            ("SPY", Some("SPY")),
            ("BRK B", Some("BRK/B")),
            (" BF  B ", Some("BF/B")),
            ("BRK.B", Some("BRK/B")),
            (" ", None),
        ] {
            assert_eq!(canonical_symbol(symbol).as_deref(), expected);
        }
        for (description, expected) in [
            ("SPY    JAN2025 440 C [SPY   250117C00440000 100]", Some("SPY")),
            ("SPX    NOV2026 6650 P [SPXW  261124P06650000 100]", Some("SPX")),
            ("BRK B    DEC2026 400 C", Some("BRK/B")),
            ("JAN2025 440 C", None),
            ("SPY 440 C", None),
            ("SPY Jan17'25 440 Call", None),
            ("", None),
        ] {
            assert_eq!(described_symbol(description).as_deref(), expected, "{description}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[\\[\\] A-Z0-9]{0,40}", any in "\\PC{0,40}", year in 2000i16..2100) {
            for text in [text, any] {
                if let Some(found) = bracketed(&text) {
                    prop_assert!(found.contract.future().is_none());
                }
                let info = ContractInfo { local_symbol: Some(text.clone()), contract_month: Some((year, 6)), ..ContractInfo::default() };
                if let Some(future) = future(&info, None) {
                    // The older form names its year itself.
                    let spelled = text.trim().contains(' ');
                    prop_assert!(spelled || (i32::from(future.year()) - i32::from(year)).abs() <= 1);
                }
                prop_assert!(described_symbol(&text).is_none_or(|symbol| !symbol.contains(' ')));
            }
        }

        #[test]
        fn a_one_digit_year_is_the_one_of_the_delivery_month(year in 2001i16..2099, month in 1u8..=12) {
            let letter = greeks_model::MonthCode::from_month(month).unwrap().letter();
            let info = ContractInfo {
                local_symbol: Some(format!("6E{letter}{}", year % 10)),
                contract_month: Some((year, i8::try_from(month).unwrap())),
                ..ContractInfo::default()
            };
            let found = future(&info, None).unwrap();
            prop_assert_eq!((i16::try_from(found.year()).unwrap(), found.product()), (year, "6E"));
        }
    }
}
