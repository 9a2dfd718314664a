//! Whatever arrives, in whatever order: nothing is sent before its time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What can happen to a session.
#[derive(Clone, Debug)]
enum Step {
    Frame(String),
    /// Milliseconds pass, with the socket being read or not.
    Pass(u64, bool),
    Want(BTreeSet<usize>),
    /// The socket takes everything there is.
    Drain,
}

fn any_frame() -> impl Strategy<Value = String> {
    let channel = || 0u64..12;
    prop_oneof![
        3 => Just(SETUP.to_owned()),
        3 => Just(UNAUTHORIZED.to_owned()),
        3 => Just(AUTHORIZED.to_owned()),
        6 => channel().prop_map(|n| format!(r#"{{"type":"CHANNEL_OPENED","channel":{n}}}"#)),
        2 => channel().prop_map(|n| format!(r#"{{"type":"CHANNEL_CLOSED","channel":{n}}}"#)),
        2 => channel().prop_map(|n| format!(r#"{{"type":"FEED_CONFIG","channel":{n},"eventFields":{{"Greeks":["delta","eventSymbol"]}}}}"#)),
        2 => channel().prop_map(|n| greeks(n, ".A1", "0.5")),
        1 => channel().prop_map(|n| format!(r#"{{"type":"ERROR","channel":{n},"error":"BAD_ACTION","message":"x"}}"#)),
        1 => Just(r#"{"type":"KEEPALIVE","channel":0}"#.to_owned()),
        1 => "\\PC{0,20}",
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_frame().prop_map(Step::Frame),
        3 => (0u64..4_000, any::<bool>()).prop_map(|(ms, reading)| Step::Pass(ms, reading)),
        2 => proptest::collection::btree_set(0usize..8, 0..8).prop_map(Step::Want),
        4 => Just(Step::Drain),
    ]
}

/// The rules, as seen from outside.
#[derive(Default)]
struct Observer {
    setup_sent: bool,
    auth_sent: bool,
    setup_heard: bool,
    token_wanted: bool,
    /// Whether nothing was said of AUTH for five seconds since SETUP.
    waited: bool,
    authorized: bool,
    /// Whether a channel is open and set up, by number.
    channels: BTreeMap<u64, (bool, bool)>,
    subscribed: BTreeMap<u64, BTreeSet<String>>,
    /// Whether an option can have been silent for so long that it is asked for again, once.
    silent: bool,
    repeated: BTreeSet<(u64, String)>,
}

impl Observer {
    fn hears(&mut self, text: &str) {
        let Ok(message) = serde_json::from_str::<Value>(text) else { return };
        let channel = message["channel"].as_u64().unwrap_or(0);
        match (message["type"].as_str(), message["state"].as_str()) {
            (Some("SETUP"), _) => self.setup_heard = true,
            (Some("AUTH_STATE"), Some("UNAUTHORIZED")) => self.token_wanted = true,
            (Some("AUTH_STATE"), Some("AUTHORIZED")) => self.authorized = true,
            (Some("CHANNEL_OPENED"), _) => {
                if let Some((open, _)) = self.channels.get_mut(&channel) {
                    *open = true;
                }
            }
            (Some("CHANNEL_CLOSED"), _) => {
                self.channels.remove(&channel);
                self.subscribed.remove(&channel);
            }
            _ => {}
        }
    }

    fn sees(&mut self, text: &str) -> Result<(), TestCaseError> {
        let message: Value = serde_json::from_str(text).unwrap();
        let channel = message["channel"].as_u64().unwrap();
        prop_assert!(self.setup_sent || kind(text) == "SETUP", "{}", text);
        match &*kind(text) {
            "SETUP" => prop_assert!(!std::mem::replace(&mut self.setup_sent, true), "twice"),
            "AUTH" => {
                prop_assert!(self.setup_heard && (self.token_wanted || self.waited), "AUTH before it was asked for");
                prop_assert!(!std::mem::replace(&mut self.auth_sent, true), "twice");
            }
            "CHANNEL_REQUEST" => {
                prop_assert!(self.setup_heard && self.authorized, "a channel before the server's consent");
                prop_assert!(channel % 2 == 1 && self.channels.keys().all(|used| *used < channel), "{}", text);
                self.channels.insert(channel, (false, false));
            }
            "FEED_SETUP" => {
                let entry = self.channels.get_mut(&channel).filter(|(open, set_up)| *open && !*set_up);
                prop_assert!(entry.map(|entry| entry.1 = true).is_some(), "{}", text);
            }
            "FEED_SUBSCRIPTION" => {
                prop_assert_eq!(self.channels.get(&channel), Some(&(true, true)), "{}", text);
                let items = |key: &str| message[key].as_array().cloned().unwrap_or_default();
                let subscribed = self.subscribed.entry(channel).or_default();
                for item in items("remove") {
                    prop_assert!(subscribed.remove(&item.to_string()), "never subscribed: {}", item);
                }
                for item in items("add") {
                    let again = self.silent && self.repeated.insert((channel, item.to_string()));
                    prop_assert!(subscribed.insert(item.to_string()) || again, "subscribed already: {}", item);
                }
            }
            "KEEPALIVE" | "ERROR" => {}
            other => prop_assert!(false, "{}", other),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_is_sent_before_its_time(
        greeting in 0usize..4,
        steps in proptest::collection::vec(any_step(), 0..120),
    ) {
        // Most sessions get somewhere.
        let greeting = [&[][..], &[SETUP, UNAUTHORIZED], &[UNAUTHORIZED, SETUP], &[SETUP, UNAUTHORIZED, AUTHORIZED]][greeting];
        let greeting = greeting.iter().flat_map(|text| [Step::Frame((*text).to_owned()), Step::Drain]);
        let mut bench = Bench::new(settings());
        let mut observer = Observer::default();
        let (began, mut setup_at) = (bench.now, bench.now);
        for step in greeting.chain(steps) {
            let result = match step {
                Step::Frame(text) => {
                    // What is ready to go out was ready before this came.
                    for text in bench.outputs() {
                        observer.sees(&text)?;
                    }
                    if !observer.setup_heard {
                        setup_at = bench.now;
                    }
                    observer.hears(&text);
                    let result = bench.frame(&text).map(|_| ());
                    bench.events();
                    result
                }
                Step::Pass(ms, reading) => {
                    bench.now += Duration::from_millis(ms);
                    observer.waited |= bench.now.duration_since(setup_at) >= Duration::from_secs(5);
                    observer.silent |= bench.now.duration_since(began) >= Duration::from_secs(30);
                    let result = bench.session.on_tick(bench.now, reading);
                    bench.session.take_newly_silent();
                    result
                }
                Step::Want(numbers) => {
                    let options: Vec<String> = numbers.iter().map(|n| format!(".A{n}")).collect();
                    let underlyings: Vec<String> = numbers.iter().map(|n| format!("U{}", n % 3)).collect();
                    bench.want(
                        &options.iter().map(String::as_str).collect::<Vec<_>>(),
                        &underlyings.iter().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(),
                    );
                    Ok(())
                }
                Step::Drain => {
                    for text in bench.outputs() {
                        observer.sees(&text)?;
                    }
                    Ok(())
                }
            };
            // The end of the session: what is left to say is said, and no subscription among it.
            if result.is_err() {
                while let Some(text) = bench.session.take_last_word() {
                    prop_assert!(kind(&text) != "FEED_SUBSCRIPTION");
                    if kind(&text) != "ERROR" {
                        observer.sees(&text)?;
                    }
                }
                return Ok(());
            }
            prop_assert!(bench.session.deadline() <= bench.now + Duration::from_secs(70));
        }
    }
}
