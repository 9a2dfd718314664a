//! L
use axum::Json;
#[utoipa::path(get, path = "/v1/trades", responses((status=200)))]
pub(crate) async fn list() -> Json<()> { Json(()) }
#[utoipa::path(post, path = "/v1/trades", responses((status=200)))]
pub(crate) async fn add() -> Json<()> { Json(()) }
