//! Whether the program runs, and whether it is ready.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Shared;
use crate::extract::{Nothing, Params};
use crate::problem::Problem;

/// The program runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// Everything is ready.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Always true: otherwise the answer is 503.
    ready: bool,
}

/// Answers while the program's loop turns; needs no token.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, description = "The program runs.", body = Health)))]
pub(crate) async fn healthz(Params(Nothing {}): Params<Nothing>) -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether sources, database and journal are as they should be; if not, which is not and why.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses(
    (status = 200, description = "All is ready.", body = Readiness),
    (status = 503, description = "Something is not ready: `components` says what and why.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn readyz(
    State(shared): State<Arc<Shared>>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Json<Readiness>, Problem> {
    let missing = shared.api.status.status(shared.now()).not_ready();
    if missing.is_empty() { Ok(Json(Readiness { ready: true })) } else { Err(Problem::not_ready(missing)) }
}
