//! A scripted Client Portal gateway on one loopback port: REST and websocket.
//!
//! It is strict about order, as the real one is: what is asked too early is answered as the real one would, or noted as a
//! violation, which [`Gateway::assert_clean`] tells.

mod client;
mod contracts;
mod rest;
mod socket;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub(crate) use broker_net::testkit::{Reply, Request, no_trust};
use ibkr_stream::IbkrConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) use client::*;
pub(crate) use contracts::*;
pub(crate) use rest::call;
pub(crate) use socket::Wire;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const ACCOUNT: &str = "U0000001";
pub(crate) const OTHER: &str = "U0000002";

/// What the gateway would answer.
#[derive(Debug)]
pub(crate) struct State {
    /// The SSO session: whether a person has logged in.
    pub(crate) logged_in: bool,
    /// The brokerage session.
    pub(crate) authenticated: bool,
    /// Another login of the user has the brokerage session.
    pub(crate) taken: bool,
    /// What `ssodh/init` says when it opens nothing.
    pub(crate) fail: String,
    /// Whether `ssodh/init` opens nothing.
    pub(crate) init_fails: bool,
    /// Value of the websocket's cookie.
    pub(crate) session: String,
    /// Whether `/iserver/accounts` was asked in this brokerage session.
    pub(crate) primed: bool,
    /// Whether the portfolio's accounts were asked.
    pub(crate) listed: bool,
    pub(crate) accounts: Vec<String>,
    /// What is held.
    pub(crate) held: Vec<Held>,
    /// What the positions cache shows.
    pub(crate) cached: Vec<Held>,
    /// What was asked, in order.
    pub(crate) requests: Vec<Request>,
    pub(crate) violations: Vec<String>,
}

impl State {
    fn new() -> Self {
        let held = vec![spy_call(ACCOUNT, 2.0), spy_put(ACCOUNT, -1.0)];
        Self {
            logged_in: true,
            authenticated: true,
            taken: false,
            fail: String::new(),
            init_fails: false,
            session: "canary0001".into(),
            primed: false,
            listed: false,
            accounts: vec![ACCOUNT.into()],
            cached: held.clone(),
            held,
            requests: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// What IBKR's nightly reset, or a logout, does.
    pub(crate) fn lose_session(&mut self) {
        self.authenticated = false;
        self.primed = false;
    }

    pub(crate) fn hold(&mut self, held: Vec<Held>) {
        self.held.clone_from(&held);
        self.cached = held;
    }
}

type Answer = Box<dyn Fn(&Request) -> Option<Reply> + Send>;

/// The gateway.
pub(crate) struct Gateway {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    overrides: Arc<Mutex<Vec<Answer>>>,
    sockets: AsyncMutex<Receiver<TcpStream>>,
    task: JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/api", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::new()));
        let overrides: Arc<Mutex<Vec<Answer>>> = Arc::default();
        let (queue, sockets) = channel(16);
        let task = tokio::spawn(rest::serve(listener, Arc::clone(&state), Arc::clone(&overrides), queue));
        Self { url, state, overrides, sockets: AsyncMutex::new(sockets), task }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state())
    }

    /// Answers requests for which `answer` gives a reply; later ones come first.
    pub(crate) fn on(&self, answer: impl Fn(&Request) -> Option<Reply> + Send + 'static) {
        self.overrides.lock().unwrap().insert(0, Box::new(answer));
    }

    /// Answers requests whose line holds `part`.
    pub(crate) fn answer(&self, part: &'static str, reply: Reply) {
        self.on(move |request| request.line.contains(part).then(|| reply.clone()));
    }

    /// Answers as it would by itself again.
    pub(crate) fn recover(&self) {
        self.overrides.lock().unwrap().clear();
    }

    /// Quick where a real gateway is slow.
    pub(crate) fn config(&self) -> IbkrConfig {
        let mut config = IbkrConfig::new(&self.url);
        config.rest_spacing = Duration::ZERO;
        config.tickle_spacing = Duration::ZERO;
        config.account_list_spacing = Duration::ZERO;
        config.subscribe_spacing = Duration::ZERO;
        config.init_poll = Duration::from_millis(10);
        config.init_timeout = Duration::from_millis(200);
        config.execution_recheck = Duration::from_millis(50);
        config
    }

    /// Method and path below the API of everything asked since the last call.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        let requests = std::mem::take(&mut self.state().requests);
        requests.iter().map(call).collect()
    }

    /// How often a call was made.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.state().requests.iter().filter(|request| request.line.contains(part)).count()
    }

    /// Waits until a call was made so often.
    pub(crate) async fn until_called(&self, part: &str, times: usize) {
        let called = async {
            while self.count(part) < times {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(timeout(PATIENCE, called).await.is_ok(), "{part} was called {} times", self.count(part));
    }

    /// The next connection to the websocket, before its upgrade.
    pub(crate) async fn accept_raw(&self) -> TcpStream {
        let mut sockets = self.sockets.lock().await;
        timeout(PATIENCE, sockets.recv()).await.expect("nobody dialled").unwrap()
    }

    /// The next websocket, silent so far. Its cookie must be that of the session of now.
    pub(crate) async fn accept(&self) -> Wire {
        let wire = Wire::upgrade(self.accept_raw().await, Arc::clone(&self.state)).await;
        let (session, primed) = self.change(|state| (state.session.clone(), state.primed));
        assert_eq!(wire.cookie, format!(r#"api={{"session":"{session}"}}"#), "cookie of the upgrade");
        assert!(primed, "dialled before /iserver/accounts");
        wire
    }

    /// The next websocket, up to `sts authenticated:true`.
    pub(crate) async fn authenticate(&self) -> Wire {
        let mut wire = self.accept().await;
        wire.greet().await;
        wire
    }

    /// The next websocket, up to the subscriptions of these contracts, each of them alive.
    pub(crate) async fn stream(&self, contracts: &[i64]) -> Wire {
        let mut wire = self.authenticate().await;
        wire.expect_subscriptions(contracts).await;
        for contract in contracts {
            wire.say(&quote(*contract)).await;
        }
        wire.say(HEARTBEAT).await;
        wire
    }

    /// Whether nothing was asked too early or in vain.
    pub(crate) fn assert_clean(&self) {
        let violations = self.state().violations.clone();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}
