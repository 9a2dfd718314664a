//! Streamer symbols as the API knows them. The list forms of these calls are gone; one symbol per call remains.

use broker_net::json::plain;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Rest, body};
use crate::Error;

#[derive(Deserialize)]
struct Instrument<'a> {
    #[serde(rename = "streamer-symbol", borrow)]
    streamer_symbol: Option<&'a RawValue>,
}

impl Rest {
    /// The streamer symbol of an equity option; `None` when the API has none.
    pub(crate) async fn equity_option_symbol(&self, symbol: &str) -> Result<Option<String>, Error> {
        self.streamer_symbol("GET /instruments/equity-options/{symbol}", &["instruments", "equity-options", symbol])
            .await
    }

    /// The streamer symbol of an option on a future; `None` when the API has none.
    pub(crate) async fn future_option_symbol(&self, symbol: &str) -> Result<Option<String>, Error> {
        self.streamer_symbol("GET /instruments/future-options/{symbol}", &["instruments", "future-options", symbol])
            .await
    }

    /// The streamer symbol of a future; `None` when the API has none. Clients in use differ on whether the path holds
    /// the future's slash.
    pub(crate) async fn future_symbol(&self, symbol: &str) -> Result<Option<String>, Error> {
        const CALL: &str = "GET /instruments/futures/{symbol}";
        let found = self.streamer_symbol(CALL, &["instruments", "futures", symbol]).await?;
        match symbol.strip_prefix('/') {
            Some(bare) if found.is_none() => self.streamer_symbol(CALL, &["instruments", "futures", bare]).await,
            _ => Ok(found),
        }
    }

    async fn streamer_symbol(&self, call: &'static str, path: &[&str]) -> Result<Option<String>, Error> {
        let answer = match self.get(call, path, &[]).await {
            Ok(answer) => answer,
            Err(Error::Status { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let instrument: Instrument<'_> = body::data(call, &answer)?;
        let symbol = instrument.streamer_symbol.map(plain).unwrap_or_default();
        Ok(Some(symbol.trim().to_owned()).filter(|symbol| !symbol.is_empty()))
    }
}
