//! The files of the page. They are part of the program: it needs no others, and no other machine.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ring::digest;

use crate::extract::{Nothing, Params};
use crate::problem::Problem;
use crate::routes;

macro_rules! files {
    ($($kind:literal: $($name:literal)+;)+) => {
        [$($(($name, $kind, include_bytes!(concat!("../../page/", $name)).as_slice())),+),+]
    };
}

/// A file as it is sent.
struct File {
    kind: &'static str,
    content: &'static [u8],
    etag: String,
}

static FILES: LazyLock<HashMap<&'static str, File>> = LazyLock::new(|| {
    let files = files! {
        "text/javascript; charset=utf-8":
            "alerts.js" "bars.js" "book.js" "chips.js" "columns.js" "dom.js" "export.js" "format.js" "history.js" "main.js"
            "missing.js" "prefs.js" "rows.js" "spark.js" "stream.js" "table.js" "theme.js" "tiles.js" "vendor/uPlot.iife.min.js";
        "text/css; charset=utf-8": "style.css" "vendor/uPlot.min.css";
        "image/svg+xml": "icon.svg";
        "text/plain; charset=utf-8": "vendor/uPlot.LICENSE";
    };
    files.into_iter().map(|(name, kind, content)| (name, File { kind, content, etag: etag(content) })).collect()
});

/// One of the files; a browser keeps it and asks whether it is still the same.
pub(crate) async fn file(
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Response, Problem> {
    let Some(file) = FILES.get(name.as_str()) else { return Err(routes::nothing_there(uri).await) };
    let kept = headers.get(IF_NONE_MATCH).is_some_and(|kept| kept.as_bytes() == file.etag.as_bytes());
    let headers = [(ETAG, file.etag.as_str()), (CACHE_CONTROL, "no-cache"), (CONTENT_TYPE, file.kind)];
    Ok(if kept { (StatusCode::NOT_MODIFIED, headers).into_response() } else { (headers, file.content).into_response() })
}

fn etag(content: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, content);
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}
