//! Broker symbols and contracts: tastytrade's REST symbols in, contracts and dxFeed streamer symbols out.

use std::time::Duration;

use greeks_model::jiff::civil::Date;
use greeks_model::jiff::tz::TimeZone;
use greeks_model::{Contract, Decimal, Future, OptionType, Underlying, UnixNanos};

/// From an expiration day's end in UTC until it is over in New York, in winter.
const NEW_YORK_LAG: Duration = Duration::from_secs(5 * 3600);

/// An option as its position names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedOption {
    pub(crate) contract: Contract,
    pub(crate) underlying: Underlying,
    pub(crate) kind: OptionKind,
}

/// What is needed beside the contract to find its streamer symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OptionKind {
    Equity,
    Future {
        /// The option's own contract, `OGV25`: it has another product code than the future, and often another month.
        option: Future,
        future: Future,
    },
}

/// Why a symbol was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SymbolError {
    #[error("the symbol is no OSI symbol")]
    Osi,
    #[error("the symbol is no futures option")]
    FutureOption,
    #[error("the position names no underlying")]
    NoUnderlying,
}

/// Reads the OSI symbol of an equity or index option.
pub(crate) fn equity_option(symbol: &str, underlying: &str) -> Result<NamedOption, SymbolError> {
    let contract = Contract::from_osi(symbol).map_err(|_| SymbolError::Osi)?;
    let underlying = underlying.trim();
    if underlying.is_empty() {
        return Err(SymbolError::NoUnderlying);
    }
    Ok(NamedOption { contract, underlying: Underlying::new(underlying), kind: OptionKind::Equity })
}

/// Reads the symbol of an option on a future, `./ESZ9 EW4U9 190927P2975`: `./`, the future padded to 5, the option
/// contract padded to 6, the date, C or P, and the strike as it is. The fields can touch, so columns come first; a
/// symbol with other padding is read from the right, with the position's underlying as a help.
pub(crate) fn future_option(symbol: &str, underlying: &str) -> Result<NamedOption, SymbolError> {
    by_columns(symbol).or_else(|| from_the_right(symbol, underlying)).ok_or(SymbolError::FutureOption)
}

/// Whether an option's last day is over. tastytrade lists a position until the expiration has been settled, a Friday's
/// option over the weekend, and its streamer may say nothing of it any more.
pub(crate) fn is_expired(contract: &Contract, now: UnixNanos) -> bool {
    let next_day = contract.expiration().tomorrow().and_then(|day| day.to_zoned(TimeZone::UTC));
    next_day.is_ok_and(|day| now >= UnixNanos::from_timestamp(day.timestamp()).saturating_add(NEW_YORK_LAG))
}

/// The streamer symbol of an equity or index option: `.`, the option root, date, type, plain strike (dxFeed symbology).
/// The root is the option's, not the underlying's: SPXW, not SPX.
pub(crate) fn equity_streamer_symbol(contract: &Contract) -> String {
    let date = contract.expiration();
    format!(
        ".{}{:02}{:02}{:02}{}{}",
        contract.root(),
        date.year().rem_euclid(100),
        date.month(),
        date.day(),
        contract.option_type(),
        contract.strike()
    )
}

/// The streamer symbol of an option on a future: `./`, the option contract with a two-digit year, type, strike, and
/// the exchange.
pub(crate) fn future_option_streamer_symbol(option: &Future, contract: &Contract, mic: &str) -> String {
    format!(".{option}{}{}:{mic}", contract.option_type(), contract.strike())
}

/// The streamer symbol of a future.
pub(crate) fn future_streamer_symbol(future: &Future, mic: &str) -> String {
    format!("{future}:{mic}")
}

/// The exchange part of a streamer symbol.
pub(crate) fn mic_of(streamer_symbol: &str) -> Option<&str> {
    streamer_symbol.rsplit_once(':').map(|(_, mic)| mic).filter(|mic| !mic.is_empty())
}

/// The exchange of a product, for the case that the API does not tell. Not complete, and need not be: an option that
/// cannot be placed is reported.
pub(crate) fn mic_of_product(product: &str) -> Option<&'static str> {
    Some(match product {
        "ES" | "MES" | "NQ" | "MNQ" | "RTY" | "M2K" | "6A" | "6B" | "6C" | "6E" | "6J" | "6M" | "6N" | "6S" | "M6E"
        | "GE" | "SR3" | "HE" | "LE" | "GF" | "BTC" | "MBT" | "ETH" | "MET" => "XCME",
        "YM" | "MYM" | "ZB" | "UB" | "ZN" | "TN" | "ZF" | "ZT" | "ZQ" | "ZC" | "ZS" | "ZW" | "ZM" | "ZL" | "KE" => {
            "XCBT"
        }
        "CL" | "MCL" | "QM" | "NG" | "QG" | "RB" | "HO" | "PL" | "PA" => "XNYM",
        "GC" | "MGC" | "SI" | "SIL" | "HG" | "MHG" => "XCEC",
        "VX" | "VXM" => "XCBF",
        _ => return None,
    })
}

fn by_columns(symbol: &str) -> Option<NamedOption> {
    let (future, rest) = symbol.strip_prefix("./")?.split_at_checked(5)?;
    let (option, tail) = rest.split_at_checked(6)?;
    build(future.trim_end(), option.trim_end(), tail)
}

fn from_the_right(symbol: &str, underlying: &str) -> Option<NamedOption> {
    let body = symbol.trim().trim_start_matches('.').trim_start_matches('/');
    // Digits, points and signs of the strike, then the type, then six digits of date.
    let letter = body.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-').len().checked_sub(1)?;
    let (head, tail) = body.split_at_checked(letter.checked_sub(6)?)?;
    let head = head.trim();
    if let Some((future, option)) = head.split_once(char::is_whitespace) {
        return build(future, option.trim_start(), tail);
    }
    let known = underlying.trim().trim_start_matches('/');
    if let Some(option) = head.strip_prefix(known).filter(|_| !known.is_empty()) {
        return build(known, option, tail);
    }
    (3..head.len()).find_map(|at| {
        let (future, option) = head.split_at_checked(at)?;
        build(future, option, tail)
    })
}

fn build(future: &str, option: &str, tail: &str) -> Option<NamedOption> {
    let (expiration, option_type, strike) = read_tail(tail)?;
    let future = Future::parse(future, expiration).ok()?;
    let option = Future::parse(option, expiration).ok()?;
    let contract = Contract::on_future(future.clone(), expiration, option_type, strike).ok()?;
    let underlying = Underlying::new(&future.to_string());
    Some(NamedOption { contract, underlying, kind: OptionKind::Future { option, future } })
}

/// Reads `YYMMDD`, `C` or `P`, and a plain decimal.
fn read_tail(tail: &str) -> Option<(Date, OptionType, Decimal)> {
    let (date, rest) = tail.split_at_checked(6)?;
    let (letter, strike) = rest.split_at_checked(1)?;
    if !date.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i32 = date.parse().ok()?;
    let part = |value: i32| i8::try_from(value % 100).ok();
    let year = i16::try_from(number / 10_000).ok()? + 2000;
    let date = Date::new(year, part(number / 100)?, part(number)?).ok()?;
    let plain = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    let strike = strike.trim_end();
    if strike.is_empty() || !strike.chars().all(plain) {
        return None;
    }
    Some((date, OptionType::from_letter(letter)?, Decimal::from_str_exact(strike).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equity_options_of_every_shape() {
        for (symbol, underlying, key, streamer) in [
            ("AAPL  261218C00232500", "AAPL", "AAPL  261218C00232500", ".AAPL261218C232.5"),
            ("AAPL  261218C00200000", "AAPL", "AAPL  261218C00200000", ".AAPL261218C200"),
            ("SPXW  261124P06650000", "SPX", "SPXW  261124P06650000", ".SPXW261124P6650"),
            ("SNDL  261218C00000500", "SNDL", "SNDL  261218C00000500", ".SNDL261218C0.5"),
            ("F     261211P00012330", "F", "F     261211P00012330", ".F261211P12.33"),
            ("BABA2 251017C00145000", "BABA", "BABA2 251017C00145000", ".BABA2251017C145"),
            ("BRKB  261218C00400000", "BRK/B", "BRKB  261218C00400000", ".BRKB261218C400"),
            ("AAPL 261218C00232500", "AAPL ", "AAPL  261218C00232500", ".AAPL261218C232.5"),
            ("AAPL261218C00232500", "AAPL", "AAPL  261218C00232500", ".AAPL261218C232.5"),
            (" F   261211P00012330 ", "F", "F     261211P00012330", ".F261211P12.33"),
        ] {
            let named = equity_option(symbol, underlying).unwrap_or_else(|e| panic!("{symbol}: {e}"));
            assert_eq!(named.contract.to_string(), key);
            assert_eq!(equity_streamer_symbol(&named.contract), streamer);
            assert_eq!(named.underlying.to_string(), underlying.trim());
        }
        assert_eq!(equity_option("AAPL", "AAPL"), Err(SymbolError::Osi));
        assert_eq!(equity_option("", "AAPL"), Err(SymbolError::Osi));
        assert_eq!(equity_option("AAPL  261218C00232500", " "), Err(SymbolError::NoUnderlying));
    }

    #[test]
    fn futures_options_of_every_shape() {
        for (symbol, underlying, key, mic, streamer) in [
            ("./ESZ9 EW4U9 190927P2975", "/ESZ9", "/ESZ19 190927P2975", "XCME", "./EW4U19P2975:XCME"),
            ("./MNQZ5D4AU5 250922C24575", "/MNQZ5", "/MNQZ25 250922C24575", "XCME", "./D4AU25C24575:XCME"),
            ("./GCV5 OGV5  250925P2755", "/GCV5", "/GCV25 250925P2755", "XCEC", "./OGV25P2755:XCEC"),
            ("./ESZ6 EW4X6 261127P5000", "", "/ESZ26 261127P5000", "XCME", "./EW4X26P5000:XCME"),
            ("./6JZ6 JPUZ6 261204P0.00665", "/6JZ6", "/6JZ26 261204P0.00665", "XCME", "./JPUZ26P0.00665:XCME"),
            ("./6EZ6 1EUZ6 261204C1.1050", "/6EZ6", "/6EZ26 261204C1.105", "XCME", "./1EUZ26C1.105:XCME"),
            ("./CLM0 LOM0  200514P-5.5", "/CLM0", "/CLM20 200514P-5.5", "XNYM", "./LOM20P-5.5:XNYM"),
            // Other padding than the columns.
            ("./MNQZ5 D4AU5 250922C24575", "/MNQZ5", "/MNQZ25 250922C24575", "XCME", "./D4AU25C24575:XCME"),
            ("./ESZ9EW4U9190927P2975", "/ESZ9", "/ESZ19 190927P2975", "XCME", "./EW4U19P2975:XCME"),
            ("./ESZ9EW4U9 190927P2975", "", "/ESZ19 190927P2975", "XCME", "./EW4U19P2975:XCME"),
            ("./ESZ26 EW4X26 261127P5000", "/ESZ26", "/ESZ26 261127P5000", "XCME", "./EW4X26P5000:XCME"),
            ("./GCV5  OGV5 250925P2755 ", "/GCV5", "/GCV25 250925P2755", "XCEC", "./OGV25P2755:XCEC"),
        ] {
            let named = future_option(symbol, underlying).unwrap_or_else(|e| panic!("{symbol}: {e}"));
            assert_eq!(named.contract.to_string(), key, "{symbol}");
            let OptionKind::Future { option, future } = &named.kind else { panic!("{symbol}") };
            assert_eq!(mic_of_product(future.product()), Some(mic), "{symbol}");
            assert_eq!(future_option_streamer_symbol(option, &named.contract, mic), streamer);
            assert_eq!(mic_of(streamer), Some(mic));
            assert_eq!(named.underlying.to_string(), future.to_string());
        }
        for symbol in [
            "",
            "./",
            "./ESZ6",
            "AAPL  261218C00232500",
            "./ESZ6 EW4X6 261327P5000",
            "./ESZ6 EW4X6 261127X5000",
            "./ESZ6 EW4X6 261127P5e3",
            "/ESZ26",
        ] {
            assert_eq!(future_option(symbol, "/ESZ6"), Err(SymbolError::FutureOption), "{symbol}");
        }
    }

    #[test]
    fn an_option_has_expired_when_its_day_is_over_in_new_york() {
        let option = equity_option("AAPL  261218C00232500", "AAPL").unwrap().contract;
        for (now, expired) in [
            ("2026-12-17T12:00:00Z", false),
            ("2026-12-18T21:00:00Z", false),
            ("2026-12-19T04:59:59Z", false),
            ("2026-12-19T05:00:00Z", true),
            ("2026-12-20T12:00:00Z", true),
        ] {
            assert_eq!(is_expired(&option, UnixNanos::from_timestamp(now.parse().unwrap())), expired, "{now}");
        }
    }

    #[test]
    fn exchanges() {
        assert_eq!(mic_of("/ESZ26:XCME"), Some("XCME"));
        assert_eq!(mic_of("./ESZ26:"), None);
        assert_eq!(mic_of("AAPL"), None);
        assert_eq!(mic_of_product("NOPE"), None);
        let future = Future::parse("ESZ6", greeks_model::jiff::civil::date(2026, 1, 1)).unwrap();
        assert_eq!(future_streamer_symbol(&future, "XCME"), "/ESZ26:XCME");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(symbol in "[./A-Z0-9 -]{0,30}", any in "\\PC{0,30}", underlying in "[/A-Z0-9]{0,6}") {
            for symbol in [symbol, any] {
                if let Ok(named) = equity_option(&symbol, &underlying) {
                    prop_assert!(equity_streamer_symbol(&named.contract).starts_with('.'));
                }
                if let Ok(named) = future_option(&symbol, &underlying) {
                    prop_assert!(named.contract.future().is_some());
                }
            }
        }

        #[test]
        fn streamer_strikes_have_no_padding(thousandths in 1u32..=99_999_999) {
            let named = equity_option(&format!("SPXW  261218C{thousandths:08}"), "SPX").unwrap();
            let streamer = equity_streamer_symbol(&named.contract);
            let strike = streamer.strip_prefix(".SPXW261218C").unwrap();
            let whole = thousandths / 1000;
            let fraction = format!("{:03}", thousandths % 1000);
            let fraction = fraction.trim_end_matches('0');
            let expected = if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") };
            prop_assert_eq!(strike, expected);
        }
    }
}
