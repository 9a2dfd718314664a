//! What clients send: `TOPIC+TARGET+{JSON}` in plain text.

use serde_json::Value;

use crate::ibkr::violations::IbkrRule;

/// A message, read.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Tic,
    Echo,
    Subscribe {
        conid: i64,
        fields: Vec<u16>,
    },
    Unsubscribe {
        conid: i64,
    },
    /// Whether executions are wanted.
    Executions(bool),
    /// A topic that exists, but has no data here.
    Unserved,
    /// A topic that exists with something impossible behind it. Nothing is answered.
    Wrong {
        rule: IbkrRule,
        why: &'static str,
    },
    Unknown,
}

pub(super) fn read(text: &str) -> Request {
    let mut parts = text.splitn(3, '+');
    let topic = parts.next().unwrap_or_default();
    match topic {
        "tic" if text == "tic" => Request::Tic,
        "ech" if text == "ech+hb" => Request::Echo,
        "smd" => subscription(parts.next().unwrap_or_default(), parts.next()),
        "umd" => match conid(parts.next().unwrap_or_default()) {
            Some(conid) => Request::Unsubscribe { conid },
            None => wrong(IbkrRule::Message, "no contract"),
        },
        "str" => match parts.next().map(serde_json::from_str::<Value>) {
            Some(Ok(Value::Object(_))) => Request::Executions(true),
            _ => wrong(IbkrRule::Message, "str wants an object"),
        },
        "utr" => Request::Executions(false),
        "sor" | "uor" | "spl" | "upl" | "ssd" | "usd" | "sld" | "uld" | "smh" | "umh" | "sbd" | "ubd" => {
            Request::Unserved
        }
        _ => Request::Unknown,
    }
}

fn subscription(target: &str, body: Option<&str>) -> Request {
    let Some(conid) = conid(target) else { return wrong(IbkrRule::Message, "no contract") };
    let Some(Ok(Value::Object(body))) = body.map(serde_json::from_str) else {
        return wrong(IbkrRule::Message, "smd wants an object");
    };
    if body.contains_key("snapshot") {
        return wrong(IbkrRule::Snapshot, "a stream is no snapshot");
    }
    let fields = match body.get("fields") {
        Some(Value::Array(fields)) if !fields.is_empty() => fields,
        _ => return wrong(IbkrRule::NoFields, "no fields"),
    };
    let tags: Option<Vec<&str>> = fields.iter().map(Value::as_str).collect();
    match tags.map(|tags| tags.into_iter().map(str::parse).collect::<Result<Vec<u16>, _>>()) {
        Some(Ok(fields)) => Request::Subscribe { conid, fields },
        Some(Err(_)) => wrong(IbkrRule::Message, "a field that is no number"),
        None => wrong(IbkrRule::NumericFields, "fields are text"),
    }
}

/// `495512572` or `495512572@CME`.
fn conid(target: &str) -> Option<i64> {
    target.split('@').next()?.parse().ok()
}

const fn wrong(rule: IbkrRule, why: &'static str) -> Request {
    Request::Wrong { rule, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send() {
        let fields = vec![31, 7308];
        for text in
            ["smd+8314+{\"fields\":[\"31\",\"7308\"]}", "smd+8314@CME+{\"tempo\":2000,\"fields\":[\"31\",\"7308\"]}"]
        {
            assert_eq!(read(text), Request::Subscribe { conid: 8314, fields: fields.clone() });
        }
        for text in ["umd+8314+{}", "umd+8314"] {
            assert_eq!(read(text), Request::Unsubscribe { conid: 8314 });
        }
        assert_eq!(read("tic"), Request::Tic);
        assert_eq!(read("ech+hb"), Request::Echo);
        assert_eq!(read("str+{\"realtimeUpdatesOnly\":true,\"days\":1}"), Request::Executions(true));
        assert_eq!(read("utr"), Request::Executions(false));
        assert_eq!(read("sor+{}"), Request::Unserved);
    }

    #[test]
    fn what_they_should_not_send() {
        for (text, expected) in [
            ("smd+8314+{\"fields\":[31]}", IbkrRule::NumericFields),
            ("smd+8314+{\"fields\":[]}", IbkrRule::NoFields),
            ("smd+8314+{}", IbkrRule::NoFields),
            ("smd+8314+{\"fields\":[\"31\"],\"snapshot\":true}", IbkrRule::Snapshot),
            ("smd+8314", IbkrRule::Message),
            ("smd+AAPL+{\"fields\":[\"31\"]}", IbkrRule::Message),
            ("smd+8314+{\"fields\":[\"delta\"]}", IbkrRule::Message),
        ] {
            assert!(matches!(read(text), Request::Wrong { rule, .. } if rule == expected), "{text}");
        }
        for text in ["{\"session\":\"abc\"}", "", "tick", "act+U1234567"] {
            assert!(matches!(read(text), Request::Unknown), "{text}");
        }
    }
}
