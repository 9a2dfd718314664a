//! Where IBKR's gateway is and whom to take for it.

use std::path::PathBuf;

use ibkr_stream::tls::{Fingerprint, Peer};

use super::layers::Layers;
use super::values::{accounts, switch};
use crate::exit::{Code, Failure};

/// The gateway of IBKR. There are no credentials: a person logs in there with a browser.
#[derive(Clone, Debug)]
pub(crate) struct Ibkr {
    pub(crate) gateway_url: String,
    pub(crate) websocket_url: Option<String>,
    pub(crate) accounts: Option<Vec<String>>,
    pub(crate) trust: Trust,
    pub(crate) compete: bool,
    pub(crate) market_data_lines: Option<usize>,
}

/// Whose certificate is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The first one that this gateway presents, and no other later.
    Pin(Peer),
    /// Those that the system's authorities vouch for.
    System,
    /// Those that the authorities in this file vouch for.
    CaFile(PathBuf),
    /// This one.
    Fingerprint(Fingerprint),
}

/// What only has an effect together with `IBKR_GATEWAY_URL`.
const DEPENDENT: [&str; 5] = ["IBKR_WS_URL", "IBKR_ACCOUNTS", "IBKR_TLS", "IBKR_COMPETE", "IBKR_MARKET_DATA_LINES"];

/// The settings, with what a person should be told although it is no error.
pub(super) fn ibkr(layers: &Layers) -> Result<(Option<Ibkr>, Vec<String>), Failure> {
    let Some(gateway_url) = layers.get("IBKR_GATEWAY_URL") else {
        let idle = DEPENDENT.into_iter().filter(|name| layers.get(name).is_some());
        let note = |name| format!("{name} has no effect: IBKR_GATEWAY_URL is not set");
        return Ok((None, idle.map(note).collect()));
    };
    let peer = Peer::of(gateway_url).ok_or_else(|| {
        Failure::new(Code::Config, "IBKR_GATEWAY_URL is not the URL of a gateway")
            .remedy("write it like https://localhost:5000/v1/api")
    })?;
    let mut notes = Vec::new();
    let trust = match layers.parse("IBKR_TLS", "use pin, system, ca:FILE or sha256:FINGERPRINT", asked_trust)? {
        Some(Asked::Pin) => {
            if !peer.is_loopback() {
                notes.push(
                    "IBKR_TLS=pin trusts whoever answers first, and the gateway is not on this machine: compare the \
                     fingerprint in the log with the gateway's, or set IBKR_TLS=sha256:FINGERPRINT"
                        .into(),
                );
            }
            Trust::Pin(peer)
        }
        Some(Asked::As(trust)) => trust,
        None if peer.is_loopback() => Trust::Pin(peer),
        None => Trust::System,
    };
    let lines = layers.parse("IBKR_MARKET_DATA_LINES", "write a whole number from 1 to 100000", |text| {
        text.parse().ok().filter(|lines| (1..=100_000).contains(lines))
    })?;
    let ibkr = Ibkr {
        gateway_url: gateway_url.to_owned(),
        websocket_url: layers.get("IBKR_WS_URL").map(str::to_owned),
        accounts: accounts(layers, "IBKR_ACCOUNTS")?,
        trust,
        compete: layers.parse("IBKR_COMPETE", "use on or off", switch)?.unwrap_or(false),
        market_data_lines: lines,
    };
    Ok((Some(ibkr), notes))
}

enum Asked {
    Pin,
    As(Trust),
}

fn asked_trust(text: &str) -> Option<Asked> {
    match text.split_once(':') {
        None if text.eq_ignore_ascii_case("pin") => Some(Asked::Pin),
        None if text.eq_ignore_ascii_case("system") => Some(Asked::As(Trust::System)),
        Some((kind, file)) if kind.eq_ignore_ascii_case("ca") && !file.is_empty() => {
            Some(Asked::As(Trust::CaFile(file.into())))
        }
        Some((kind, digits)) if kind.eq_ignore_ascii_case("sha256") => {
            digits.parse().ok().map(|fingerprint| Asked::As(Trust::Fingerprint(fingerprint)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;

    const URL: (&str, &str) = ("IBKR_GATEWAY_URL", "https://localhost:5000/v1/api");
    const REMOTE: (&str, &str) = ("IBKR_GATEWAY_URL", "https://gateway.example.org:5000/v1/api");
    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn trust(pairs: &[(&str, &str)]) -> (Trust, usize) {
        let settings = settings(pairs).unwrap();
        (settings.ibkr.unwrap().trust, settings.notes.len())
    }

    #[test]
    fn a_gateway_is_enough() {
        let found = settings(&[URL]).unwrap();
        found.require_broker().unwrap();
        assert_eq!(found.notes, Vec::<String>::new());
        let ibkr = found.ibkr.unwrap();
        assert_eq!(ibkr.gateway_url, URL.1);
        assert!(!ibkr.compete && ibkr.accounts.is_none() && ibkr.websocket_url.is_none());
        assert_eq!(ibkr.market_data_lines, None);
        assert!(settings(&[]).unwrap().ibkr.is_none());
    }

    #[test]
    fn all_settings_are_read() {
        let found = settings(&[
            URL,
            ("IBKR_WS_URL", "wss://localhost:5001/v1/api/ws"),
            ("IBKR_ACCOUNTS", "U1234567, U7654321"),
            ("IBKR_COMPETE", "on"),
            ("IBKR_MARKET_DATA_LINES", "100"),
        ]);
        let ibkr = found.unwrap().ibkr.unwrap();
        assert_eq!(ibkr.websocket_url.as_deref(), Some("wss://localhost:5001/v1/api/ws"));
        assert_eq!(ibkr.accounts.unwrap(), ["U1234567", "U7654321"]);
        assert!(ibkr.compete);
        assert_eq!(ibkr.market_data_lines, Some(100));
        assert!(settings(&[URL, ("IBKR_ACCOUNTS", "all")]).unwrap().ibkr.unwrap().accounts.is_none());
    }

    #[test]
    fn a_certificate_is_pinned_on_this_machine_and_vouched_for_elsewhere() {
        let peer = |(_, url): (&str, &str)| Peer::of(url).unwrap();
        assert_eq!(trust(&[URL]), (Trust::Pin(peer(URL)), 0));
        assert_eq!(trust(&[REMOTE]), (Trust::System, 0));
        assert_eq!(trust(&[URL, ("IBKR_TLS", "system")]), (Trust::System, 0));
        assert_eq!(trust(&[URL, ("IBKR_TLS", "pin")]), (Trust::Pin(peer(URL)), 0));
        // Whoever asks for it shall know what it means.
        assert_eq!(trust(&[REMOTE, ("IBKR_TLS", "PIN")]), (Trust::Pin(peer(REMOTE)), 1));
        assert_eq!(trust(&[REMOTE, ("IBKR_TLS", "ca:/etc/a:b.pem")]), (Trust::CaFile("/etc/a:b.pem".into()), 0));
        let fingerprint = Trust::Fingerprint(HEX.parse().unwrap());
        for text in [
            format!("sha256:{HEX}"),
            format!("SHA256:{}", HEX.to_uppercase()),
            "sha256:BA:78:16".to_owned() + HEX.split_at(6).1,
        ] {
            assert_eq!(trust(&[REMOTE, ("IBKR_TLS", &text)]), (fingerprint.clone(), 0));
        }
    }

    #[test]
    fn values_out_of_their_rule_are_refused_with_the_rule() {
        for (name, value) in [
            ("IBKR_GATEWAY_URL", "localhost:5000"),
            ("IBKR_GATEWAY_URL", "5000"),
            ("IBKR_TLS", "off"),
            ("IBKR_TLS", "ca:"),
            ("IBKR_TLS", "sha256:abcd"),
            ("IBKR_TLS", "md5:abcd"),
            ("IBKR_ACCOUNTS", ","),
            ("IBKR_COMPETE", "perhaps"),
            ("IBKR_MARKET_DATA_LINES", "0"),
            ("IBKR_MARKET_DATA_LINES", "many"),
        ] {
            let failure = settings(&[(name, value), URL]).expect_err(name);
            assert_eq!(failure.code(), Code::Config);
            assert!(failure.to_string().contains(name), "{failure}");
        }
    }

    #[test]
    fn what_has_no_effect_without_a_gateway_is_pointed_out() {
        let found = settings(&[("IBKR_ACCOUNTS", "U1"), ("IBKR_TLS", "nonsense")]).unwrap();
        assert!(found.ibkr.is_none());
        assert_eq!(
            found.notes,
            [
                "IBKR_ACCOUNTS has no effect: IBKR_GATEWAY_URL is not set",
                "IBKR_TLS has no effect: IBKR_GATEWAY_URL is not set"
            ]
        );
    }
}
