//! Sums over the book.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::Shared;
use crate::extract::Params;
use crate::portfolio::PortfolioDocument;
use crate::view::GroupBy;

/// How to group.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PortfolioParams {
    /// By what the lines are grouped.
    #[serde(default)]
    #[param(required = false, inline)]
    group_by: GroupBy,
}

/// Sums over the book, in groups and in all, with what is missing from them.
#[utoipa::path(get, path = "/v1/portfolio", tag = "portfolio", params(PortfolioParams), responses(
    (status = 200, description = "The sums.", body = PortfolioDocument),
))]
pub(crate) async fn portfolio(
    State(shared): State<Arc<Shared>>,
    Params(params): Params<PortfolioParams>,
) -> Json<PortfolioDocument> {
    Json(PortfolioDocument::read(&shared.api.book, params.group_by, shared.now()))
}
