//! How the sources are doing, and their start and stop.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use greeks_model::SourceId;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::Shared;
use crate::extract::{JsonBody, Nothing, Params};
use crate::problem::Problem;
use crate::status::{ControlError, SourceDocument, StatusDocument};

/// Which source to start or stop.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceOrder {
    /// The broker's name, as in the status document.
    #[schema(min_length = 1, max_length = 32, pattern = "^[a-z0-9_-]+$")]
    broker: String,
}

/// How the program is doing.
#[utoipa::path(get, path = "/v1/streaming/status", tag = "sources", responses(
    (status = 200, description = "The status document.", body = StatusDocument),
))]
pub(crate) async fn status(
    State(shared): State<Arc<Shared>>,
    Params(Nothing {}): Params<Nothing>,
) -> Json<StatusDocument> {
    Json(shared.api.status.status(shared.now()))
}

/// Starts a source; one that runs goes on.
#[utoipa::path(post, path = "/v1/streaming/start", tag = "sources", request_body = SourceOrder, responses(
    (status = 200, description = "The source as it is now.", body = SourceDocument),
    (status = 404, description = "No such source is configured.", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The source cannot be started now.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn start(
    State(shared): State<Arc<Shared>>,
    Params(Nothing {}): Params<Nothing>,
    JsonBody(order): JsonBody<SourceOrder>,
) -> Result<Json<SourceDocument>, Problem> {
    let source = source(&order)?;
    shared.api.control.start(&source).await?;
    document(&shared, &source)
}

/// Stops a source; one that does not run stays so.
#[utoipa::path(post, path = "/v1/streaming/stop", tag = "sources", request_body = SourceOrder, responses(
    (status = 200, description = "The source as it is now.", body = SourceDocument),
    (status = 404, description = "No such source is configured.", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The source cannot be stopped now.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn stop(
    State(shared): State<Arc<Shared>>,
    Params(Nothing {}): Params<Nothing>,
    JsonBody(order): JsonBody<SourceOrder>,
) -> Result<Json<SourceDocument>, Problem> {
    let source = source(&order)?;
    shared.api.control.stop(&source).await?;
    document(&shared, &source)
}

fn source(order: &SourceOrder) -> Result<SourceId, Problem> {
    SourceId::new(&order.broker).map_err(|error| Problem::unprocessable(error.to_string()))
}

fn document(shared: &Shared, source: &SourceId) -> Result<Json<SourceDocument>, Problem> {
    let status = shared.api.status.status(shared.now());
    let found = status.sources.into_iter().find(|document| document.source == source.as_str());
    found.map(Json).ok_or_else(|| ControlError::UnknownSource { source_id: source.clone() }.into())
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::UnknownSource { .. } => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            ControlError::Refused { reason } => Self::new(StatusCode::CONFLICT, reason),
        }
    }
}
