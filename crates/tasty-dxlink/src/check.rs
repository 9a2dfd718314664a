//! A look at everything a session needs, without streaming.

use std::fmt;
use std::sync::Arc;

use broker_net::url::host_only;
use greeks_model::{AccountId, UnixNanos};

use crate::contracts;
use crate::discovery::{Accounts, Discoverer, masked};
use crate::rest::{Level, Rest};
use crate::{Error, TastyConfig};

/// What [`check`] found. `Display` gives lines for people, with account numbers masked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The accounts that would be streamed.
    pub accounts: Vec<AccountId>,
    /// Configured accounts that are not open.
    pub missing_accounts: Vec<AccountId>,
    /// Open option positions in them.
    pub option_positions: usize,
    /// Option positions that cannot be understood.
    pub skipped_positions: usize,
    /// Whether quotes are delayed: the quote token is of level "demo".
    pub delayed: bool,
    /// Scheme and host of the DXLink streamer.
    pub streamer: String,
    /// Scheme and host of the account streamer; `None`: positions are only polled.
    pub account_streamer: Option<String>,
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "credentials: accepted")?;
        writeln!(f, "accounts: {}", if self.accounts.is_empty() { "none".into() } else { masked(&self.accounts) })?;
        if !self.missing_accounts.is_empty() {
            writeln!(f, "configured and not open: {}", masked(&self.missing_accounts))?;
        }
        writeln!(f, "option positions: {}, not understood: {}", self.option_positions, self.skipped_positions)?;
        writeln!(f, "quotes: {}", if self.delayed { "delayed (level demo)" } else { "live" })?;
        writeln!(f, "streamer: {}", self.streamer)?;
        write!(f, "account streamer: {}", self.account_streamer.as_deref().unwrap_or("none, positions are polled"))
    }
}

/// Tries the credentials, the accounts, their positions and the quote token; opens no stream. `now` is the wall clock.
///
/// # Errors
/// The first thing that fails, with what to do about it in its text.
///
/// # Cancel safety
/// May be dropped at any time.
pub async fn check(
    config: &TastyConfig,
    tls: &Arc<rustls::ClientConfig>,
    now: UnixNanos,
) -> Result<CheckReport, Error> {
    let endpoints = config.checked()?;
    let discoverer = Discoverer::new(Rest::new(config, endpoints.api, tls)?);
    let Accounts { ids: accounts, missing: missing_accounts } = discoverer.accounts(config).await?;
    let (mut option_positions, mut skipped_positions) = (0, 0);
    for account in &accounts {
        let positions = discoverer.rest().positions(account).await?;
        skipped_positions += positions.skipped.len();
        for row in &positions.rows {
            let read = if row.on_future { contracts::future_option } else { contracts::equity_option };
            match read(&row.symbol, &row.underlying_symbol) {
                Ok(_) => option_positions += 1,
                Err(_) => skipped_positions += 1,
            }
        }
    }
    let token = discoverer.rest().quote_token(now).await?;
    Ok(CheckReport {
        accounts,
        missing_accounts,
        option_positions,
        skipped_positions,
        delayed: token.level == Level::Demo,
        streamer: host_only(token.url.as_str()),
        account_streamer: endpoints.account_streamer.map(|url| host_only(url.as_str())),
    })
}
