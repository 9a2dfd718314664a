//! tastytrade: the credentials, the API and both streamers, with what to do about what is wrong.

use greeks_model::Clock;
use greeks_processor::SystemClock;

use super::{Finding, code_of};
use crate::exit::{Code, Failure, with_causes};
use crate::settings::Tastytrade;
use crate::sources;

/// tastytrade's code for a customer whose e-mail address is not confirmed.
const UNCONFIRMED: &str = "unconfirmed_user";

pub(super) async fn check(settings: &Tastytrade) -> Result<Finding, Failure> {
    let (config, tls) = sources::tastytrade_config(settings)?;
    match tasty_dxlink::check(&config, &tls, SystemClock::new().now()).await {
        Ok(report) => match report.failure() {
            Some(error) => Err(failed(error, report.to_string())),
            None if report.has_warnings() => Ok(Finding::Doubtful(report.to_string())),
            None => Ok(Finding::Well(report.to_string())),
        },
        Err(error @ tasty_dxlink::Error::Configuration { .. }) => Err(sources::tastytrade_refused(&error)),
        Err(error) => Err(failed(&error, with_causes(&error))),
    }
}

/// A failure with what to do about it, where its own text does not say.
fn failed(error: &tasty_dxlink::Error, text: String) -> Failure {
    use tasty_dxlink::Error;
    let code = match error {
        // A source fetches another and tries again; what has just been looked at was fresh.
        Error::Unauthorized => Code::Credentials,
        Error::Status { reason, .. } if reason.contains(UNCONFIRMED) => Code::Credentials,
        error => code_of(&error.retry()),
    };
    let remedy = match error {
        Error::Status { status: 500.., .. } => "tastytrade's API is in trouble: try again in some minutes",
        Error::Status { reason, .. } if reason.contains(UNCONFIRMED) => "confirm the e-mail address at tastytrade",
        Error::Status { status: 400 | 422, .. } => {
            "try again in some minutes; if it stays so, create a new grant at my.tastytrade.com"
        }
        Error::Status { status: 401 | 403, .. } => {
            "try again in a minute; if it stays so, look whether a proxy or a firewall answers in place of tastytrade, \
             and at TASTYTRADE_API_URL"
        }
        Error::Transport { .. } => {
            "look at the network, at the name service and at TASTYTRADE_API_URL, and try again in some minutes"
        }
        Error::UntrustedPeer { .. } => "set TASTYTRADE_CA_FILE if an authority of your own has signed it",
        Error::Unauthorized => {
            "the token was fresh: try again in a minute; if it stays so, look at my.tastytrade.com whether the account is \
             open and may have quotes"
        }
        Error::Dial { .. }
        | Error::StepTimeout { .. }
        | Error::SessionNotFound
        | Error::Streamer { .. }
        | Error::Closed { .. }
        | Error::ConnectionLost { .. } => {
            "the streamer is in trouble, or a proxy or a firewall lets no websocket through: try again in some minutes"
        }
        _ => return Failure::new(code, text),
    };
    Failure::new(code, text).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_code_and_its_remedy() {
        use tasty_dxlink::Error;
        let status = |status| Error::Status { call: "GET /x", status, reason: "an HTML page".into() };
        let unconfirmed = "unconfirmed_user: x".to_owned();
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (error, code, remedy) in [
            (status(503), Code::Unavailable, "in trouble"),
            (status(403), Code::Unavailable, "TASTYTRADE_API_URL"),
            (status(401), Code::Unavailable, "TASTYTRADE_API_URL"),
            (status(400), Code::Unavailable, "new grant"),
            (Error::Status { call: "x", status: 401, reason: unconfirmed }, Code::Credentials, "confirm the e-mail"),
            (Error::Unauthorized, Code::Credentials, "may have quotes"),
            (Error::Closed { code: 1011, reason: String::new() }, Code::Unavailable, "lets no websocket through"),
            (Error::ConnectionLost { source: None }, Code::Unavailable, "lets no websocket through"),
            (
                Error::UntrustedPeer { host: "x".into(), source: Box::new(refused()) },
                Code::Config,
                "TASTYTRADE_CA_FILE",
            ),
            (Error::CredentialsRejected { reason: "x".into() }, Code::Credentials, "create a new grant"),
        ] {
            let failure = failed(&error, error.to_string());
            assert_eq!(failure.code(), code, "{failure}");
            assert!(failure.to_string().contains(remedy), "{failure}");
        }
    }
}
