//! Nested option chains: every contract of an underlying with its streamer symbols, in one answer.

use broker_net::json::plain;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Rest, body};
use crate::Error;

const EQUITY: &str = "GET /option-chains/{underlying}/nested";
const FUTURE: &str = "GET /futures-option-chains/{product}/nested";

/// A contract's REST symbol and its streamer symbol.
pub(crate) type Named = (String, String);

/// A chain: in `items` for equities, in `option-chains` for futures.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Chains<'a> {
    #[serde(borrow, alias = "option-chains", default)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Chain<'a> {
    #[serde(borrow, default)]
    expirations: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Expiration<'a> {
    #[serde(borrow, default)]
    strikes: Vec<&'a RawValue>,
}

/// Its streamer symbols can be missing.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Strike<'a> {
    #[serde(borrow)]
    call: Option<&'a RawValue>,
    #[serde(borrow)]
    call_streamer_symbol: Option<&'a RawValue>,
    #[serde(borrow)]
    put: Option<&'a RawValue>,
    #[serde(borrow)]
    put_streamer_symbol: Option<&'a RawValue>,
}

impl Rest {
    /// The options on an equity or index; empty when the API has no chain.
    pub(crate) async fn equity_chain(&self, underlying: &str) -> Result<Vec<Named>, Error> {
        self.chain(EQUITY, &["option-chains", underlying, "nested"]).await
    }

    /// The options on the futures of a product; empty when the API has no chain.
    pub(crate) async fn future_chain(&self, product: &str) -> Result<Vec<Named>, Error> {
        self.chain(FUTURE, &["futures-option-chains", product, "nested"]).await
    }

    async fn chain(&self, call: &'static str, path: &[&str]) -> Result<Vec<Named>, Error> {
        match self.get(call, path, &[]).await {
            Ok(answer) => read(call, &answer),
            Err(Error::Status { status: 404, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Whatever part of a chain cannot be read is left out.
fn read(call: &'static str, answer: &[u8]) -> Result<Vec<Named>, Error> {
    let chains: Chains<'_> = body::data(call, answer)?;
    let mut all = Vec::new();
    let chains = chains.items.into_iter().filter_map(|raw| serde_json::from_str::<Chain<'_>>(raw.get()).ok());
    let expirations = chains.flat_map(|chain| chain.expirations);
    let expirations = expirations.filter_map(|raw| serde_json::from_str::<Expiration<'_>>(raw.get()).ok());
    let strikes = expirations.flat_map(|expiration| expiration.strikes);
    for strike in strikes.filter_map(|raw| serde_json::from_str::<Strike<'_>>(raw.get()).ok()) {
        for pair in [(strike.call, strike.call_streamer_symbol), (strike.put, strike.put_streamer_symbol)] {
            let (Some(symbol), Some(streamer)) = pair else { continue };
            let (symbol, streamer) = (plain(symbol), plain(streamer));
            if !symbol.trim().is_empty() && !streamer.trim().is_empty() {
                all.push((symbol.trim().to_owned(), streamer.trim().to_owned()));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_equities_and_futures() {
        let read = |text: &str| read(EQUITY, text.as_bytes());
        let strikes = r#"{"expirations":[{"expiration-date":"2026-12-18","strikes":[
            {"strike-price":"232.5","call":"AAPL  261218C00232500","call-streamer-symbol":".AAPL261218C232.5","put":"AAPL  261218P00232500","put-streamer-symbol":".AAPL261218P232.5"},
            {"strike-price":"235.0","call":"AAPL  261218C00235000","put":"AAPL  261218P00235000","put-streamer-symbol":null},
            7]},{"strikes":9}]}"#;
        for body in [
            format!(r#"{{"data":{{"items":[{strikes},"x"]}},"context":"/x"}}"#),
            format!(r#"{{"data":{{"futures":[{{}}],"option-chains":[{strikes}]}}}}"#),
        ] {
            let named = [
                ("AAPL  261218C00232500".to_owned(), ".AAPL261218C232.5".to_owned()),
                ("AAPL  261218P00232500".to_owned(), ".AAPL261218P232.5".to_owned()),
            ];
            assert_eq!(read(&body).unwrap(), named);
        }
        assert_eq!(read(r#"{"data":{}}"#).unwrap(), []);
        assert!(matches!(read("<html>"), Err(Error::Body { .. })));
    }
}
