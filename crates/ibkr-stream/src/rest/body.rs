//! The forms of answers: a row at a time, and errors of every kind.

use broker_net::json::plain;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Error;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A body that parsers take. One byte that is no UTF-8, which names of contracts do hold, must not make a whole list
/// unreadable: each such piece becomes U+FFFD. A byte order mark is no JSON and is left out.
pub(super) fn readable(mut body: Vec<u8>) -> Vec<u8> {
    if body.starts_with(BYTE_ORDER_MARK) {
        body.drain(..BYTE_ORDER_MARK.len());
    }
    match String::from_utf8(body) {
        Ok(text) => text.into_bytes(),
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned().into_bytes(),
    }
}

/// The items of a list, unread: one that cannot be understood must not spoil the others.
pub(super) fn list<'a>(call: &'static str, body: &'a [u8]) -> Result<Vec<&'a RawValue>, Error> {
    read(call, body)
}

pub(super) fn read<'a, T: Deserialize<'a>>(call: &'static str, body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| Error::Body { call, source })
}

/// A text or number, trimmed; `None` when there is none, or nothing in it.
pub(super) fn text(raw: Option<&RawValue>) -> Option<String> {
    raw.map(plain).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// `true` or `false`, in quotes or not.
pub(super) fn flag(raw: Option<&RawValue>) -> Option<bool> {
    match raw?.get() {
        "true" | "\"true\"" => Some(true),
        "false" | "\"false\"" => Some(false),
        _ => None,
    }
}

/// Why a call failed, in the gateway's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The status to act on: the body's own, when the answer pretends to be a success.
    pub(super) status: u16,
    /// For people; not yet cleaned.
    pub(super) text: String,
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow, rename = "statusCode")]
    status_code: Option<&'a RawValue>,
}

/// `{"error": ...}` with a status of success: an error all the same, since every call of this client expects data.
pub(super) fn fault(body: &[u8]) -> Option<String> {
    let start = body.trim_ascii_start();
    if !start.starts_with(b"{") {
        // The gateway's own refusals are plain text.
        let head = String::from_utf8_lossy(start.get(..64).unwrap_or(start));
        return head.to_ascii_lowercase().starts_with("access denied").then(|| head.into_owned());
    }
    let outer: Outer<'_> = serde_json::from_slice(body).ok()?;
    outer.error.map(words).filter(|words| !words.is_empty())
}

/// Reads the body of an answer that is no success.
pub(super) fn reason(status: u16, body: &[u8]) -> Fault {
    let start = body.trim_ascii();
    let unreadable = |what: &str| Fault { status, text: format!("{what}, status {status}") };
    let Ok(outer) = serde_json::from_slice::<Outer<'_>>(start) else {
        return match start {
            b"" => unreadable("no body"),
            [b'<', ..] => unreadable("an HTML page"),
            [b'{' | b'[', ..] => unreadable("an unknown body"),
            // A few words for people, as from a proxy on the way.
            words => Fault { status, text: String::from_utf8_lossy(words.get(..200).unwrap_or(words)).into_owned() },
        };
    };
    let own = outer.status_code.and_then(|raw| plain(raw).trim().parse().ok());
    let status = own.filter(|own| (200..300).contains(&status) && *own >= 300).unwrap_or(status);
    match [outer.error, outer.message].into_iter().flatten().map(words).find(|words| !words.is_empty()) {
        Some(text) => Fault { status, text },
        None => Fault { status, text: format!("no reason given, status {status}") },
    }
}

/// "Please query /accounts first".
pub(super) fn wants_accounts(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("query") && reason.contains("accounts first")
}

/// The words of an error: a text, or an object with a message.
fn words(raw: &RawValue) -> String {
    let inner = serde_json::from_str::<Outer<'_>>(raw.get()).ok().filter(|_| raw.get().starts_with('{'));
    let raw = inner.and_then(|inner| inner.message.or(inner.error)).unwrap_or(raw);
    plain(raw).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_of_every_kind() {
        for (status, body, expected, text) in [
            (400, r#"{"error":"Bad Request: no bridge","statusCode":400}"#, 400, "Bad Request: no bridge"),
            (500, r#"{"error":"Please query /accounts first"}"#, 500, "Please query /accounts first"),
            (200, r#"{"error":"not authenticated","statusCode":401}"#, 401, "not authenticated"),
            (200, r#"{"error":"not authenticated","statusCode":"401"}"#, 401, "not authenticated"),
            (200, r#"{"error":"odd","statusCode":200}"#, 200, "odd"),
            (500, r#"{"error":"odd","statusCode":401}"#, 500, "odd"),
            (500, r#"{"error":{"message":"deep","code":7}}"#, 500, "deep"),
            (500, r#"{"message":"said"}"#, 500, "said"),
            (503, "<html>", 503, "an HTML page, status 503"),
            (401, "", 401, "no body, status 401"),
            (500, "{}", 500, "no reason given, status 500"),
            (500, r#"{"error":null}"#, 500, "no reason given, status 500"),
            (500, "[1]", 500, "an unknown body, status 500"),
            (403, "Access Denied", 403, "Access Denied"),
        ] {
            assert_eq!(reason(status, body.as_bytes()), Fault { status: expected, text: text.into() }, "{body}");
        }
    }

    #[test]
    fn success_that_is_none() {
        for (body, expected) in [
            (r#"{"error":"no bridge"}"#, Some("no bridge")),
            (r#"  {"x":1,"error":{"message":"deep"}}"#, Some("deep")),
            ("Access denied", Some("Access denied")),
            (r#"{"error":null,"secdef":[]}"#, None),
            (r#"{"error":""}"#, None),
            (r#"{"session":"x","hmds":{"error":"no bridge"}}"#, None),
            (r#"[{"error":"x"}]"#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(fault(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn texts_and_flags() {
        let raw = |text: &str| RawValue::from_string(text.into()).unwrap();
        assert_eq!(text(Some(&raw("\" a \""))).as_deref(), Some("a"));
        assert_eq!(text(Some(&raw("7"))).as_deref(), Some("7"));
        assert_eq!((text(Some(&raw("\" \""))), text(Some(&raw("[]"))), text(None)), (None, None, None));
        assert_eq!((flag(Some(&raw("true"))), flag(Some(&raw("\"false\"")))), (Some(true), Some(false)));
        assert_eq!((flag(Some(&raw("1"))), flag(None)), (None, None));
    }
}
