//! L
use axum::Json;
#[utoipa::path(get, path = "/v1/portfolio", responses((status=200)))]
pub(crate) async fn portfolio() -> Json<()> { Json(()) }
