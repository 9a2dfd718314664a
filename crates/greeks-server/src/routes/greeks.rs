//! L
use axum::Json;
#[utoipa::path(get, path = "/v1/greeks/latest", responses((status=200)))]
pub(crate) async fn latest() -> Json<()> { Json(()) }
