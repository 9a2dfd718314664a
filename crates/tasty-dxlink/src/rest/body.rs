//! The forms of answers: the envelope, lists, and five kinds of error.

use broker_net::json::plain;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Error;

/// `{"data": ..., "pagination": ...}`.
#[derive(Deserialize)]
struct Envelope<'a, T> {
    data: T,
    #[serde(borrow)]
    pagination: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Items<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Pagination<'a> {
    #[serde(rename = "total-pages", borrow)]
    total_pages: Option<&'a RawValue>,
}

/// The items of a list, unread: one that cannot be understood must not spoil the others. Beside it the number of pages.
pub(super) fn items<'a>(call: &'static str, body: &'a [u8]) -> Result<(Vec<&'a RawValue>, u64), Error> {
    let envelope: Envelope<'a, Items<'a>> = read(call, body)?;
    let pagination = envelope.pagination.and_then(|raw| serde_json::from_str::<Pagination<'_>>(raw.get()).ok());
    let pages = pagination.and_then(|it| it.total_pages).and_then(|raw| plain(raw).trim().parse().ok()).unwrap_or(1);
    Ok((envelope.data.items, pages))
}

/// What is inside `data`.
pub(super) fn data<'a, T: Deserialize<'a>>(call: &'static str, body: &'a [u8]) -> Result<T, Error> {
    let envelope: Envelope<'a, T> = read(call, body)?;
    Ok(envelope.data)
}

pub(super) fn read<'a, T: Deserialize<'a>>(call: &'static str, body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| Error::Body { call, source })
}

/// Whether a failure is told by a page for people that names no known code: by a proxy in front of the API, that is, which
/// knows nothing of credentials.
pub(super) fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<") && known_code_in(body).is_empty()
}

/// Why a call failed, in the API's words.
pub(super) struct Reason {
    /// The code to act on; empty when there is none.
    pub(super) code: String,
    /// For people.
    pub(super) text: String,
}

/// Reads an error body: the API's envelope, RFC 6749, `error_code`, HTML, or anything.
pub(super) fn reason(status: u16, body: &[u8]) -> Reason {
    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
        #[serde(borrow)]
        error_code: Option<&'a RawValue>,
        #[serde(borrow)]
        error_description: Option<&'a RawValue>,
        #[serde(borrow)]
        code: Option<&'a RawValue>,
        #[serde(borrow)]
        message: Option<&'a RawValue>,
    }
    let unreadable = |what: &str| Reason { code: known_code_in(body), text: format!("{what}, status {status}") };
    let text = |raw: Option<&RawValue>| raw.map(plain).unwrap_or_default().trim().to_owned();
    let Ok(outer) = serde_json::from_slice::<Outer<'_>>(body) else {
        let html = body.trim_ascii_start().starts_with(b"<");
        return unreadable(if html {
            "an HTML page"
        } else if body.is_empty() {
            "no body"
        } else {
            "an unknown body"
        });
    };
    let inner = outer.error.filter(|raw| raw.get().starts_with('{'));
    let inner = inner.and_then(|raw| serde_json::from_str::<Outer<'_>>(raw.get()).ok());
    let (code, message) = match inner {
        Some(inner) => (text(inner.code), text(inner.message)),
        None => {
            let code = [outer.error, outer.error_code, outer.code].into_iter().map(text).find(|code| !code.is_empty());
            let message = [outer.error_description, outer.message].into_iter().map(text).find(|text| !text.is_empty());
            (code.unwrap_or_default(), message.unwrap_or_default())
        }
    };
    match (code.is_empty(), message.is_empty()) {
        (true, true) => unreadable("no reason given"),
        (true, false) => Reason { code, text: message },
        (false, true) => Reason { text: code.clone(), code },
        (false, false) => Reason { text: format!("{code}: {message}"), code },
    }
}

/// Codes of OAuth that mean "this will never work" (RFC 6749, section 5.2), as far as pages for people may hold them.
const REFUSALS: [&str; 3] = ["invalid_grant", "invalid_client", "unauthorized_client"];

/// A refusal named in the middle of a page meant for people.
fn known_code_in(body: &[u8]) -> String {
    let head = String::from_utf8_lossy(body.get(..body.len().min(4096)).unwrap_or(body));
    REFUSALS.into_iter().find(|code| head.contains(code)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_of_every_kind() {
        for (body, code, text) in [
            (
                r#"{"error":{"code":"token_invalid","message":"This token is invalid"}}"#,
                "token_invalid",
                "token_invalid: This token is invalid",
            ),
            (
                r#"{"error":"invalid_grant","error_description":"Grant revoked"}"#,
                "invalid_grant",
                "invalid_grant: Grant revoked",
            ),
            (r#"{"error":"invalid_client"}"#, "invalid_client", "invalid_client"),
            (
                r#"{"error_code":"invalid_grant","error_description":"Grant revoked"}"#,
                "invalid_grant",
                "invalid_grant: Grant revoked",
            ),
            (r#"{"code":"not_found","message":"x"}"#, "not_found", "not_found: x"),
            ("<html><body>401 unauthorized_client</body></html>", "unauthorized_client", "an HTML page, status 401"),
            ("  <!DOCTYPE html>", "", "an HTML page, status 401"),
            ("", "", "no body, status 401"),
            ("oops", "", "an unknown body, status 401"),
            ("{}", "", "no reason given, status 401"),
            (r#"{"error":{"code":7,"errors":[]}}"#, "7", "7"),
        ] {
            let reason = reason(401, body.as_bytes());
            assert_eq!((reason.code.as_str(), reason.text.as_str()), (code, text), "{body}");
        }
    }

    #[test]
    fn lists_and_pages() {
        let body = br#"{"data":{"items":[{"a":1},5]},"context":"/x","pagination":{"total-pages":"3"}}"#;
        let (found, pages) = items("x", body).unwrap();
        assert_eq!((found.iter().map(|raw| raw.get()).collect::<Vec<_>>(), pages), (vec![r#"{"a":1}"#, "5"], 3));
        assert_eq!(items("x", br#"{"data":{"items":[]}}"#).unwrap().1, 1);
        for body in [&b"<html>"[..], b"{}", b"[]", br#"{"data":{}}"#] {
            assert!(matches!(items("x", body), Err(Error::Body { .. })));
        }
    }
}
