//! The newest Greeks, from the book.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use greeks_model::{AccountId, SourceId};
use greeks_processor::book::LineFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Shared;
use crate::extract::{Params, Word};
use crate::line::LineDocument;
use crate::problem::Problem;
use crate::status::{DurableMark, Time};

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LatestParams {
    /// The broker.
    #[param(value_type = Option<String>, min_length = 1, max_length = 32, pattern = "^[a-z0-9_-]+$")]
    broker: Option<Word>,
    /// The account as the broker writes it.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[!-~]+$")]
    account_id: Option<Word>,
    /// The underlying.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    underlying: Option<Word>,
    /// The contract, such as `SPXW  261124P06650000`.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    contract_key: Option<Word>,
}

/// Open lines with their latest rows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatestDocument {
    /// The book's version: lines are at least as new.
    version: u64,
    /// The moment that ages and staleness are of.
    as_of: Time,
    /// How far rows are durable; lines may be newer.
    durable: Option<DurableMark>,
    /// In the order of underlying, contract, broker and account.
    lines: Vec<LineDocument>,
}

/// The open lines with their latest rows, as accepted: the database need not have them yet.
#[utoipa::path(get, path = "/v1/greeks/latest", tag = "greeks", params(LatestParams), responses(
    (status = 200, description = "The lines.", body = LatestDocument),
))]
pub(crate) async fn latest(
    State(shared): State<Arc<Shared>>,
    Params(params): Params<LatestParams>,
) -> Result<Json<LatestDocument>, Problem> {
    let now = shared.now();
    let broker = params.broker.map(|word| SourceId::new(&word.0)).transpose();
    let account_id = params.account_id.map(|word| AccountId::new(&word.0)).transpose();
    let filter = LineFilter {
        broker: broker.map_err(|error| Problem::bad_request(error.to_string()))?,
        account_id: account_id.map_err(|error| Problem::bad_request(error.to_string()))?,
        underlying: params.underlying.map(|word| word.0.into()),
        closed: false,
    };
    let key = params.contract_key.map(|word| word.0);
    let durable = shared.api.status.status(now).database.durable;
    let version = shared.api.book.version();
    let lines = shared.api.book.lines(&filter, now);
    // A key is text of this one form, so the text decides.
    let wanted = lines.iter().filter(|line| key.as_ref().is_none_or(|key| line.series.contract.to_string() == *key));
    Ok(Json(LatestDocument { version, as_of: Time(now), durable, lines: wanted.map(LineDocument::from).collect() }))
}
