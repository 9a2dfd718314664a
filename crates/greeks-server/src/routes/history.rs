//! L
use axum::Json;
#[utoipa::path(get, path = "/v1/history", responses((status=200)))]
pub(crate) async fn history() -> Json<()> { Json(()) }
