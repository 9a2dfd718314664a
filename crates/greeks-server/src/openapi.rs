//! The interface described for programs: OpenAPI.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{self as model, Content, Ref, RefOr, Response, Tag};
use utoipa::{Modify, OpenApi};

use crate::extract::{Nothing, Params};
use crate::problem::Problem;
use crate::{routes, status};

const PROBLEM: &str = "application/problem+json";

/// What any operation can answer besides what is its own.
const ANY: [(&str, &str); 5] = [
    ("400", "The query string, a header or the body is not as described."),
    ("401", "A token is needed."),
    ("403", "The Host or the Origin of the request is refused, or the database user lacks a right."),
    ("405", "The path is there for other methods: see the header Allow."),
    ("503", "Too many connections are open."),
];

/// What an operation with a body can answer besides.
const WITH_BODY: [(&str, &str); 4] = [
    ("408", "The body took too long."),
    ("413", "The body is too large."),
    ("415", "The body is not sent as application/json."),
    ("422", "The body is JSON of another form than described."),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "greeks",
        description = "Live Greeks of option positions, over all brokers. Times are RFC 3339 in UTC; null is unknown, never zero. Greeks of a line are per one unit of the contract: delta per 1.00 of the underlying, gamma per 1.00, theta per calendar day, vega per 1 volatility point, rho per 1 % of rate, implied volatility as a fraction. Figures of a group are position-signed: value x quantity x multiplier.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        routes::home::home,
        routes::health::healthz,
        routes::health::readyz,
        routes::metrics::metrics,
        openapi,
        routes::status::status,
        routes::status::start,
        routes::status::stop,
        routes::greeks::latest,
        routes::snapshots::snapshots,
        routes::portfolio::portfolio,
        routes::history::history,
        routes::trades::list,
        routes::trades::add,
        routes::stream::stream,
    ),
    components(schemas(
        Problem,
        status::Alert,
        routes::stream::SnapshotEvent,
        routes::stream::DeltaEvent,
        routes::stream::PingEvent,
    )),
    modifiers(&Common),
)]
struct Document;

struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut model::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let cookie =
            ApiKey::Cookie(ApiKeyValue::with_description("greeks_<port>", "Given for /?token=.. by a browser."));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
        let tags = ["greeks", "portfolio", "trades", "sources", "stream", "operations"];
        document.tags = Some(tags.into_iter().map(Tag::new).collect());
        for (path, item) in &mut document.paths.paths {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                describe(path, operation);
            }
        }
    }
}

fn describe(path: &str, operation: &mut Operation) {
    let open = path == "/healthz";
    let body = operation.request_body.is_some();
    let answers = ANY.iter().filter(|(status, _)| !(open && *status == "401"));
    for (status, description) in answers.chain(WITH_BODY.iter().filter(|_| body)) {
        let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
        let response = Response::builder().description(*description).content(PROBLEM, content).build();
        operation.responses.responses.entry((*status).to_owned()).or_insert(RefOr::T(response));
    }
    if !open {
        // Either of them; neither where no token is set.
        let one = |name: &str| model::security::SecurityRequirement::new::<_, [&str; 0], &str>(name, []);
        operation.security = Some(vec![one("bearer"), one("cookie"), model::security::SecurityRequirement::default()]);
    }
}

/// The description of the interface.
pub(crate) fn document() -> model::OpenApi {
    Document::openapi()
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses(
    (status = 200, description = "The description of this interface.", body = Object, content_type = "application/json"),
))]
pub(crate) async fn openapi(Params(Nothing {}): Params<Nothing>) -> impl IntoResponse {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| document().to_json().unwrap_or_default().into());
    ([(CONTENT_TYPE, "application/json")], TEXT.clone())
}
