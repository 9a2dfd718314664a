//! Texts to the gateway: topic, target and a JSON object, joined by `+` (IBKR, "Web API v1, WebSockets").

use secrecy::{ExposeSecret, SecretString};

use super::conid::Conid;

/// The answer to "waiting for session". Whoever is not asked must not say it: that is an unknown topic.
pub(crate) fn session_answer(id: &SecretString) -> String {
    serde_json::json!({ "session": id.expose_secret() }).to_string()
}

/// A message to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// Begins or renews the stream of an option.
    SubscribeOption(Conid),
    /// Begins or renews the stream of an underlying.
    SubscribeUnderlying(Conid),
    Unsubscribe(Conid),
    /// Keeps the session.
    Tic,
    /// Begins the stream of fills.
    Executions,
    /// Ends the stream of fills.
    NoExecutions,
}

impl Outgoing {
    pub(crate) fn to_text(self) -> String {
        match self {
            // Tags are texts: for numbers nothing is sent. Asking again adds fields, it takes none away.
            Self::SubscribeOption(conid) => {
                format!(r#"smd+{conid}+{{"fields":["31","84","86","6509","7308","7309","7310","7311","7633","7635"]}}"#)
            }
            Self::SubscribeUnderlying(conid) => format!(r#"smd+{conid}+{{"fields":["31","84","86","6509"]}}"#),
            Self::Unsubscribe(conid) => format!("umd+{conid}+{{}}"),
            Self::Tic => "tic".into(),
            Self::Executions => r#"str+{"realtimeUpdatesOnly":true,"days":1}"#.into(),
            Self::NoExecutions => "utr".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_the_session_is_json() {
        assert_eq!(session_answer(&"ab\"c".into()), r#"{"session":"ab\"c"}"#);
    }

    #[test]
    fn texts_are_exactly_the_documented_ones() {
        let conid = Conid::new(265_598).unwrap();
        for (message, text) in [
            (
                Outgoing::SubscribeOption(conid),
                r#"smd+265598+{"fields":["31","84","86","6509","7308","7309","7310","7311","7633","7635"]}"#,
            ),
            (Outgoing::SubscribeUnderlying(conid), r#"smd+265598+{"fields":["31","84","86","6509"]}"#),
            (Outgoing::Unsubscribe(conid), "umd+265598+{}"),
            (Outgoing::Tic, "tic"),
            (Outgoing::Executions, r#"str+{"realtimeUpdatesOnly":true,"days":1}"#),
            (Outgoing::NoExecutions, "utr"),
        ] {
            assert_eq!(message.to_text(), text);
        }
    }
}
