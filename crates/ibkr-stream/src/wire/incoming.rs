//! One frame, in one pass: its keys come in any order, real ones with the topic last.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::conid::Conid;
use super::control::{Status, is_filled, notice, words_of};
use super::defect::Defect;
use super::frame::{Availability, Field, Frame};
use super::number::Decorated;
use super::usual;

/// What the gateway says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    System(System),
    Status(Status),
    /// The accounts of the login.
    Act,
    /// The answer to `tic`.
    Tic,
    /// The answer to `ech+hb`, which is not JSON.
    Echo,
    /// Something the user should know.
    Notice(String),
    /// What it says is in the [`Frame`].
    MarketData,
    /// An order was filled.
    Execution,
    Error {
        text: String,
        /// The contract whose topic the error has.
        conid: Option<Conid>,
    },
    /// The connection is open, but not authenticated.
    WaitingForSession,
    /// A frame with nothing to take from it; such frames do occur.
    Empty,
    /// A topic this client does not know: skipped.
    Unknown,
}

/// What a `system` frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// The login is known.
    Success,
    Heartbeat,
}

/// Reads one frame, text or binary. Bytes that are no UTF-8 do occur; each such piece is read as U+FFFD.
pub(crate) fn read(bytes: &[u8], frame: &mut Frame) -> Result<Incoming, Defect> {
    // Checking all at once is faster than looking for the first piece that is none.
    let text = str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
    let text = text.trim();
    *frame = Frame::default();
    if !text.starts_with('{') {
        return read_words(text);
    }
    if let Some(incoming) = usual::read(text, frame) {
        return Ok(incoming);
    }
    *frame = Frame::default();
    read_any(text, frame)
}

/// Reads an object, whatever JSON allows.
pub(super) fn read_any(text: &str, frame: &mut Frame) -> Result<Incoming, Defect> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Whole { text, frame }.deserialize(&mut json).and_then(|incoming| json.end().map(|()| incoming));
    read.map_err(|error| Defect::of(&error))
}

/// What is no JSON object.
fn read_words(text: &str) -> Result<Incoming, Defect> {
    let words = text.trim_matches('"');
    if words == "ech+hb" {
        return Ok(Incoming::Echo);
    }
    if is_waiting(words) {
        return Ok(Incoming::WaitingForSession);
    }
    if words.starts_with("Topic unknown") {
        return Ok(Incoming::Error { text: words.to_owned(), conid: None });
    }
    Err(serde_json::from_str::<IgnoredAny>(text).map_or_else(|error| Defect::of(&error), |_| Defect::Shape))
}

fn is_waiting(words: &str) -> bool {
    words.trim().eq_ignore_ascii_case("waiting for session")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Topic {
    System,
    Status,
    Act,
    Tic,
    Notice,
    MarketData(Option<Conid>),
    Execution,
    Error,
    Other,
}

impl Topic {
    fn from_text(text: &str) -> Self {
        let (name, target) = text.split_once('+').unwrap_or((text, ""));
        match name {
            "system" => Self::System,
            "sts" => Self::Status,
            "act" => Self::Act,
            "tic" => Self::Tic,
            "ntf" | "blt" => Self::Notice,
            "smd" => Self::MarketData(Conid::from_text(target.split('+').next().unwrap_or_default())),
            "str" => Self::Execution,
            "error" => Self::Error,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Topic,
    Args,
    Error,
    Message,
    Success,
    Heartbeat,
    Conid,
    ConidEx,
    Updated,
    Availability,
    Number(Field),
    Other,
}

impl Key {
    pub(super) fn from_name(name: &str) -> Self {
        // Bytes are told apart one by one, texts by a call each.
        match name.as_bytes() {
            b"topic" => Self::Topic,
            b"args" => Self::Args,
            b"error" => Self::Error,
            b"message" => Self::Message,
            b"success" => Self::Success,
            b"hb" => Self::Heartbeat,
            b"conid" => Self::Conid,
            b"conidEx" => Self::ConidEx,
            b"_updated" => Self::Updated,
            b"6509" => Self::Availability,
            tag => Field::from_tag(tag).map_or(Self::Other, Self::Number),
        }
    }
}

/// The name of a key, read without keeping it.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        Ok(Key::from_name(name))
    }
}

/// What a frame holds before it is known what it is.
#[derive(Default)]
pub(super) struct Draft<'de> {
    topic: Option<Topic>,
    args: Option<&'de RawValue>,
    error: Option<&'de RawValue>,
    message: Option<&'de RawValue>,
    success: bool,
    heartbeat: bool,
    conid: Option<Conid>,
    conid_ex: Option<Conid>,
}

struct Whole<'a> {
    text: &'a str,
    frame: &'a mut Frame,
}

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Incoming;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Incoming, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Incoming;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Incoming, A::Error> {
        let mut draft = Draft::default();
        while let Some(key) = map.next_key_seed(Name)? {
            match key {
                Key::Args => draft.args = Some(map.next_value()?),
                Key::Error => draft.error = Some(map.next_value()?),
                Key::Message => draft.message = Some(map.next_value()?),
                Key::Success | Key::Heartbeat | Key::Other => {
                    draft.success |= key == Key::Success;
                    draft.heartbeat |= key == Key::Heartbeat;
                    map.next_value::<IgnoredAny>()?;
                }
                _ => map.next_value_seed(Cell { key, draft: &mut draft, frame: self.frame })?,
            }
        }
        Ok(finish(&draft, self.frame, self.text))
    }
}

/// What the frame `text`, read into `draft` and `frame`, says.
pub(super) fn finish(draft: &Draft<'_>, frame: &mut Frame, text: &str) -> Incoming {
    let error = draft.error.and_then(words_of);
    let conid = match draft.topic {
        Some(Topic::MarketData(conid)) => draft.conid.or(draft.conid_ex).or(conid),
        // Without a topic, prices or Greeks of a contract are market data all the same.
        None if frame.values.any() => draft.conid.or(draft.conid_ex),
        _ => None,
    };
    // An update without any data is none: it neither answers a subscription nor shows it alive.
    if let Some(conid) = conid.filter(|_| frame.values.any() || frame.availability.is_some()) {
        frame.conid = Some(conid);
        frame.error = error.map(|words| words.into_owned());
        return Incoming::MarketData;
    }
    if let Some(words) = error {
        return Incoming::Error { text: words.into_owned(), conid };
    }
    let message = draft.message.and_then(words_of);
    match (draft.topic, message) {
        (Some(Topic::System), _) if draft.success => Incoming::System(System::Success),
        (Some(Topic::System), _) if draft.heartbeat => Incoming::System(System::Heartbeat),
        (Some(Topic::Status), _) => Incoming::Status(Status::read(text)),
        (Some(Topic::Act), _) => Incoming::Act,
        (Some(Topic::Tic), _) => Incoming::Tic,
        (Some(Topic::Notice), message) => {
            let words = notice(draft.args);
            Incoming::Notice(if words.is_empty() { message.unwrap_or_default().into_owned() } else { words })
        }
        (Some(Topic::Execution), _) if draft.args.is_some_and(is_filled) => Incoming::Execution,
        (Some(Topic::Error), message) => {
            let words = message.or_else(|| draft.args.and_then(words_of)).unwrap_or_default();
            Incoming::Error { text: words.into_owned(), conid: None }
        }
        (None, Some(words)) if is_waiting(&words) => Incoming::WaitingForSession,
        (None, Some(words)) => Incoming::Notice(words.into_owned()),
        (Some(Topic::Other), _) => Incoming::Unknown,
        _ => Incoming::Empty,
    }
}

/// Reads one value into its place.
pub(super) struct Cell<'a, 'de> {
    pub(super) key: Key,
    pub(super) draft: &'a mut Draft<'de>,
    pub(super) frame: &'a mut Frame,
}

impl<'de> DeserializeSeed<'de> for Cell<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Cell<'_, '_> {
    pub(super) fn number(self, number: Option<Decorated>) {
        let Key::Number(field) = self.key else { return };
        // A percent sign belongs to the implied volatility only; elsewhere the scale of the number is not known.
        let number = number.filter(|it| !it.percent || field == Field::ImpliedVolatility);
        if number.is_none() {
            self.frame.odd_values = self.frame.odd_values.saturating_add(1);
        }
        *self.frame.values.field_mut(field) = Some(number.unwrap_or(Decorated::UNKNOWN));
    }

    pub(super) fn integer(self, integer: i64) {
        match self.key {
            Key::Conid => self.draft.conid = Conid::new(integer),
            Key::ConidEx => self.draft.conid_ex = Conid::new(integer),
            Key::Updated => self.frame.updated = (integer > 0).then_some(integer),
            _ => self.number(Some(Decorated::plain(integer as f64))),
        }
    }

    pub(super) fn text(self, text: &str) {
        match self.key {
            Key::Topic => self.draft.topic = Some(Topic::from_text(text)),
            Key::Conid => self.draft.conid = Conid::from_text(text),
            Key::ConidEx => self.draft.conid_ex = Conid::from_text(text),
            Key::Updated => self.frame.updated = text.trim().parse().ok().filter(|time| *time > 0),
            Key::Availability => self.frame.availability = Availability::from_text(text),
            _ => self.number(Decorated::from_text(text)),
        }
    }

    /// A value of a kind that the key cannot have.
    fn odd(self) {
        match self.key {
            Key::Topic => self.draft.topic = Some(Topic::Other),
            _ => self.number(None),
        }
    }
}

impl<'de> Visitor<'de> for Cell<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<(), E> {
        self.integer(integer);
        Ok(())
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<(), E> {
        match i64::try_from(integer) {
            Ok(integer) => self.integer(integer),
            Err(_) => self.number(Some(Decorated::plain(integer as f64))),
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match whole(value).filter(|_| !matches!(self.key, Key::Number(_))) {
            // A whole number may be written as 1.7e12.
            Some(integer) => self.integer(integer),
            None => self.number(Some(Decorated::plain(value))),
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.number(Some(Decorated::UNKNOWN));
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.odd();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.odd();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.odd();
        Ok(())
    }
}

/// A double that holds a whole number exactly.
// Within 2^53 every whole double converts to i64 without loss.
#[allow(clippy::cast_possible_truncation)]
fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}
