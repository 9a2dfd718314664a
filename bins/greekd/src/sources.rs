//! From settings to sources.

use std::path::Path;
use std::sync::Arc;

use greeks_model::{AccountId, QuoteSource};
use ibkr_stream::{IbkrConfig, IbkrSource};
use tasty_dxlink::{TastyConfig, TastySource};

use crate::exit::{Code, Failure, with_causes};
use crate::pins::PinFile;
use crate::settings::{Ibkr, Settings, Tastytrade, Trust};
use crate::tls;

/// One source per configured broker.
pub(crate) fn configured(settings: &Settings) -> Result<Vec<Box<dyn QuoteSource>>, Failure> {
    let ibkr = settings.ibkr.iter().map(|settings_of| ibkr(settings_of, &settings.data_dir));
    ibkr.chain(settings.tastytrade.iter().map(tastytrade)).collect()
}

fn ibkr(settings: &Ibkr, data_dir: &Path) -> Result<Box<dyn QuoteSource>, Failure> {
    let (config, tls) = ibkr_config(settings, data_dir)?;
    let source = IbkrSource::new(config, tls).map_err(|error| ibkr_refused(&error))?;
    Ok(Box::new(source))
}

pub(crate) fn ibkr_config(
    settings: &Ibkr,
    data_dir: &Path,
) -> Result<(IbkrConfig, Arc<rustls::ClientConfig>), Failure> {
    let mut config = IbkrConfig::new(&settings.gateway_url);
    config.websocket_url.clone_from(&settings.websocket_url);
    config.accounts = accounts("IBKR_ACCOUNTS", settings.accounts.as_deref())?;
    config.compete = settings.compete;
    config.market_data_lines = settings.market_data_lines;
    let refuse = |error: rustls::Error| Failure::new(Code::Runtime, format!("cannot set up TLS: {error}"));
    let tls = match &settings.trust {
        Trust::Pin(peer) => {
            let pin = Arc::new(PinFile::new(data_dir, peer));
            Arc::new(ibkr_stream::tls::pinned(tls::provider(), pin).map_err(refuse)?)
        }
        Trust::Fingerprint(expected) => {
            Arc::new(ibkr_stream::tls::fingerprint(tls::provider(), *expected).map_err(refuse)?)
        }
        Trust::System => tls::client_config(tls::system_roots())?,
        Trust::CaFile(file) => tls::client_config(tls::file_roots(file)?)?,
    };
    Ok((config, tls))
}

/// What a setting of IBKR is called outside of the library.
pub(crate) fn ibkr_refused(error: &ibkr_stream::Error) -> Failure {
    let what = match error {
        ibkr_stream::Error::Configuration { setting: "gateway_url", reason } => format!("IBKR_GATEWAY_URL {reason}"),
        ibkr_stream::Error::Configuration { setting: "websocket_url", reason } => format!("IBKR_WS_URL {reason}"),
        error => with_causes(error),
    };
    Failure::new(Code::Config, what)
}

fn tastytrade(settings: &Tastytrade) -> Result<Box<dyn QuoteSource>, Failure> {
    let (config, tls) = tastytrade_config(settings)?;
    Ok(Box::new(TastySource::new(config, tls).map_err(|error| tastytrade_refused(&error))?))
}

/// What a setting of tastytrade is called outside of the library.
pub(crate) fn tastytrade_refused(error: &tasty_dxlink::Error) -> Failure {
    let what = match error {
        tasty_dxlink::Error::Configuration { setting: "api_url", reason } => format!("TASTYTRADE_API_URL {reason}"),
        tasty_dxlink::Error::Configuration { setting: "streamer_url", reason } => {
            format!("TASTYTRADE_STREAMER_URL {reason}")
        }
        error => with_causes(error),
    };
    Failure::new(Code::Config, what)
}

pub(crate) fn tastytrade_config(settings: &Tastytrade) -> Result<(TastyConfig, Arc<rustls::ClientConfig>), Failure> {
    let mut config = TastyConfig::new(settings.refresh_token.clone(), settings.client_secret.clone());
    if let Some(url) = &settings.api_url {
        config.api_url.clone_from(url);
    }
    config.streamer_url.clone_from(&settings.streamer_url);
    config.benchmarks = vec![crate::live::BENCHMARK.to_owned()];
    config.accounts = accounts("TASTYTRADE_ACCOUNTS", settings.accounts.as_deref())?;
    let mut roots = tls::system_roots();
    if let Some(file) = &settings.ca_file {
        tls::add_file(&mut roots, file)?;
    }
    Ok((config, tls::client_config(roots)?))
}

fn accounts(setting: &str, numbers: Option<&[String]>) -> Result<Option<Vec<AccountId>>, Failure> {
    let accounts = numbers.map(|numbers| numbers.iter().map(|number| AccountId::new(number)).collect());
    accounts.transpose().map_err(|error| {
        Failure::new(Code::Config, format!("{setting} is not valid: {error}"))
            .remedy("write account numbers separated by commas")
    })
}
