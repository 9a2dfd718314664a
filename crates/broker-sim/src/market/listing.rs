//! A contract under each of its names: canonical key, REST symbol, streamer symbol.

use greeks_model::{Contract, Decimal, Future, OptionType};
use jiff::civil::Date;

/// An option contract as the broker lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// The contract; `to_string()` is its `contract_key`.
    pub contract: Contract,
    /// In REST documents: OSI for equity and index options, fixed columns for futures options.
    pub rest_symbol: String,
    /// On the stream: `.AAPL261218C232.5`, `./EW4X26P5000:XCME`.
    pub streamer_symbol: String,
    /// What the option is written on, as REST documents name it: `AAPL`, `SPX`, `BRK/B`, `/ESZ6`.
    pub underlying: String,
    /// Money per 1.00 of price and one contract.
    pub multiplier: Decimal,
    /// The exchange's code of a futures option, such as `EW4X6`.
    pub option_code: Option<String>,
}

impl Listing {
    /// An equity or index option.
    pub(crate) fn osi(contract: Contract, underlying: &str, multiplier: Decimal) -> Self {
        Self {
            rest_symbol: contract.to_string(),
            streamer_symbol: format!(
                ".{}{}{}{}",
                contract.root(),
                yymmdd(contract.expiration()),
                contract.option_type(),
                contract.strike()
            ),
            underlying: underlying.to_owned(),
            multiplier,
            option_code: None,
            contract,
        }
    }

    /// An option on `future` with the exchange's option product code, e.g. `EW4` for the fourth Friday of the S&P.
    pub(crate) fn on_future(
        contract: Contract,
        future: &Future,
        option_product: &str,
        mic: &str,
        multiplier: Decimal,
    ) -> Self {
        let expiration = contract.expiration();
        let month = month_letter(expiration);
        let year = expiration.year().rem_euclid(100);
        let code = format!("{option_product}{month}{}", year % 10);
        let underlying = short_future(future);
        let tail = format!("{}{}", contract.option_type(), contract.strike());
        Self {
            rest_symbol: format!("./{:<5}{code:<6}{}{tail}", underlying.trim_start_matches('/'), yymmdd(expiration)),
            streamer_symbol: format!("./{option_product}{month}{year:02}{tail}:{mic}"),
            underlying,
            multiplier,
            option_code: Some(code),
            contract,
        }
    }

    /// Whether the contract gives the right to buy.
    pub(crate) fn kind(&self) -> greeks_pricing::OptionKind {
        match self.contract.option_type() {
            OptionType::Call => greeks_pricing::OptionKind::Call,
            OptionType::Put => greeks_pricing::OptionKind::Put,
        }
    }
}

/// `/ESZ6`: a future as REST documents write it, with one digit of the year.
pub(crate) fn short_future(future: &Future) -> String {
    format!("/{}{}{}", future.product(), future.month().letter(), future.year() % 10)
}

pub(crate) fn yymmdd(date: Date) -> String {
    format!("{:02}{:02}{:02}", date.year().rem_euclid(100), date.month(), date.day())
}

fn month_letter(date: Date) -> char {
    u8::try_from(date.month()).ok().and_then(greeks_model::MonthCode::from_month).map_or('?', |code| code.letter())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn osi(key: &str, underlying: &str) -> Listing {
        Listing::osi(key.parse().unwrap(), underlying, Decimal::ONE_HUNDRED)
    }

    #[test]
    fn equity_and_index_options() {
        for (key, underlying, streamer) in [
            ("AAPL  261218C00232500", "AAPL", ".AAPL261218C232.5"),
            ("F     261211P00012330", "F", ".F261211P12.33"),
            ("SPXW  261124P06650000", "SPX", ".SPXW261124P6650"),
            ("AAPL1 261218C00200000", "AAPL", ".AAPL1261218C200"),
            ("BRKB  261218C00480000", "BRK/B", ".BRKB261218C480"),
        ] {
            let listing = osi(key, underlying);
            assert_eq!(listing.rest_symbol, key);
            assert_eq!(listing.streamer_symbol, streamer);
            assert_eq!(listing.underlying, underlying);
        }
    }

    #[test]
    fn futures_options_have_fixed_columns() {
        for (key, day, product, mic, rest, streamer) in [
            ("/ESZ26 261127P5000", date(2026, 11, 27), "EW4", "XCME", "./ESZ6 EW4X6 261127P5000", "./EW4X26P5000:XCME"),
            ("/ESZ19 190927P2975", date(2019, 9, 27), "EW4", "XCME", "./ESZ9 EW4U9 190927P2975", "./EW4U19P2975:XCME"),
            ("/GCV25 250925P2755", date(2025, 9, 25), "OG", "XCEC", "./GCV5 OGU5  250925P2755", "./OGU25P2755:XCEC"),
            (
                "/6JZ26 261204P0.00665",
                date(2026, 12, 4),
                "JPU",
                "XCME",
                "./6JZ6 JPUZ6 261204P0.00665",
                "./JPUZ26P0.00665:XCME",
            ),
            (
                "/MNQZ25 250922C24575",
                date(2025, 9, 22),
                "D4A",
                "XCME",
                "./MNQZ5D4AU5 250922C24575",
                "./D4AU25C24575:XCME",
            ),
        ] {
            let contract: Contract = key.parse().unwrap();
            assert_eq!(contract.expiration(), day);
            let future = contract.future().unwrap().clone();
            let listing = Listing::on_future(contract, &future, product, mic, Decimal::from(50));
            assert_eq!(listing.rest_symbol, rest);
            assert_eq!(listing.streamer_symbol, streamer);
            assert_eq!(listing.contract.to_string(), key);
        }
    }
}
