//! Opening the gateway's websocket.

use std::sync::Arc;

use broker_net::ws::{self, DialError, DialSettings, Socket};
use secrecy::{ExposeSecret, SecretString};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};

use crate::config::Endpoints;
use crate::{Error, IbkrConfig};

const UPGRADE: &str = "GET /ws";

/// Opens the websocket in the gateway's session of that id. The cookie is JSON within a header; without it the gateway
/// closes, or says for ever that it waits for a session.
pub(crate) async fn dial(
    config: &IbkrConfig,
    endpoints: &Endpoints,
    session: &SecretString,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Socket, Error> {
    let settings = DialSettings {
        user_agent: config.user_agent.clone(),
        headers: vec![(header::COOKIE, cookie(session)?)],
        max_message_bytes: config.max_message_bytes,
        within: config.step_timeout,
    };
    let dialled = ws::dial(&endpoints.websocket, &settings, tls).await;
    dialled.map_err(|error| undialled(error, config))
}

fn cookie(session: &SecretString) -> Result<HeaderValue, Error> {
    let id = session.expose_secret();
    // The id is hexadecimal; whatever else comes must not become another header or another JSON.
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\' && b != b';');
    let value = plain.then(|| HeaderValue::from_str(&format!(r#"api={{"session":"{id}"}}"#)).ok()).flatten();
    let Some(mut value) = value else {
        return Err(Error::NoBrokerageSession { reason: "the gateway tells no usable session id".into() });
    };
    value.set_sensitive(true);
    Ok(value)
}

fn undialled(error: DialError, config: &IbkrConfig) -> Error {
    match error {
        DialError::UserAgent => Error::configuration("user_agent", "cannot be sent as a header"),
        DialError::UntrustedPeer { host, source } => Error::untrusted(host, source),
        DialError::Timeout { after, .. } => Error::StepTimeout { step: "websocket", after },
        DialError::Failed { host, source } => refused(&source, config).unwrap_or(Error::Dial { host, source }),
    }
}

/// What an upgrade that was answered like any other request means. Whether somebody is logged in, and whether the gateway
/// talks to this address at all, REST has just told: 401 and 403 are about this upgrade.
fn refused(error: &tungstenite::Error, config: &IbkrConfig) -> Option<Error> {
    let tungstenite::Error::Http(response) = error else { return None };
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => Some(Error::RateLimited { call: UPGRADE, pause: config.penalty }),
        status @ (StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => {
            Some(Error::Maintenance { call: UPGRADE, status: status.as_u16(), pause: config.maintenance_pause })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_the_session_id_in_json_and_a_secret() {
        let value = cookie(&"0123abcd".into()).unwrap();
        assert_eq!(value.to_str().unwrap(), r#"api={"session":"0123abcd"}"#);
        assert!(!format!("{value:?}").contains("0123abcd"));
        for id in ["", "a\"b", "a\r\nX: y", "a;b", "ü"] {
            let error = cookie(&id.into()).unwrap_err();
            assert!(matches!(error, Error::NoBrokerageSession { .. }), "{id}");
        }
    }
}
