//! Who is let in: the Host, the Origin and the token of a request.
//!
//! A page of any site can make a browser send requests to this machine, and can have its own name resolve to it. What
//! such a page cannot do is name this server in `Host` and itself in `Origin` at once.

use std::fmt;
use std::net::SocketAddr;

use axum::extract::Query;
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::problem::Problem;

/// Names that lead to this machine and that nobody else can own.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Open to those without a token: it tells nothing but that the program runs.
const OPEN: &str = "/healthz";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Headers of every answer.
const HEADERS: [(&str, &str); 5] = [
    ("content-security-policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// Decides on requests before anything else looks at them.
pub(crate) struct Guard {
    hosts: Vec<String>,
    token: Option<Token>,
}

struct Token {
    text: Digest,
    cookie: Digest,
    cookie_text: String,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("hosts", &self.hosts).field("token", &self.token.is_some()).finish()
    }
}

impl Guard {
    /// `hosts` are let in beside the loopback names, each with a port or for all ports.
    pub(crate) fn new(hosts: &[String], token: Option<&SecretString>) -> Self {
        Self { hosts: hosts.to_vec(), token: token.map(|token| Token::new(token.expose_secret())) }
    }

    /// `Err` holds the answer to a request that goes no further.
    // The answer is used at once, and once per request.
    #[allow(clippy::result_large_err)]
    pub(crate) fn admit(&self, parts: &Parts, local: SocketAddr) -> Result<(), Response> {
        self.check_origin(parts, local).map_err(IntoResponse::into_response)?;
        match &self.token {
            Some(token) if parts.uri.path() != OPEN => token.check(parts, local),
            _ => Ok(()),
        }
    }

    fn check_origin(&self, parts: &Parts, local: SocketAddr) -> Result<(), Problem> {
        let host =
            single(&parts.headers, &HOST)?.ok_or_else(|| Problem::bad_request("a request needs a Host header"))?;
        let named = self.host(host, local).ok_or_else(refused_host)?;
        if let Some(authority) = parts.uri.authority() {
            if parts.method == Method::CONNECT || parts.uri.scheme_str() != Some("http") {
                return Err(Problem::bad_request("this server is no proxy"));
            }
            self.host(authority.as_str(), local).ok_or_else(refused_host)?;
        }
        if let Some(origin) = single(&parts.headers, &ORIGIN)? {
            let rest = origin.strip_prefix("http://");
            // A proxy that speaks TLS for this server is known by its name.
            let rest = rest.or_else(|| origin.strip_prefix("https://").filter(|_| named == Named::Configured));
            if !rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host)) {
                return Err(Problem::forbidden("requests from pages of other origins are refused"));
            }
        }
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        match single(&parts.headers, &SEC_FETCH_SITE)? {
            None | Some("same-origin" | "none") => Ok(()),
            // A link on another site may lead here; its pages may not ask in the background.
            Some(_) if reads && single(&parts.headers, &SEC_FETCH_MODE)? == Some("navigate") => Ok(()),
            Some(_) => Err(Problem::forbidden("requests from pages of other sites are refused")),
        }
    }

    /// How `authority` names this server, if it does.
    fn host(&self, authority: &str, local: SocketAddr) -> Option<Named> {
        let (name, port) = split_authority(authority)?;
        let own_port = port.is_none_or(|port| port == local.port());
        if own_port && LOOPBACK.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Some(Named::Local);
        }
        // An address needs no name server, so nobody can have redirected it.
        if own_port && name.trim_start_matches('[').trim_end_matches(']').parse() == Ok(local.ip().to_canonical()) {
            return Some(Named::Local);
        }
        let configured = |rule: &&String| match split_authority(rule) {
            Some((known, None)) => known.eq_ignore_ascii_case(name),
            Some((known, rule_port)) => known.eq_ignore_ascii_case(name) && rule_port == port,
            None => false,
        };
        self.hosts.iter().find(configured).map(|_| Named::Configured)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Local,
    Configured,
}

fn refused_host() -> Problem {
    Problem::forbidden("this Host is not one of this server: use localhost, or list the name in its configuration")
}

/// The value of a header that may occur once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Problem::bad_request(format!("the header {name} occurs twice")));
    }
    first
        .map(|value| value.to_str().map_err(|_| Problem::bad_request(format!("the header {name} is no text"))))
        .transpose()
}

/// Name and port of an authority without user information; no port is no port, an empty one is an error.
pub(crate) fn split_authority(text: &str) -> Option<(&str, Option<u16>)> {
    let (name, rest) = if text.starts_with('[') {
        text.split_at_checked(text.find(']')? + 1)?
    } else {
        text.split_at_checked(text.find(':').unwrap_or(text.len()))?
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    if rest.is_empty() {
        return Some((name, None));
    }
    let digits = rest.strip_prefix(':')?;
    let port: u16 = digits.parse().ok()?;
    (port != 0 && port.to_string() == digits).then_some((name, Some(port)))
}

/// Gives an answer the headers that all have; one that it has already stays.
pub(crate) fn harden(response: &mut Response) {
    for (name, value) in HEADERS {
        response.headers_mut().entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
}

/// Compares in a time that does not depend on how much of a guess is right.
struct Digest {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Digest {
    fn new(text: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"token of greeks-server");
        let tag = hmac::sign(&key, text.as_bytes());
        Self { key, tag }
    }

    fn is_of(&self, guess: &str) -> bool {
        hmac::verify(&self.key, guess.as_bytes(), self.tag.as_ref()).is_ok()
    }
}

#[derive(Deserialize)]
struct TokenQuery {
    token: String,
}

impl Token {
    fn new(text: &str) -> Self {
        // The browser keeps something that is worth a token and from which the token cannot be had.
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()), b"cookie of greeks-server");
        let cookie_text: String = derived.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text: Digest::new(text), cookie: Digest::new(&cookie_text), cookie_text }
    }

    #[allow(clippy::result_large_err)]
    fn check(&self, parts: &Parts, local: SocketAddr) -> Result<(), Response> {
        if self.bearer(&parts.headers) || self.cookie(&parts.headers, local) {
            return Ok(());
        }
        if parts.method == Method::GET && parts.uri.path() == "/" && self.query(&parts.uri) {
            let cookie = format!("{}={}; Path=/; HttpOnly; SameSite=Strict", cookie_name(local), self.cookie_text);
            return Err((StatusCode::SEE_OTHER, [(LOCATION, "/"), (SET_COOKIE, cookie.as_str())]).into_response());
        }
        let detail = "a token is needed: send it as 'Authorization: Bearer ..', or open /?token=.. once in a browser";
        Err(Problem::new(StatusCode::UNAUTHORIZED, detail).into_response())
    }

    fn bearer(&self, headers: &HeaderMap) -> bool {
        let value = single(headers, &AUTHORIZATION).ok().flatten().and_then(|value| value.split_once(' '));
        value.is_some_and(|(scheme, guess)| scheme.eq_ignore_ascii_case("bearer") && self.text.is_of(guess.trim()))
    }

    fn cookie(&self, headers: &HeaderMap, local: SocketAddr) -> bool {
        let name = cookie_name(local);
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(key, guess)| key == name && self.cookie.is_of(guess))
    }

    fn query(&self, uri: &Uri) -> bool {
        Query::<TokenQuery>::try_from_uri(uri).is_ok_and(|query| self.text.is_of(&query.token))
    }
}

/// Browsers share cookies between the ports of a host; two servers must not overwrite each other's.
fn cookie_name(local: SocketAddr) -> String {
    format!("greeks_{}", local.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_taken_apart_or_refused() {
        for (text, parts) in [
            ("localhost", Some(("localhost", None))),
            ("localhost:9850", Some(("localhost", Some(9850)))),
            ("[::1]:9850", Some(("[::1]", Some(9850)))),
            ("[::1]", Some(("[::1]", None))),
            ("", None),
            (":9850", None),
            ("localhost:", None),
            ("localhost:0", None),
            ("localhost:09850", None),
            ("localhost:99999", None),
            ("localhost:9850:9850", None),
            ("me@localhost", None),
            ("localhost/", None),
            ("local host", None),
            ("[::1", None),
            ("[::1]x", None),
        ] {
            assert_eq!(split_authority(text), parts, "{text}");
        }
    }

    #[test]
    fn digests_tell_texts_apart() {
        let digest = Digest::new("secret");
        assert!(digest.is_of("secret"));
        for guess in ["", "secre", "secret ", "Secret", "secret\0"] {
            assert!(!digest.is_of(guess), "{guess:?}");
        }
    }

    #[test]
    fn a_guard_does_not_show_its_token() {
        let guard = Guard::new(&[], Some(&SecretString::from("hush-hush")));
        let shown = format!("{guard:?}");
        assert!(shown.contains("true") && !shown.contains("hush"), "{shown}");
    }
}
