//! What a browser sees that calls the server without a path.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::extract::Params;

const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>greeks</title>\n\
    <h1>Live option Greeks</h1>\n<ul>\n\
    <li><a href=\"/v1/portfolio\">the portfolio</a></li>\n\
    <li><a href=\"/v1/greeks/latest\">the newest Greeks</a></li>\n\
    <li><a href=\"/v1/streaming/status\">how the sources are doing</a></li>\n\
    <li><a href=\"/openapi.json\">the whole interface</a></li>\n</ul>\n</html>\n";

/// Parameters of the page.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HomeParams {
    /// Set once in a browser: it is exchanged for a cookie by a 303 to the page without it.
    #[allow(dead_code, reason = "it has been looked at before the request gets here")]
    token: Option<String>,
}

/// Where the interface is described.
#[utoipa::path(get, path = "/", tag = "operations", params(HomeParams), responses(
    (status = 200, description = "A page with links.", body = String, content_type = "text/html"),
    (status = 303, description = "The token was right and is a cookie now."),
))]
pub(crate) async fn home(_: Params<HomeParams>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], PAGE)
}
