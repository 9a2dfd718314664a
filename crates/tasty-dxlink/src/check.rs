//! A look at everything a session needs, without streaming.

use std::fmt;
use std::sync::Arc;

use broker_net::url::host_only;
use greeks_model::{AccountId, UnixNanos, with_causes};

use crate::config::Endpoints;
use crate::discovery::{Accounts, Discoverer, masked};
use crate::rest::{Level, Rest};
use crate::{Error, TastyConfig};
use crate::{contracts, probe};

/// What [`check`] found. `Display` gives lines for people, with account numbers masked.
#[derive(Debug)]
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
    /// The account streamer; `None`: positions are only polled.
    pub account_streamer: Option<Tried>,
    /// The DXLink streamer.
    pub streamer: Tried,
}

/// A streamer, and whether it can be used.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tried {
    /// Scheme and host.
    pub host: String,
    /// How it went.
    pub outcome: Outcome,
}

/// How an attempt to use a streamer ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// There was nothing to ask of it.
    NotTried,
    /// It took what a session begins with.
    Accepted,
    /// It could not be reached, or refused.
    Failed(Error),
}

impl CheckReport {
    /// Why nothing would be streamed, if that is so. An account streamer that fails is no such reason, since positions are
    /// polled then.
    #[must_use]
    pub const fn failure(&self) -> Option<&Error> {
        self.streamer.failure()
    }

    /// Whether something is not as it should be, though a session would begin.
    #[must_use]
    pub fn has_warnings(&self) -> bool {
        self.accounts.is_empty()
            || !self.missing_accounts.is_empty()
            || self.skipped_positions > 0
            || self.delayed
            || self.account_streamer.as_ref().is_some_and(|tried| tried.failure().is_some())
    }
}

impl Tried {
    fn new(host: &str, result: Result<(), Error>) -> Self {
        Self { host: host_only(host), outcome: result.map_or_else(Outcome::Failed, |()| Outcome::Accepted) }
    }

    const fn failure(&self) -> Option<&Error> {
        match &self.outcome {
            Outcome::Failed(error) => Some(error),
            Outcome::NotTried | Outcome::Accepted => None,
        }
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "credentials: accepted")?;
        match self.accounts.as_slice() {
            [] => writeln!(f, "accounts: none is open, so there is nothing to stream")?,
            accounts => writeln!(f, "accounts: {}", masked(accounts))?,
        }
        if !self.missing_accounts.is_empty() {
            writeln!(f, "configured and not open: {}", masked(&self.missing_accounts))?;
        }
        writeln!(f, "option positions: {}, not understood: {}", self.option_positions, self.skipped_positions)?;
        writeln!(f, "quotes: {}", if self.delayed { "delayed (level demo)" } else { "live" })?;
        match &self.account_streamer {
            None => writeln!(f, "account streamer: none, positions are polled")?,
            Some(Tried { host, outcome: Outcome::NotTried }) => {
                writeln!(f, "account streamer: {host}, not tried without an account")?;
            }
            Some(Tried { host, outcome: Outcome::Accepted }) => {
                writeln!(f, "account streamer: {host}, tells of these accounts")?;
            }
            Some(Tried { host, outcome: Outcome::Failed(error) }) => {
                writeln!(f, "account streamer: {host} fails, positions are polled: {}", with_causes(error))?;
            }
        }
        let Tried { host, outcome } = &self.streamer;
        match outcome {
            Outcome::NotTried => write!(f, "streamer: {host}, not tried"),
            Outcome::Accepted => write!(f, "streamer: {host}, accepts the quote token"),
            Outcome::Failed(error) => write!(f, "streamer: {host} fails: {}", with_causes(error)),
        }
    }
}

/// Tries the credentials, the accounts, their positions and the quote token, and opens both streamers as far as a session
/// does before it subscribes. Can run beside a source. `now` is the wall clock.
///
/// # Errors
/// The first thing that the REST API fails in, with what to do about it in its text. What a streamer fails in stands in the
/// report: see [`CheckReport::failure`].
///
/// # Cancel safety
/// May be dropped at any time.
pub async fn check(
    config: &TastyConfig,
    tls: &Arc<rustls::ClientConfig>,
    now: UnixNanos,
) -> Result<CheckReport, Error> {
    let Endpoints { api, account_streamer } = config.checked()?;
    let discoverer = Arc::new(Discoverer::new(Rest::new(config, api, tls)?));
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
    let watched = async {
        let url = account_streamer?;
        let host = url.to_string();
        if accounts.is_empty() {
            return Some(Tried { host: host_only(&host), outcome: Outcome::NotTried });
        }
        let result = probe::account_streamer(config, tls, url, accounts.clone(), Arc::clone(&discoverer)).await;
        Some(Tried::new(&host, result))
    };
    let (streamer, account_streamer) = tokio::join!(probe::streamer(config, tls, &token, now), watched);
    Ok(CheckReport {
        option_positions,
        skipped_positions,
        delayed: token.level == Level::Demo,
        streamer: Tried::new(token.url.as_str(), streamer),
        account_streamer,
        missing_accounts,
        accounts,
    })
}
