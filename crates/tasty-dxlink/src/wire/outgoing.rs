//! Messages to the server.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::event::EventKind;

/// What the client says. Numbers of seconds go out as JSON numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outgoing<'a> {
    Setup {
        version: &'a str,
        keepalive: f64,
        accept_keepalive: f64,
    },
    Auth {
        token: Secret<'a>,
    },
    ChannelRequest {
        channel: u64,
    },
    FeedSetup {
        channel: u64,
        aggregation_period: f64,
        kinds: &'a [EventKind],
    },
    FeedSubscription {
        channel: u64,
        chunk: &'a SubscriptionChunk,
    },
    Keepalive,
    /// Sent before giving up on a silent server.
    TimedOut {
        text: &'a str,
    },
}

/// A token on its way to the wire; its `Debug` hides it.
#[derive(Clone, Copy)]
pub(crate) struct Secret<'a>(pub(crate) &'a str);

impl std::fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// One FEED_SUBSCRIPTION. Empty lists are left out: the specification asks for at least one item where a list is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SubscriptionChunk {
    pub(crate) remove: Vec<(EventKind, Box<str>)>,
    pub(crate) add: Vec<(EventKind, Box<str>)>,
}

impl Outgoing<'_> {
    /// The text of the message.
    pub(crate) fn to_text(self) -> String {
        // Only a failing `Serialize` or a map with keys other than text can fail here; neither is.
        serde_json::to_string(&self).unwrap_or_default()
    }
}

impl Serialize for Outgoing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, channel) = match *self {
            Self::Setup { .. } => ("SETUP", 0),
            Self::Auth { .. } => ("AUTH", 0),
            Self::ChannelRequest { channel } => ("CHANNEL_REQUEST", channel),
            Self::FeedSetup { channel, .. } => ("FEED_SETUP", channel),
            Self::FeedSubscription { channel, .. } => ("FEED_SUBSCRIPTION", channel),
            Self::Keepalive => ("KEEPALIVE", 0),
            Self::TimedOut { .. } => ("ERROR", 0),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", kind)?;
        map.serialize_entry("channel", &channel)?;
        match *self {
            Self::Setup { version, keepalive, accept_keepalive } => {
                map.serialize_entry("version", version)?;
                map.serialize_entry("keepaliveTimeout", &Seconds(keepalive))?;
                map.serialize_entry("acceptKeepaliveTimeout", &Seconds(accept_keepalive))?;
            }
            Self::Auth { token } => map.serialize_entry("token", token.0)?,
            Self::ChannelRequest { .. } => {
                map.serialize_entry("service", "FEED")?;
                map.serialize_entry("parameters", &Contract)?;
            }
            Self::FeedSetup { aggregation_period, kinds, .. } => {
                map.serialize_entry("acceptAggregationPeriod", &Seconds(aggregation_period))?;
                map.serialize_entry("acceptDataFormat", "COMPACT")?;
                map.serialize_entry("acceptEventFields", &EventFields(kinds))?;
            }
            Self::FeedSubscription { chunk, .. } => {
                for (key, items) in [("remove", &chunk.remove), ("add", &chunk.add)] {
                    if !items.is_empty() {
                        let items: Vec<Item<'_>> = items.iter().map(|(kind, symbol)| Item(*kind, symbol)).collect();
                        map.serialize_entry(key, &items)?;
                    }
                }
            }
            Self::Keepalive => {}
            Self::TimedOut { text } => {
                map.serialize_entry("error", "TIMEOUT")?;
                map.serialize_entry("message", text)?;
            }
        }
        map.end()
    }
}

/// `contract: AUTO`: the server picks conflation per event type.
struct Contract;

impl Serialize for Contract {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("contract", "AUTO")?;
        map.end()
    }
}

/// Whole seconds go out as integers: `60`, not `60.0`.
struct Seconds(f64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match super::value::whole(self.0) {
            Some(whole) => serializer.serialize_i64(whole),
            None => serializer.serialize_f64(self.0),
        }
    }
}

struct EventFields<'a>(&'a [EventKind]);

impl Serialize for EventFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|kind| (kind.name(), kind.requested_fields())))
    }
}

struct Item<'a>(EventKind, &'a str);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", self.0.name())?;
        map.serialize_entry("symbol", self.1)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_published_shapes() {
        let chunk = SubscriptionChunk {
            remove: vec![(EventKind::Quote, "BRK/B".into())],
            add: vec![(EventKind::Greeks, ".AAPL261218C232.5".into()), (EventKind::Trade, "AAPL".into())],
        };
        for (message, expected) in [
            (
                Outgoing::Setup { version: "0.1-greekd/0.1.0", keepalive: 60.0, accept_keepalive: 0.5 },
                r#"{"type":"SETUP","channel":0,"version":"0.1-greekd/0.1.0","keepaliveTimeout":60,"acceptKeepaliveTimeout":0.5}"#,
            ),
            (Outgoing::Auth { token: Secret("t\"k") }, r#"{"type":"AUTH","channel":0,"token":"t\"k"}"#),
            (
                Outgoing::ChannelRequest { channel: 1 },
                r#"{"type":"CHANNEL_REQUEST","channel":1,"service":"FEED","parameters":{"contract":"AUTO"}}"#,
            ),
            (
                Outgoing::FeedSetup { channel: 3, aggregation_period: 0.0, kinds: &[EventKind::Quote] },
                r#"{"type":"FEED_SETUP","channel":3,"acceptAggregationPeriod":0,"acceptDataFormat":"COMPACT","acceptEventFields":{"Quote":["eventType","eventSymbol","bidPrice","askPrice"]}}"#,
            ),
            (
                Outgoing::FeedSubscription { channel: 3, chunk: &chunk },
                r#"{"type":"FEED_SUBSCRIPTION","channel":3,"remove":[{"type":"Quote","symbol":"BRK/B"}],"add":[{"type":"Greeks","symbol":".AAPL261218C232.5"},{"type":"Trade","symbol":"AAPL"}]}"#,
            ),
            (Outgoing::Keepalive, r#"{"type":"KEEPALIVE","channel":0}"#),
            (
                Outgoing::TimedOut { text: "no reply" },
                r#"{"type":"ERROR","channel":0,"error":"TIMEOUT","message":"no reply"}"#,
            ),
        ] {
            assert_eq!(message.to_text(), expected);
        }
    }

    #[test]
    fn empty_lists_are_left_out_and_tokens_are_not_shown() {
        let chunk = SubscriptionChunk { add: vec![(EventKind::Quote, "SPX".into())], ..Default::default() };
        let text = Outgoing::FeedSubscription { channel: 1, chunk: &chunk }.to_text();
        assert!(!text.contains("remove") && !text.contains("reset"), "{text}");
        assert!(!format!("{:?}", Outgoing::Auth { token: Secret("canary") }).contains("canary"));
    }
}
