//! The page that a person keeps open.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::extract::Params;

/// Parameters of the page.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HomeParams {
    /// Set once in a browser: it is exchanged for a cookie by a 303 to the page without it.
    #[allow(dead_code, reason = "it has been looked at before the request gets here")]
    token: Option<String>,
}

/// The live book as a page.
#[utoipa::path(get, path = "/", tag = "operations", params(HomeParams), responses(
    (status = 200, description = "The page.", body = String, content_type = "text/html"),
    (status = 303, description = "The token was right and is a cookie now."),
))]
pub(crate) async fn home(_: Params<HomeParams>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], include_str!("../../page/index.html"))
}
