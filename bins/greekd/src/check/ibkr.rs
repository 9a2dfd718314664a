//! IBKR: the gateway, its login and its data, with what to do about what is wrong.

use std::path::Path;

use greeks_model::Clock;
use greeks_processor::SystemClock;
use ibkr_stream::MarketData;
use ibkr_stream::tls::PinStore;

use super::code_of;
use crate::exit::{Code, Failure, with_causes};
use crate::pins::PinFile;
use crate::settings::{Ibkr, Trust};
use crate::sources;

pub(super) async fn check(settings: &Ibkr, data_dir: &Path) -> Result<String, Failure> {
    let (config, tls) = sources::ibkr_config(settings, data_dir)?;
    match ibkr_stream::check(&config, &tls, SystemClock::new().now()).await {
        // Everything is in order, and nothing will come.
        Ok(report) if matches!(report.market_data, MarketData::NotPermitted | MarketData::NotAcknowledged) => {
            Err(Failure::new(Code::Config, report.to_string()))
        }
        Ok(report) => Ok(format!("{report}{}", pinned(settings, data_dir))),
        Err(error @ ibkr_stream::Error::Configuration { .. }) => Err(sources::ibkr_refused(&error)),
        Err(error) => {
            let remedy = remedy_for(&error, settings);
            let failure = Failure::new(code_of(&error.retry()), with_causes(&error));
            Err(match remedy {
                Some(remedy) => failure.remedy(remedy),
                None => failure,
            })
        }
    }
}

/// What to do about what the broker crate cannot know the setting of; most of its errors say it themselves.
fn remedy_for(error: &ibkr_stream::Error, settings: &Ibkr) -> Option<&'static str> {
    use ibkr_stream::Error;
    match error {
        // The first call: whoever answered that one speaks as is asked.
        Error::Transport { call: "POST /tickle", .. } if settings.gateway_url.starts_with("http://") => Some(
            "a gateway speaks TLS unless listenSsl is false in its conf.yaml: write IBKR_GATEWAY_URL with https://",
        ),
        Error::Transport { call: "POST /tickle", .. } => Some(
            "is it a gateway that listens there? One with listenSsl: false in its conf.yaml has an IBKR_GATEWAY_URL with \
             http://",
        ),
        Error::Status { call: "POST /tickle", status: 404, .. } => {
            Some("is the path of IBKR_GATEWAY_URL right? Most gateways have /v1/api")
        }
        Error::UntrustedPeer { .. } => match settings.trust {
            Trust::System | Trust::CaFile(_) => Some(
                "the certificate that comes with a gateway is its own: leave IBKR_TLS out, or set it to \
                 sha256:FINGERPRINT",
            ),
            // Their refusals say what to do.
            Trust::Pin(_) | Trust::Fingerprint(_) => None,
        },
        Error::NoBrokerageSession { .. } => {
            Some("it passes with IBKR's nightly reset; if not, log out at the gateway and in again with a browser")
        }
        _ => None,
    }
}

/// Which certificate is trusted, where that was not configured.
fn pinned(settings: &Ibkr, data_dir: &Path) -> String {
    let Trust::Pin(peer) = &settings.trust else { return String::new() };
    let file = PinFile::new(data_dir, peer);
    match file.load() {
        Ok(Some(pin)) => {
            format!("\ncertificate: trusted since its first use, sha256:{pin}\npin: {}", file.path().display())
        }
        // Plain HTTP on this machine.
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_gateway_is_told_with_what_to_do() {
        use ibkr_stream::Error;
        let settings = |url: &str| Ibkr {
            gateway_url: url.into(),
            websocket_url: None,
            accounts: None,
            trust: Trust::System,
            compete: false,
            market_data_lines: None,
        };
        let broken = || Error::Transport { call: "POST /tickle", source: "closed".into() };
        let status = |status| Error::Status { call: "POST /tickle", status, reason: String::new() };
        let untrusted = Error::UntrustedPeer { host: "localhost:5000".into(), source: "UnknownIssuer".into() };
        let refused = Error::NoBrokerageSession { reason: "failed to generate sso dh token".into() };
        for (url, error, words) in [
            ("http://localhost:5000/v1/api", broken(), "IBKR_GATEWAY_URL with https://"),
            ("https://localhost:5000/v1/api", broken(), "listenSsl: false"),
            ("https://localhost:5000/v1/portal", status(404), "/v1/api"),
            ("https://localhost:5000/v1/api", untrusted, "leave IBKR_TLS out"),
            ("https://localhost:5000/v1/api", refused, "nightly reset"),
        ] {
            let remedy = remedy_for(&error, &settings(url));
            assert!(remedy.is_some_and(|remedy| remedy.contains(words)), "{error}: {remedy:?}");
        }
        let later = Error::Transport { call: "GET /portfolio/accounts", source: "timed out".into() };
        for error in [status(500), later] {
            assert_eq!(remedy_for(&error, &settings("https://localhost:5000/v1/api")), None, "{error}");
        }
    }
}
