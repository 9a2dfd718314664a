//! What the rare frames hold that are no market data.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

type Object = serde_json::Map<String, Value>;

/// What an `sts` frame says. It may say one thing at a time: what it leaves out has not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) authenticated: Option<bool>,
    pub(crate) competing: Option<bool>,
    pub(crate) connected: Option<bool>,
    /// Empty for none.
    pub(crate) message: String,
    /// Why something failed; empty for none.
    pub(crate) fail: String,
}

impl Status {
    /// Reads a whole frame: some gateways write its fields into `args`, others beside the topic.
    pub(super) fn read(text: &str) -> Self {
        let mut status = Self::default();
        if let Ok(Value::Object(frame)) = serde_json::from_str(text) {
            status.take(&frame);
            if let Some(args) = frame.get("args") {
                visit_objects(args, |object| status.take(object));
            }
        }
        status
    }

    /// Of what is told twice the worse counts.
    fn take(&mut self, object: &Object) {
        let told = |key| flag(object.get(key));
        self.authenticated =
            told("authenticated").map(|now| now && self.authenticated != Some(false)).or(self.authenticated);
        self.competing = told("competing").map(|now| now || self.competing == Some(true)).or(self.competing);
        self.connected = told("connected").map(|now| now && self.connected != Some(false)).or(self.connected);
        for (key, into) in [("message", &mut self.message), ("fail", &mut self.fail)] {
            if let Some(text) = object.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty()) {
                text.trim().clone_into(into);
            }
        }
    }
}

/// The words of a notice or bulletin.
pub(super) fn notice(args: Option<&RawValue>) -> String {
    let mut words: Vec<String> = Vec::new();
    each_object(args, |object| {
        let parts = ["title", "text", "message", "url"].iter().filter_map(|key| object.get(*key)?.as_str());
        let parts: Vec<&str> = parts.map(str::trim).filter(|part| !part.is_empty()).collect();
        if !parts.is_empty() {
            words.push(parts.join(": "));
        }
    });
    if words.is_empty() { args.and_then(words_of).unwrap_or_default().into_owned() } else { words.join("; ") }
}

/// The words of an error: its text, or the whole of it; `None` where nothing is said.
pub(super) fn words_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    let words = match raw.get() {
        "null" | "false" | "[]" | "{}" => return None,
        text if text.starts_with('"') => Cow::Owned(serde_json::from_str(text).unwrap_or_default()),
        other => Cow::Borrowed(other),
    };
    (!words.trim().is_empty()).then_some(words)
}

/// Whether there is anything in an array or object.
pub(super) fn is_filled(raw: &RawValue) -> bool {
    match raw.get().as_bytes() {
        [b'[', inner @ .., b']'] | [b'{', inner @ .., b'}'] => !inner.iter().all(u8::is_ascii_whitespace),
        _ => false,
    }
}

/// `args` is one object or an array of them.
fn each_object(args: Option<&RawValue>, visit: impl FnMut(&Object)) {
    if let Some(args) = args.and_then(|raw| serde_json::from_str(raw.get()).ok()) {
        visit_objects(&args, visit);
    }
}

fn visit_objects(args: &Value, mut visit: impl FnMut(&Object)) {
    match args {
        Value::Object(object) => visit(object),
        Value::Array(items) => items.iter().filter_map(Value::as_object).for_each(visit),
        _ => {}
    }
}

fn flag(value: Option<&Value>) -> Option<bool> {
    match value? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}
