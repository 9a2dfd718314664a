//! From settings to sources.

use std::sync::Arc;

use greeks_model::{AccountId, QuoteSource};
use tasty_dxlink::{TastyConfig, TastySource};

use crate::exit::{Code, Failure, chain};
use crate::settings::{Settings, Tastytrade};
use crate::tls;

/// One source per configured broker.
pub(crate) fn configured(settings: &Settings) -> Result<Vec<Box<dyn QuoteSource>>, Failure> {
    settings.tastytrade.iter().map(tastytrade).collect()
}

pub(crate) fn tastytrade(settings: &Tastytrade) -> Result<Box<dyn QuoteSource>, Failure> {
    let (config, tls) = tastytrade_config(settings)?;
    let source = TastySource::new(config, tls).map_err(|error| Failure::new(Code::Config, chain(&error)))?;
    Ok(Box::new(source))
}

pub(crate) fn tastytrade_config(settings: &Tastytrade) -> Result<(TastyConfig, Arc<rustls::ClientConfig>), Failure> {
    let mut config = TastyConfig::new(settings.refresh_token.clone(), settings.client_secret.clone());
    if let Some(url) = &settings.api_url {
        config.api_url.clone_from(url);
    }
    config.streamer_url.clone_from(&settings.streamer_url);
    if let Some(accounts) = &settings.accounts {
        let accounts: Result<Vec<AccountId>, _> = accounts.iter().map(|number| AccountId::new(number)).collect();
        let accounts = accounts.map_err(|error| {
            Failure::new(Code::Config, format!("TASTYTRADE_ACCOUNTS is not valid: {error}"))
                .remedy("write account numbers separated by commas")
        })?;
        config.accounts = Some(accounts);
    }
    Ok((config, tls::client_config(settings.ca_file.as_deref())?))
}
