//! A small gateway for tests: answers each request with what a closure says, and remembers what was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_net::testkit::{Reply, Request, no_trust};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Rest;
use crate::IbkrConfig;

/// The gateway. What it answers to is the path below `/v1/api` with its query: `GET /portfolio/accounts`.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) config: IbkrConfig,
    asked: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    pub(crate) async fn start<R: Into<Reply>>(answer: impl Fn(&str) -> R + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = IbkrConfig::new(&format!("http://{}/v1/api", listener.local_addr().unwrap()));
        config.rest_spacing = Duration::ZERO;
        config.tickle_spacing = Duration::ZERO;
        config.account_list_spacing = Duration::ZERO;
        let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let Some(request) = Request::read(&mut socket).await else { continue };
                let below = request.line.replacen("/v1/api", "", 1);
                seen.lock().unwrap().push(request);
                answer(&below).into().send(&mut socket).await;
            }
        });
        Self { config, asked, task }
    }

    pub(crate) fn rest(&self) -> Rest {
        rest(&self.config)
    }

    /// What was asked since the last look.
    pub(crate) fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// How many requests have come since the last look, which this is not.
    pub(crate) fn asked_count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The lines of what was asked since the last look, below `/v1/api`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line.replacen("/v1/api", "", 1)).collect()
    }
}

pub(crate) fn rest(config: &IbkrConfig) -> Rest {
    Rest::new(config, config.checked().unwrap().api, &no_trust()).unwrap()
}
