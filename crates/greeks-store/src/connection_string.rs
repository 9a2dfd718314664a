//! Connection strings of libpq: what they say that the driver does not understand, and what nobody does.

use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;

use crate::database::DatabaseConfigError;

/// Options of libpq that mean something we do not do; they may be named in an error, anything else could be a secret.
const NOT_SUPPORTED: [&str; 14] = [
    "gssencmode",
    "krbsrvname",
    "gsslib",
    "passfile",
    "service",
    "servicefile",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslcrldir",
    "requirepeer",
    "require_auth",
    "sslcertmode",
];

/// Options that mean something.
pub(crate) const KNOWN: [&str; 21] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslrootcert",
    "sslnegotiation",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "keepalives_retries",
    "target_session_attrs",
    "load_balance_hosts",
    "channel_binding",
    "application_name",
    "options",
];

/// Those of the driver's own whose value is a number.
const NUMBERS: [&str; 5] =
    ["connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_retries"];

/// What the driver does not understand, taken out of the string.
#[derive(Default)]
pub(crate) struct Split {
    /// What the driver reads.
    pub(crate) rest: String,
    pub(crate) ssl_mode: Option<String>,
    pub(crate) root_cert: Option<String>,
    pub(crate) times: Times,
}

/// What the driver has under another name or in another unit than libpq.
#[derive(Default)]
pub(crate) struct Times {
    tcp_user_timeout: Option<Duration>,
    keepalives_count: Option<u32>,
}

impl Times {
    pub(crate) fn set(&self, config: &mut Config) {
        self.tcp_user_timeout.map(|time| config.tcp_user_timeout(time));
        self.keepalives_count.map(|count| config.keepalives_retries(count));
    }
}

impl Split {
    /// Takes a connection string in either form.
    pub(crate) fn of(text: &str) -> Result<Self, DatabaseConfigError> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            split_url(text)
        } else {
            split_pairs(text)
        }
    }

    /// Takes the option if it is ours; `false` leaves it to the driver.
    fn take(&mut self, key: &str, value: &str) -> Result<bool, DatabaseConfigError> {
        match key {
            "sslmode" => self.ssl_mode = Some(value.to_owned()),
            "sslrootcert" => self.root_cert = Some(value.to_owned()),
            "tcp_user_timeout" => {
                let millis: i64 = number("tcp_user_timeout", value)?;
                self.times.tcp_user_timeout =
                    u64::try_from(millis).ok().filter(|given| *given > 0).map(Duration::from_millis);
            }
            "keepalives_count" => self.times.keepalives_count = Some(number("keepalives_count", value)?),
            _ => return Self::leave(key, value),
        }
        Ok(true)
    }

    /// Whether the driver will do something else with it than to refuse the whole.
    fn leave(key: &str, value: &str) -> Result<bool, DatabaseConfigError> {
        let of = |names: &[&'static str]| names.iter().copied().find(|name| *name == key);
        if let Some(name) = of(&NOT_SUPPORTED) {
            return Err(DatabaseConfigError::NotSupported(name));
        }
        if let Some(name) = of(&NUMBERS) {
            number::<i64>(name, value)?;
        }
        of(&KNOWN).map(|_| false).ok_or(DatabaseConfigError::Unknown)
    }
}

fn number<N: FromStr>(name: &'static str, value: &str) -> Result<N, DatabaseConfigError> {
    value.parse().map_err(|_| DatabaseConfigError::Number(name))
}

fn split_url(url: &str) -> Result<Split, DatabaseConfigError> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    // Which of two ends the password? The driver takes the first, and what is left of it for a host or a database.
    if base.matches('@').count() > 1 {
        return Err(DatabaseConfigError::Malformed);
    }
    let mut split = Split { rest: base.to_owned(), ..Split::default() };
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(DatabaseConfigError::Malformed)?;
        let decoded = percent_decode(value).ok_or(DatabaseConfigError::Malformed)?;
        if !split.take(key, &decoded)? {
            split.rest.push(separator);
            split.rest.push_str(pair);
            separator = '&';
        }
    }
    Ok(split)
}

/// `key=value` pairs; values may stand in single quotes, a backslash protects the next character.
fn split_pairs(text: &str) -> Result<Split, DatabaseConfigError> {
    let mut split = Split::default();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or(DatabaseConfigError::Malformed)?;
        let (value, raw, remaining) = pair_value(after.trim_start()).ok_or(DatabaseConfigError::Malformed)?;
        if !split.take(key.trim(), &value)? {
            split.rest.push_str(key.trim());
            split.rest.push('=');
            split.rest.push_str(raw);
            split.rest.push(' ');
        }
        rest = remaining.trim_start();
    }
    Ok(split)
}

/// The value at the start of `text`: decoded, as written, and what follows it.
fn pair_value(text: &str) -> Option<(String, &str, &str)> {
    let mut value = String::new();
    let quoted = text.starts_with('\'');
    let mut chars = text.char_indices();
    if quoted {
        chars.next();
    }
    loop {
        match chars.next() {
            None if quoted => return None,
            None => return Some((value, text, "")),
            Some((_, '\\')) => value.push(chars.next()?.1),
            Some((at, '\'')) if quoted => return Some((value, text.get(..=at)?, text.get(at + 1..)?)),
            Some((at, c)) if !quoted && c.is_whitespace() => return Some((value, text.get(..at)?, text.get(at..)?)),
            Some((_, c)) => value.push(c),
        }
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = tail;
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}
