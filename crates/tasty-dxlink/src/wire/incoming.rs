//! The envelope of a message: which kind it is, and its few fields.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use broker_net::json::plain;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::compact;
use super::data::Reader;
use super::feed::Feed;

/// A message of the server.
#[derive(Debug, PartialEq)]
pub(crate) struct Incoming<'de> {
    /// 0 is the connection itself.
    pub(crate) channel: u64,
    pub(crate) message: Message<'de>,
}

/// What the server says.
#[derive(Debug)]
pub(crate) enum Message<'de> {
    /// Time-outs the server left out or that are not positive numbers are `None`.
    Setup {
        keepalive: Option<Duration>,
        accept_keepalive: Option<Duration>,
    },
    AuthState(AuthState),
    ChannelOpened,
    ChannelClosed,
    FeedConfig {
        event_fields: Option<&'de RawValue>,
    },
    /// The rows are in the [`Feed`].
    FeedData,
    Keepalive,
    Error {
        code: Cow<'de, str>,
        text: Cow<'de, str>,
    },
    /// A type this client does not know: skipped.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthState {
    Authorized,
    Unauthorized,
    Other,
}

impl PartialEq for Message<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::FeedConfig { event_fields: a }, Self::FeedConfig { event_fields: b }) => {
                a.map(RawValue::get) == b.map(RawValue::get)
            }
            _ => format!("{self:?}") == format!("{other:?}"),
        }
    }
}

/// Why a message was dropped. Nothing of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Defect {
    /// Not JSON, or not an object.
    Malformed,
    /// JSON of a shape that no message has.
    Shape,
    /// The values do not divide into rows of the agreed width.
    RaggedRows,
    /// A value stands where another belongs.
    Misaligned,
    /// More rows than any real message holds.
    TooManyRows,
    /// Not a text message.
    Binary,
}

impl Defect {
    /// What an error of the JSON reader means.
    pub(crate) fn of(error: &serde_json::Error) -> Self {
        if error.is_data() { Self::Shape } else { Self::Malformed }
    }

    /// The name in metric labels.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Shape => "shape",
            Self::RaggedRows => "ragged_rows",
            Self::Misaligned => "misaligned",
            Self::TooManyRows => "too_many_rows",
            Self::Binary => "binary",
        }
    }
}

/// Reads one message; the rows of FEED_DATA are appended to `feed.rows`, all of them or none.
pub(crate) fn read<'de>(text: &'de str, feed: &mut Feed) -> Result<Incoming<'de>, Defect> {
    match compact::read(text, feed) {
        Some(channel) => Ok(Incoming { channel, message: Message::FeedData }),
        None => read_any(text, feed),
    }
}

/// As [`read`], whatever JSON allows.
pub(super) fn read_any<'de>(text: &'de str, feed: &mut Feed) -> Result<Incoming<'de>, Defect> {
    let before = feed.rows.len();
    let mut defect = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let result = Envelope { feed, defect: &mut defect }.deserialize(&mut json).and_then(|incoming| {
        json.end()?;
        Ok(incoming)
    });
    result.map_err(|error| {
        feed.rows.truncate(before);
        defect.unwrap_or_else(|| Defect::of(&error))
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Setup,
    AuthState,
    ChannelOpened,
    ChannelClosed,
    FeedConfig,
    FeedData,
    Keepalive,
    Error,
    Unknown,
}

impl Kind {
    fn from_name(name: &str) -> Self {
        match name {
            "SETUP" => Self::Setup,
            "AUTH_STATE" => Self::AuthState,
            "CHANNEL_OPENED" => Self::ChannelOpened,
            "CHANNEL_CLOSED" => Self::ChannelClosed,
            "FEED_CONFIG" => Self::FeedConfig,
            "FEED_DATA" => Self::FeedData,
            "KEEPALIVE" => Self::Keepalive,
            "ERROR" => Self::Error,
            _ => Self::Unknown,
        }
    }
}

enum Key {
    Type,
    Channel,
    Data,
    KeepaliveTimeout,
    AcceptKeepaliveTimeout,
    State,
    EventFields,
    Error,
    Message,
    Other,
}

impl Key {
    fn from_name(name: &str) -> Self {
        match name {
            "type" => Self::Type,
            "channel" => Self::Channel,
            "data" => Self::Data,
            "keepaliveTimeout" => Self::KeepaliveTimeout,
            "acceptKeepaliveTimeout" => Self::AcceptKeepaliveTimeout,
            "state" => Self::State,
            "eventFields" => Self::EventFields,
            "error" => Self::Error,
            "message" => Self::Message,
            _ => Self::Other,
        }
    }
}

/// Reads a text by a function, without keeping it.
struct Name<T>(fn(&str) -> T);

impl<'de, T> DeserializeSeed<'de> for Name<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T> Visitor<'_> for Name<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(text))
    }
}

struct Envelope<'a> {
    feed: &'a mut Feed,
    defect: &'a mut Option<Defect>,
}

/// The fields of a message before it is known which belong to it.
#[derive(Default)]
struct Fields<'de> {
    kind: Option<Kind>,
    channel: Option<u64>,
    keepalive: Option<&'de RawValue>,
    accept_keepalive: Option<&'de RawValue>,
    state: Option<&'de RawValue>,
    event_fields: Option<&'de RawValue>,
    error: Option<&'de RawValue>,
    message: Option<&'de RawValue>,
    /// Data that came before the kind and the channel were known.
    data: Option<&'de RawValue>,
    data_read: bool,
}

impl<'de> DeserializeSeed<'de> for Envelope<'_> {
    type Value = Incoming<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Incoming<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_> {
    type Value = Incoming<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Incoming<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key_seed(Name(Key::from_name))? {
            match key {
                Key::Type => fields.kind = Some(map.next_value_seed(Name(Kind::from_name))?),
                Key::Channel => {
                    let raw: Option<&RawValue> = map.next_value()?;
                    let channel = raw.map(|raw| channel_number(raw).ok_or_else(|| A::Error::custom("no channel")));
                    fields.channel = channel.transpose()?;
                }
                Key::Data => match (fields.kind, fields.channel) {
                    (Some(Kind::FeedData), Some(channel)) if !fields.data_read => {
                        fields.data_read = true;
                        self.data_in_place(channel, &mut map)?;
                    }
                    _ => fields.data = Some(map.next_value()?),
                },
                Key::KeepaliveTimeout => fields.keepalive = Some(map.next_value()?),
                Key::AcceptKeepaliveTimeout => fields.accept_keepalive = Some(map.next_value()?),
                Key::State => fields.state = Some(map.next_value()?),
                Key::EventFields => fields.event_fields = Some(map.next_value()?),
                Key::Error => fields.error = Some(map.next_value()?),
                Key::Message => fields.message = Some(map.next_value()?),
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        self.finish(&fields)
    }
}

impl Envelope<'_> {
    fn finish<'de, E: Error>(&mut self, fields: &Fields<'de>) -> Result<Incoming<'de>, E> {
        let Some(kind) = fields.kind else {
            *self.defect = Some(Defect::Shape);
            return Err(E::custom("no type"));
        };
        let message = match kind {
            Kind::Setup => Message::Setup {
                keepalive: fields.keepalive.and_then(seconds),
                accept_keepalive: fields.accept_keepalive.and_then(seconds),
            },
            Kind::AuthState => Message::AuthState(match &*fields.state.map(text).unwrap_or_default() {
                "AUTHORIZED" => AuthState::Authorized,
                "UNAUTHORIZED" => AuthState::Unauthorized,
                _ => AuthState::Other,
            }),
            Kind::ChannelOpened => Message::ChannelOpened,
            Kind::ChannelClosed => Message::ChannelClosed,
            Kind::FeedConfig => Message::FeedConfig { event_fields: fields.event_fields },
            Kind::FeedData => {
                self.late_data(fields)?;
                Message::FeedData
            }
            Kind::Keepalive => Message::Keepalive,
            Kind::Error => Message::Error {
                code: fields.error.map(text).unwrap_or_default(),
                text: fields.message.map(text).unwrap_or_default(),
            },
            Kind::Unknown => Message::Unknown,
        };
        Ok(Incoming { channel: fields.channel.unwrap_or(0), message })
    }

    /// Data whose kind and channel came first, as real servers write it.
    fn data_in_place<'de, A: MapAccess<'de>>(&mut self, channel: u64, map: &mut A) -> Result<(), A::Error> {
        let Feed { symbols, channels, rows, tally, keep_payload, .. } = &mut *self.feed;
        let Some(layouts) = channels.iter().find(|layouts| layouts.number == channel) else {
            tally.unknown_channels += 1;
            return map.next_value::<IgnoredAny>().map(|_| ());
        };
        let defect = &mut *self.defect;
        map.next_value_seed(&mut Reader { layouts, symbols, rows, tally, defect, keep_payload: *keep_payload })
    }

    /// Data that stood before its kind or channel: the order of keys is not promised.
    fn late_data<E: Error>(&mut self, fields: &Fields<'_>) -> Result<(), E> {
        let Some(data) = fields.data.filter(|_| !fields.data_read) else { return Ok(()) };
        let Feed { symbols, channels, rows, tally, keep_payload, .. } = &mut *self.feed;
        let Some(layouts) = channels.iter().find(|layouts| Some(layouts.number) == fields.channel) else {
            tally.unknown_channels += 1;
            return Ok(());
        };
        let defect = &mut *self.defect;
        let mut reader = Reader { layouts, symbols, rows, tally, defect, keep_payload: *keep_payload };
        reader.deserialize(&mut serde_json::Deserializer::from_str(data.get())).map_err(|error| {
            reader.defect.get_or_insert(Defect::of(&error));
            E::custom(error)
        })
    }
}

/// A text value; empty when it is something else.
fn text(raw: &RawValue) -> Cow<'_, str> {
    match serde_json::from_str::<&str>(raw.get()) {
        Ok(plain) => Cow::Borrowed(plain),
        Err(_) => Cow::Owned(serde_json::from_str(raw.get()).unwrap_or_default()),
    }
}

/// The number of a channel: a number as the dxLink AsyncAPI's schema has it, or a string of digits as its text and its
/// example have it.
fn channel_number(raw: &RawValue) -> Option<u64> {
    // Rust writes a whole number without a point.
    plain(raw).parse().ok().or_else(|| raw.get().parse::<f64>().ok()?.to_string().parse().ok())
}

/// A time-out in seconds, which may be fractional or, leniently, in quotes.
fn seconds(raw: &RawValue) -> Option<Duration> {
    let value: f64 = raw.get().trim_matches('"').parse().ok()?;
    Duration::try_from_secs_f64(value).ok().filter(|timeout| !timeout.is_zero())
}
