//! What a contract is: security definitions, and the exchange's own names.

use broker_net::json;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::terms::{self, RawTerms};
use super::{Call, Rest, Terms, body};
use crate::Error;
use crate::wire::Conid;

const DEFINITIONS: &str = "GET /trsrv/secdef";
const INFO: &str = "GET /iserver/contract/{conid}/info";
/// The most contracts in one question for definitions.
pub(crate) const MOST_DEFINITIONS: usize = 200;

/// A security definition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Definition {
    pub(crate) conid: Conid,
    pub(crate) terms: Terms,
}

/// A contract with its exchange's names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ContractInfo {
    /// A future's exchange symbol, `ESU6`; the OCC symbol of an option.
    pub(crate) local_symbol: Option<String>,
    /// The root of an option's symbol: `SPXW` on `SPX`.
    pub(crate) trading_class: Option<String>,
    /// The delivery month of a future: year and month.
    pub(crate) contract_month: Option<(i16, i8)>,
    pub(crate) terms: Terms,
}

impl Rest {
    /// The definitions of up to [`MOST_DEFINITIONS`] contracts; one that the gateway does not know is left out.
    pub(crate) async fn secdef(&self, conids: &[Conid]) -> Result<Vec<Definition>, Error> {
        let list = conids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let answer = self.ask(Call::get(DEFINITIONS, &["trsrv", "secdef"]), &[("conids", &list)]).await?;
        let mut definitions = read_definitions(&answer)?;
        // Nothing that was not asked for is taken in.
        definitions.retain(|definition| conids.contains(&definition.conid));
        Ok(definitions)
    }

    /// A contract with its exchange's names.
    pub(crate) async fn contract_info(&self, conid: Conid) -> Result<ContractInfo, Error> {
        let number = conid.to_string();
        let answer = self.ask(Call::get(INFO, &["iserver", "contract", &number, "info"]), &[]).await?;
        read_info(&answer)
    }
}

fn read_definitions(answer: &[u8]) -> Result<Vec<Definition>, Error> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        secdef: Vec<&'a RawValue>,
    }
    let answer: Answer<'_> = body::read(DEFINITIONS, answer)?;
    let rows = answer.secdef.into_iter().filter_map(|row| serde_json::from_str::<RawTerms<'_>>(row.get()).ok());
    Ok(rows.filter_map(|row| Some(Definition { conid: row.conid()?, terms: row.read() })).collect())
}

fn read_info(answer: &[u8]) -> Result<ContractInfo, Error> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        symbol: Option<&'a RawValue>,
        #[serde(borrow)]
        local_symbol: Option<&'a RawValue>,
        #[serde(borrow)]
        trading_class: Option<&'a RawValue>,
        #[serde(borrow)]
        contract_month: Option<&'a RawValue>,
        #[serde(borrow)]
        maturity_date: Option<&'a RawValue>,
        #[serde(borrow)]
        instrument_type: Option<&'a RawValue>,
        #[serde(borrow)]
        underlying_con_id: Option<&'a RawValue>,
        #[serde(borrow)]
        right: Option<&'a RawValue>,
        #[serde(borrow)]
        strike: Option<&'a RawValue>,
        #[serde(borrow)]
        multiplier: Option<&'a RawValue>,
        #[serde(borrow)]
        currency: Option<&'a RawValue>,
    }
    let answer: Answer<'_> = body::read(INFO, answer)?;
    Ok(ContractInfo {
        local_symbol: body::text(answer.local_symbol),
        trading_class: body::text(answer.trading_class),
        contract_month: year_and_month(answer.contract_month),
        terms: Terms {
            class: terms::class(answer.instrument_type),
            symbol: body::text(answer.symbol),
            underlying: terms::conid(answer.underlying_con_id),
            expiration: terms::date(answer.maturity_date),
            last_trading_day: None,
            option_type: terms::option_type(answer.right),
            strike: answer.strike.and_then(json::decimal),
            multiplier: terms::multiplier(answer.multiplier),
            currency: body::text(answer.currency),
        },
    })
}

/// `202609`.
fn year_and_month(raw: Option<&RawValue>) -> Option<(i16, i8)> {
    let text = body::text(raw)?;
    let (year, month) = text.split_at_checked(4).filter(|(_, month)| month.len() == 2)?;
    let (year, month) = (year.parse().ok()?, month.parse().ok()?);
    ((2000..=2099).contains(&year) && (1..=12).contains(&month)).then_some((year, month))
}

#[cfg(test)]
mod tests {
    use greeks_model::jiff::civil::date;

    use super::super::AssetClass;
    use super::*;

    #[test]
    fn a_future_is_told_by_its_exchanges_name() {
        let info = read_info(
            br#"{"symbol":"ES","local_symbol":"ESU6","contract_month":"202609","maturity_date":"20260918","text":"ES SEP26 (50)","multiplier":"50","currency":"USD","instrument_type":"FUT","strike":null,"right":null}"#,
        )
        .unwrap();
        assert_eq!((info.local_symbol.as_deref(), info.contract_month), (Some("ESU6"), Some((2026, 9))));
        assert_eq!((info.terms.expiration, info.terms.class), (Some(date(2026, 9, 18)), Some(AssetClass::Other)));
        assert_eq!(read_info(b"{}").unwrap(), ContractInfo::default());
        assert_eq!(read_info(br#"{"contract_month":null,"local_symbol":" "}"#).unwrap(), ContractInfo::default());
        assert!(matches!(read_info(b"[]"), Err(Error::Body { .. })));
    }

    #[test]
    fn months() {
        let read = |text: &str| year_and_month(Some(&RawValue::from_string(text.into()).unwrap()));
        assert_eq!((read("\"202612\""), read("202601")), (Some((2026, 12)), Some((2026, 1))));
        for text in ["\"202613\"", "\"2026\"", "\"20261201\"", "null", "\"DEC26\""] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn definitions_stand_for_themselves() {
        let rows = read_definitions(
            br#"{"secdef":[{"conid":1,"ticker":"SPY"},7,{"ticker":"X"},{"conid":"2","strike":"440"}]}"#,
        );
        let rows = rows.unwrap();
        assert_eq!(rows.iter().map(|it| it.conid.get()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(rows[0].terms.symbol.as_deref(), Some("SPY"));
        for body in [&b"[]"[..], b"{}", b"<html>"] {
            assert!(matches!(read_definitions(body), Err(Error::Body { .. })));
        }
    }
}
