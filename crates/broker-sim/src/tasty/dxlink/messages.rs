//! DXLink messages: what a client may send, read strictly, and what the server answers.
//!
//! Shapes: dxLink AsyncAPI specification 1.0 (`SETUP`, `AUTH`, `CHANNEL_REQUEST`, `FEED_SETUP`, `FEED_SUBSCRIPTION`).

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A message of the client.
#[derive(Debug)]
pub(crate) enum Inbound {
    Setup {
        keepalive_timeout: Option<f64>,
    },
    Keepalive,
    Auth {
        token: String,
    },
    ChannelRequest {
        channel: u64,
        service: String,
        contract: Option<String>,
    },
    ChannelCancel {
        channel: u64,
    },
    FeedSetup {
        channel: u64,
        setup: FeedSetup,
    },
    FeedSubscription {
        channel: u64,
        subscription: Subscription,
    },
    /// The client says that the server did something wrong.
    Error {
        text: String,
    },
    /// A type that the specification does not know: to be ignored.
    Unknown,
}

/// The body of FEED_SETUP.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FeedSetup {
    pub(crate) accept_aggregation_period: Option<f64>,
    pub(crate) accept_data_format: Option<String>,
    pub(crate) accept_event_fields: Option<std::collections::HashMap<String, Vec<String>>>,
}

/// The body of FEED_SUBSCRIPTION.
#[derive(Debug, Deserialize)]
pub(crate) struct Subscription {
    pub(crate) reset: Option<bool>,
    pub(crate) add: Option<Vec<Item>>,
    pub(crate) remove: Option<Vec<Item>>,
}

/// One entry of a subscription.
#[derive(Debug, Deserialize)]
pub(crate) struct Item {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) symbol: String,
    #[serde(rename = "fromTime")]
    pub(crate) from_time: Option<Value>,
    pub(crate) source: Option<Value>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    channel: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Setup {
    version: String,
    keepalive_timeout: Option<f64>,
    accept_keepalive_timeout: Option<f64>,
}

#[derive(Deserialize)]
struct Auth {
    token: String,
}

#[derive(Deserialize)]
struct ChannelRequest {
    service: String,
    parameters: Option<Map<String, Value>>,
}

/// Why a message cannot be read, for ERROR INVALID_MESSAGE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) String);

pub(crate) fn read(text: &str) -> Result<Inbound, Unreadable> {
    let head: Head = parse(text)?;
    let on_connection = |message: Inbound| match head.channel {
        0 => Ok(message),
        channel => Err(Unreadable(format!("{} belongs to channel 0, not {channel}", head.kind))),
    };
    let channel = head.channel;
    match head.kind.as_str() {
        "SETUP" => {
            let setup: Setup = parse(text)?;
            let seconds = [setup.keepalive_timeout, setup.accept_keepalive_timeout];
            if seconds.into_iter().flatten().any(|value| !(value > 0.0 && value.is_finite())) {
                return Err(Unreadable("keepalive timeouts are positive seconds".to_owned()));
            }
            if !setup.version.contains('-') {
                return Err(Unreadable(format!("version {:?} is not <protocol>-<implementation>", setup.version)));
            }
            on_connection(Inbound::Setup { keepalive_timeout: setup.keepalive_timeout })
        }
        "KEEPALIVE" => on_connection(Inbound::Keepalive),
        "AUTH" => {
            let auth: Auth = parse(text)?;
            on_connection(Inbound::Auth { token: auth.token })
        }
        "CHANNEL_REQUEST" => {
            let request: ChannelRequest = parse(text)?;
            let contract = request.parameters.and_then(|mut parameters| match parameters.remove("contract") {
                Some(Value::String(contract)) => Some(contract),
                _ => None,
            });
            Ok(Inbound::ChannelRequest { channel, service: request.service, contract })
        }
        "CHANNEL_CANCEL" => Ok(Inbound::ChannelCancel { channel }),
        "FEED_SETUP" => Ok(Inbound::FeedSetup { channel, setup: parse(text)? }),
        "FEED_SUBSCRIPTION" => Ok(Inbound::FeedSubscription { channel, subscription: parse(text)? }),
        "ERROR" => Ok(Inbound::Error { text: text.chars().take(300).collect() }),
        _ => Ok(Inbound::Unknown),
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| Unreadable(error.to_string()))
}

pub(crate) fn setup(keepalive_timeout: Option<f64>) -> String {
    let mut setup = json!({"type": "SETUP", "channel": 0, "version": "1.0-sim/0.1.0"});
    if let (Some(seconds), Some(object)) = (keepalive_timeout, setup.as_object_mut()) {
        object.insert("keepaliveTimeout".to_owned(), json!(seconds));
        object.insert("acceptKeepaliveTimeout".to_owned(), json!(seconds));
    }
    setup.to_string()
}

pub(crate) fn keepalive() -> String {
    json!({"type": "KEEPALIVE", "channel": 0}).to_string()
}

pub(crate) fn unauthorized() -> String {
    json!({"type": "AUTH_STATE", "channel": 0, "state": "UNAUTHORIZED"}).to_string()
}

pub(crate) fn authorized() -> String {
    json!({"type": "AUTH_STATE", "channel": 0, "state": "AUTHORIZED", "userId": "sim-user"}).to_string()
}

/// `subFormat` is not in the specification; production sends it, so clients must bear it.
pub(crate) fn channel_opened(channel: u64, contract: &str) -> String {
    json!({
        "type": "CHANNEL_OPENED", "channel": channel, "service": "FEED",
        "parameters": {"contract": contract, "subFormat": "LIST"},
    })
    .to_string()
}

pub(crate) fn channel_closed(channel: u64) -> String {
    json!({"type": "CHANNEL_CLOSED", "channel": channel}).to_string()
}

/// Without `fields` the message says nothing of them.
pub(crate) fn feed_config(channel: u64, format: &str, period: f64, fields: &[(&str, Vec<&str>)]) -> String {
    let mut config = json!({
        "type": "FEED_CONFIG", "channel": channel, "dataFormat": format, "aggregationPeriod": period,
    });
    if let (false, Some(object)) = (fields.is_empty(), config.as_object_mut()) {
        let fields: Map<String, Value> =
            fields.iter().map(|(kind, names)| ((*kind).to_owned(), json!(names))).collect();
        object.insert("eventFields".to_owned(), Value::Object(fields));
    }
    config.to_string()
}

pub(crate) fn error(channel: u64, error: &str, message: &str) -> String {
    json!({"type": "ERROR", "channel": channel, "error": error, "message": message}).to_string()
}

/// A valid FEED_DATA of at least so many bytes, of a type that nobody knows.
pub(crate) fn filler(channel: u64, bytes: usize) -> String {
    let filling = "x".repeat(bytes);
    format!("{{\"type\":\"FEED_DATA\",\"channel\":{channel},\"data\":[\"Weather\",[\"Weather\",\"{filling}\"]]}}")
}
