//! The endpoints.

pub(crate) mod greeks;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod home;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod portfolio;
pub(crate) mod snapshots;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod trades;

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::{MethodRouter, get, post};

use crate::api::Shared;
use crate::openapi;
use crate::problem::Problem;

/// Every path with what answers it.
fn table() -> Vec<(&'static str, MethodRouter<Arc<Shared>>)> {
    vec![
        ("/", get(home::home)),
        ("/healthz", get(health::healthz)),
        ("/readyz", get(health::readyz)),
        ("/metrics", get(metrics::metrics)),
        ("/openapi.json", get(openapi::openapi)),
        ("/v1/streaming/status", get(status::status)),
        ("/v1/streaming/start", post(status::start)),
        ("/v1/streaming/stop", post(status::stop)),
        ("/v1/greeks/latest", get(greeks::latest)),
        ("/v1/greeks/snapshots", get(snapshots::snapshots)),
        ("/v1/portfolio", get(portfolio::portfolio)),
        ("/v1/history", get(history::history)),
        ("/v1/trades", get(trades::list).post(trades::add)),
        ("/v1/stream", get(stream::stream)),
    ]
}

/// Answers every request, also one for what is not there. The page's files are no interface and are not described.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let routes = table().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    let routes = routes.route("/page/{*file}", get(page::file));
    routes.method_not_allowed_fallback(no_such_method).fallback(nothing_there).with_state(shared)
}

async fn nothing_there(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(128).collect();
    Problem::new(StatusCode::NOT_FOUND, format!("there is no {path}: see /openapi.json"))
}

async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the path is there for other methods: see the header Allow")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_path_is_described_and_no_other() {
        let document = openapi::document();
        let described: BTreeSet<&str> = document.paths.paths.keys().map(String::as_str).collect();
        let there: BTreeSet<&str> = table().into_iter().map(|(path, _)| path).collect();
        assert_eq!(described, there);
    }
}
