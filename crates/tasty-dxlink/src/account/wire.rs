//! Messages of the account streamer: text to what it tells, and back.
//!
//! An answer has a `status`, a notice a `type` and its object in `data`; several notices can come as one message, in
//! `results`. `request-id` comes back as a number or a text (tastytrade, "Streaming Account Data").

use std::borrow::Cow;
use std::collections::BTreeSet;

use broker_net::json::plain;
use greeks_model::AccountId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What this side says. Has no `Debug`: it holds the token.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Outgoing<'a> {
    pub(super) action: Action,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    pub(super) value: &'a [&'a str],
    /// The value of the HTTP header `Authorization`, to the letter.
    pub(super) auth_token: &'a str,
    pub(super) request_id: u64,
    pub(super) source: &'a str,
}

impl Outgoing<'_> {
    pub(super) fn to_text(&self) -> String {
        // Only a failing `Serialize` or a map with keys other than text can fail here; neither is.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What can be asked of the streamer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Connect,
    Heartbeat,
}

impl Action {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// An answer to something this side said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) ok: bool,
    pub(super) action: String,
    pub(super) request_id: Option<u64>,
    /// For people.
    pub(super) text: String,
}

/// What one message told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) answer: Option<Answer>,
    /// Accounts whose option positions may have changed.
    pub(super) touched: BTreeSet<AccountId>,
    /// Whether a change came without the account it happened in.
    pub(super) touched_unnamed: bool,
    /// Notices of types this client does not know.
    pub(super) unknown: u64,
    /// Notices, or the whole message, of no known form.
    pub(super) malformed: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Frame<'a> {
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    results: Option<Vec<&'a RawValue>>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What is read of the object of a notice.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Object<'a> {
    #[serde(borrow)]
    account_number: Option<&'a RawValue>,
    #[serde(borrow)]
    instrument_type: Option<&'a RawValue>,
}

/// Reads one text message.
pub(super) fn read(text: &str) -> Told {
    let mut told = Told::default();
    let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else {
        told.malformed = 1;
        return told;
    };
    if let Some(status) = frame.status {
        told.answer = Some(Answer {
            ok: words(Some(status)).eq_ignore_ascii_case("ok"),
            action: words(frame.action).into_owned(),
            request_id: words(frame.request_id).parse().ok(),
            text: words(frame.message).into_owned(),
        });
        return told;
    }
    match &frame.results {
        Some(results) => {
            for notice in results {
                match serde_json::from_str(notice.get()) {
                    Ok(notice) => told.take(&notice),
                    Err(_) => told.malformed += 1,
                }
            }
        }
        None => told.take(&frame),
    }
    told
}

impl Told {
    fn take(&mut self, notice: &Frame<'_>) {
        let object = notice.data.map(|data| serde_json::from_str::<Object<'_>>(data.get()));
        match &*words(notice.kind) {
            // What an account holds, or what may change it: fills, of which an order can tell before the position
            // does, and options that are exercised, assigned or moved.
            kind @ ("CurrentPosition" | "Order" | "ComplexOrder" | "OrderChain" | "ExternalTransaction") => {
                match object {
                    Some(Ok(object)) if kind == "CurrentPosition" && !is_option(object.instrument_type) => {}
                    Some(Ok(object)) => match AccountId::new(words(object.account_number).trim()) {
                        Ok(account) => {
                            self.touched.insert(account);
                        }
                        Err(_) => self.touched_unnamed = true,
                    },
                    Some(Err(_)) | None => {
                        self.malformed += 1;
                        self.touched_unnamed = true;
                    }
                }
            }
            "AccountBalance" | "TradingStatus" | "UnderlyingYearGainSummary" | "QuoteAlert" | "PublicWatchlists" => {}
            "" => self.malformed += 1,
            _ => self.unknown += 1,
        }
    }
}

/// Whether a position may be one in an option; one that does not say so may.
fn is_option(instrument_type: Option<&RawValue>) -> bool {
    matches!(words(instrument_type).trim(), "" | "Equity Option" | "Future Option" | "Unknown")
}

fn words(raw: Option<&RawValue>) -> Cow<'_, str> {
    raw.map(plain).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accounts(told: &Told) -> Vec<&str> {
        told.touched.iter().map(AccountId::as_str).collect()
    }

    #[test]
    fn messages_to_the_streamer_are_as_documented() {
        let mut message = Outgoing {
            action: Action::Connect,
            value: &["5WT00001", "5WT00002"],
            auth_token: "Bearer x",
            request_id: 1,
            source: "greekd/0.1.0",
        };
        assert_eq!(
            message.to_text(),
            r#"{"action":"connect","value":["5WT00001","5WT00002"],"auth-token":"Bearer x","request-id":1,"source":"greekd/0.1.0"}"#
        );
        message = Outgoing { action: Action::Heartbeat, value: &[], request_id: 2, ..message };
        assert_eq!(
            message.to_text(),
            r#"{"action":"heartbeat","auth-token":"Bearer x","request-id":2,"source":"greekd/0.1.0"}"#
        );
    }

    #[test]
    fn answers_come_with_numbers_or_texts() {
        for (text, ok, action, request_id, words) in [
            (
                r#"{"status":"ok","action":"connect","web-socket-session-id":"5b6e2799","value":["5WT00001"],"request-id":1}"#,
                true,
                "connect",
                Some(1),
                "",
            ),
            (r#"{"status":"ok","action":"heartbeat","request-id":"2"}"#, true, "heartbeat", Some(2), ""),
            (r#"{"status":"ok","action":"heartbeat"}"#, true, "heartbeat", None, ""),
            (r#"{"status":"error","action":"connect","message":"failed"}"#, false, "connect", None, "failed"),
            (r#"{"status":7,"request-id":{}}"#, false, "", None, ""),
        ] {
            let told = read(text);
            let answer = Answer { ok, action: action.into(), request_id, text: words.into() };
            assert_eq!(told, Told { answer: Some(answer), ..Told::default() }, "{text}");
        }
    }

    #[test]
    fn notices_name_the_account_to_read_again() {
        for kind in ["CurrentPosition", "Order", "ComplexOrder", "OrderChain", "ExternalTransaction"] {
            let text = format!(r#"{{"type":"{kind}","data":{{"account-number":"5WT00001","x":[]}},"timestamp":1}}"#);
            assert_eq!(accounts(&read(&text)), ["5WT00001"], "{kind}");
        }
        let position = |kind: &str| {
            read(&format!(
                r#"{{"data":{{"instrument-type":"{kind}","account-number":"5WT00001"}},"type":"CurrentPosition"}}"#
            ))
        };
        assert_eq!(accounts(&position("Equity Option")), ["5WT00001"]);
        assert_eq!(accounts(&position("Future Option")), ["5WT00001"]);
        assert_eq!(position("Equity"), Told::default());
        for kind in ["AccountBalance", "TradingStatus", "QuoteAlert"] {
            let text = format!(r#"{{"type":"{kind}","data":{{"account-number":"5WT00001"}}}}"#);
            assert_eq!(read(&text), Told::default(), "{kind}");
        }
        let unnamed = read(r#"{"type":"Order","data":{"id":1}}"#);
        assert!(unnamed.touched_unnamed && unnamed.touched.is_empty() && unnamed.malformed == 0);
    }

    #[test]
    fn batches_are_read_to_the_end() {
        let told = read(
            r#"{"results":[{"type":"Order","data":{"account-number":"5WT00002"}},7,{"type":"Novelty","data":{}},
               {"type":"CurrentPosition","data":[]},{"type":"CurrentPosition","data":{"account-number":"5WT00001"}}]}"#,
        );
        assert_eq!(accounts(&told), ["5WT00001", "5WT00002"]);
        assert_eq!((told.unknown, told.malformed, told.touched_unnamed), (1, 2, true));
    }

    #[test]
    fn nonsense_is_counted() {
        for text in ["", "x", "[]", "{}", "null", r#"{"results":3}"#, r#"{"type":7,"data":1}"#, "{\"type\":\"Order\""] {
            let told = read(text);
            assert_eq!((told.malformed + told.unknown, told.answer), (1, None), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_counted(text in "\\PC{0,60}", kind in "[A-Za-z]{0,20}", account in "\\PC{0,10}") {
            read(&text);
            let notice = serde_json::json!({"type": kind, "data": {"account-number": account}}).to_string();
            prop_assert!(read(&notice).touched.len() <= 1);
        }
    }
}
