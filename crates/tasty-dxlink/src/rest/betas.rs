//! What the API knows of underlyings beside their quotes.

use broker_net::json::plain;
use greeks_model::UnixNanos;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Rest, body};
use crate::Error;

const CALL: &str = "GET /market-metrics";

/// The beta of one underlying.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BetaRow {
    pub(crate) symbol: String,
    /// `None`: the API has none.
    pub(crate) beta: Option<f64>,
    pub(crate) updated_at: Option<UnixNanos>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metrics<'a> {
    #[serde(borrow)]
    symbol: &'a RawValue,
    #[serde(borrow)]
    beta: Option<&'a RawValue>,
    #[serde(borrow)]
    beta_updated_at: Option<&'a RawValue>,
}

impl Rest {
    /// The betas of these underlyings, futures by their product (`/ES`). What the API does not know is left out.
    pub(crate) async fn betas(&self, symbols: &[String]) -> Result<Vec<BetaRow>, Error> {
        read(&self.get(CALL, &["market-metrics"], &[("symbols", &symbols.join(","))]).await?)
    }
}

/// Whatever item cannot be read is left out.
fn read(answer: &[u8]) -> Result<Vec<BetaRow>, Error> {
    let (items, _) = body::items(CALL, answer)?;
    let metrics = items.into_iter().filter_map(|raw| serde_json::from_str::<Metrics<'_>>(raw.get()).ok());
    let text = |raw: &RawValue| plain(raw).trim().to_owned();
    let row = |metrics: Metrics<'_>| BetaRow {
        symbol: text(metrics.symbol),
        beta: metrics.beta.and_then(|raw| text(raw).parse().ok()).filter(|beta: &f64| beta.is_finite()),
        updated_at: metrics.beta_updated_at.and_then(|raw| text(raw).parse().ok()).map(UnixNanos::from_timestamp),
    };
    Ok(metrics.map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn betas_as_text_as_numbers_and_missing() {
        let body = r#"{"data":{"items":[
            {"symbol":"AAPL","beta":"1.245","beta-updated-at":"2026-11-23T17:00:38.789Z","implied-volatility-index":"0.2"},
            {"symbol":"/ES","beta":0.99,"beta-updated-at":null},
            {"symbol":"SPX","beta":null},{"symbol":"X","beta":"NaN","beta-updated-at":"yesterday"},{"beta":"1"},7]}}"#;
        let row = |symbol: &str, beta, updated_at| BetaRow { symbol: symbol.to_owned(), beta, updated_at };
        let updated = UnixNanos::from_millis(1_795_453_238_789);
        assert_eq!(
            read(body.as_bytes()).unwrap(),
            [
                row("AAPL", Some(1.245), Some(updated)),
                row("/ES", Some(0.99), None),
                row("SPX", None, None),
                row("X", None, None),
            ]
        );
        assert!(matches!(read(b"<html>"), Err(Error::Body { .. })));
    }
}
