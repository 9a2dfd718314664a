//! The token of the quote streamer, and where to take it.

use std::time::Duration;

use broker_net::json::plain;
use greeks_model::UnixNanos;
use greeks_model::jiff::Timestamp;
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Rest, body};
use crate::Error;
use crate::config::check_streamer_url;

const CALL: &str = "GET /api-quote-tokens";
/// tastytrade documents 24 hours.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
const RENEW_BEFORE_END: Duration = Duration::from_secs(600);
/// A stream does without another token until then.
const LEAVE_BEFORE_END: Duration = Duration::from_secs(120);

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Live quotes.
    Live,
    /// Delayed quotes.
    Demo,
}

/// A token for one or more sessions.
#[derive(Clone, Debug)]
pub(crate) struct QuoteToken {
    pub(crate) secret: SecretString,
    pub(crate) url: Url,
    pub(crate) level: Level,
    /// How long a session with it may last.
    pub(crate) usable_for: Duration,
    asked_at: Instant,
    /// How long it lives from then on.
    life: Duration,
}

impl QuoteToken {
    /// When to ask for another, so that no more than `most` of this one is used.
    pub(crate) fn renew_at(&self, most: Duration) -> Instant {
        self.asked_at + self.usable_for.min(most)
    }

    /// When to be done with it, with another in hand or without.
    pub(crate) fn leave_at(&self) -> Instant {
        self.asked_at + self.usable_for.max(self.life.saturating_sub(LEAVE_BEFORE_END))
    }
}

impl Rest {
    /// Asks for a token; by `now` it is told how much of its life is left.
    pub(crate) async fn quote_token(&self, now: UnixNanos) -> Result<QuoteToken, Error> {
        let asked_at = Instant::now();
        let answer = match self.get(CALL, &["api-quote-tokens"], &[]).await {
            // The code of a login without an opened account.
            Err(Error::Status { call, status, reason }) if reason.contains("customer_not_found") => {
                tracing::debug!(status, "no customer");
                return Err(Error::Forbidden { call, reason });
            }
            answer => answer?,
        };
        read(&answer, self.base(), now, asked_at)
    }
}

fn read(answer: &[u8], api: &Url, now: UnixNanos, asked_at: Instant) -> Result<QuoteToken, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Answer<'a> {
        token: String,
        dxlink_url: String,
        #[serde(borrow)]
        level: Option<&'a RawValue>,
        #[serde(borrow)]
        issued_at: Option<&'a RawValue>,
        #[serde(borrow)]
        expires_at: Option<&'a RawValue>,
    }
    let answer: Answer<'_> = body::data(CALL, answer)?;
    let time = |raw: Option<&RawValue>| plain(raw?).trim().parse::<Timestamp>().ok().map(UnixNanos::from_timestamp);
    let life = match (time(answer.issued_at), time(answer.expires_at)) {
        (_, None) => LONGEST_LIFE,
        // This machine's clock is not right: what is left of the life is not known, its length is.
        (Some(begin), Some(end)) if now < begin || end <= now => end.saturating_since(begin),
        // The customer's token of now may have been handed out before.
        (_, Some(end)) => end.saturating_since(now),
    };
    let level = answer.level.map(plain).unwrap_or_default();
    Ok(QuoteToken {
        secret: answer.token.into(),
        url: check_streamer_url(&answer.dxlink_url, api)?,
        level: if level.trim().eq_ignore_ascii_case("demo") { Level::Demo } else { Level::Live },
        usable_for: usable_for(life),
        asked_at,
        life: life.min(LONGEST_LIFE),
    })
}

fn usable_for(life: Duration) -> Duration {
    // A token on its last minutes is still used for a while: renewing at once, again and again, would be worse.
    let life = life.min(LONGEST_LIFE);
    life.saturating_sub(RENEW_BEFORE_END).max(life / 2).max(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl QuoteToken {
        pub(crate) fn for_tests(asked_at: Instant, life: Duration) -> Self {
            let url = "wss://localhost".parse().unwrap();
            let usable_for = usable_for(life);
            Self { secret: "canary".into(), url, level: Level::Live, usable_for, asked_at, life }
        }
    }

    #[test]
    fn tokens_are_used_until_well_before_their_end() {
        let hours = |h: u64| Duration::from_secs(h * 3600);
        for (life, expected) in [
            (hours(24), LONGEST_LIFE - RENEW_BEFORE_END),
            (hours(48), LONGEST_LIFE - RENEW_BEFORE_END),
            (hours(2), Duration::from_secs(6600)),
            (Duration::from_secs(700), Duration::from_secs(350)),
            (Duration::ZERO, Duration::from_secs(60)),
        ] {
            assert_eq!(usable_for(life), expected, "{life:?}");
        }
    }

    #[test]
    fn answers_of_every_shape() {
        let api = Url::parse("https://api.tastyworks.com").unwrap();
        let now = UnixNanos::from_timestamp("2026-11-23T10:00:00Z".parse().unwrap());
        let read = |extra: &str, url: &str| {
            read(
                format!(r#"{{"data":{{"token":"canary","dxlink-url":"{url}"{extra}}},"context":"/x"}}"#).as_bytes(),
                &api,
                now,
                Instant::now(),
            )
        };
        let url = "wss://tasty-openapi-ws.dxfeed.com/realtime";
        let token = read(r#","level":"api","websocket-url":"x","issued-at":"2026-11-23T10:00:00.000+00:00","expires-at":"2026-11-24T10:00:00.000+00:00""#, url).unwrap();
        assert_eq!((token.level, token.usable_for), (Level::Live, LONGEST_LIFE - RENEW_BEFORE_END));
        assert!(!format!("{token:?}").contains("canary"));
        assert_eq!(read(r#","level":"demo""#, url).unwrap().level, Level::Demo);
        assert_eq!(read(r#","expires-at":"2026-11-23T12:00:00Z""#, url).unwrap().usable_for, Duration::from_secs(6600));
        let used = |issued: &str, expires: &str| {
            read(&format!(r#","issued-at":"{issued}","expires-at":"{expires}""#), url).unwrap().usable_for
        };
        let two_hours = Duration::from_secs(6600);
        assert_eq!(used("2026-11-22T12:00:00Z", "2026-11-23T12:00:00Z"), two_hours, "issued 22 hours ago");
        let day = LONGEST_LIFE - RENEW_BEFORE_END;
        assert_eq!(used("2026-11-25T10:00:00Z", "2026-11-26T10:00:00Z"), day, "the clock is two days slow");
        assert_eq!(used("2026-11-21T10:00:00Z", "2026-11-22T10:00:00Z"), day, "the clock is two days fast");
        assert_eq!(read(r#","level":null,"expires-at":1795510000,"issued-at":{}"#, url).unwrap().usable_for, day);
        assert_eq!(read(r#","expires-at":"soon""#, url).unwrap().usable_for, LONGEST_LIFE - RENEW_BEFORE_END);
        assert!(matches!(read("", "wss://example.org"), Err(Error::UntrustedStreamer { .. })));
    }
}
