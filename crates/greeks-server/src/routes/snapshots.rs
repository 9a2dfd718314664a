//! Stored rows, page by page.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use greeks_store::{SnapshotFilter, SnapshotRow};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::api::Shared;
use crate::extract::{Params, Word, check_stretch};
use crate::line::number;
use crate::problem::Problem;
use crate::status::{Day, Time};

/// Which stored rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SnapshotParams {
    /// The broker.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    broker: Option<Word>,
    /// The account as the broker writes it.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    account_id: Option<Word>,
    /// The contract, such as `SPXW  261124P06650000`.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    contract_key: Option<Word>,
    /// The underlying.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    underlying: Option<Word>,
    /// `event_time` from this on.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Time>,
    /// `event_time` before this.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Time>,
    /// At most so many rows.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 10_000, default = 100, required = false)]
    limit: u32,
    /// `next_cursor` of the page before.
    #[param(pattern = "^-?[0-9]{1,18}\\.[0-9]{1,19}$")]
    cursor: Option<String>,
}

fn default_limit() -> u32 {
    SnapshotFilter::default().limit
}

/// Some rows, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotsDocument {
    rows: Vec<SnapshotDocument>,
    /// Where the next page begins; null after the last one.
    next_cursor: Option<String>,
}

/// One row of `greek_snapshots`; null is what the broker did not know.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotDocument {
    /// The broker's time of the value.
    event_time: Time,
    /// When the frame was read from the socket.
    received_at: Time,
    /// The database's time of the transaction that stored the row.
    persisted_at: Time,
    broker: String,
    /// As the broker writes it.
    account_id: String,
    underlying: String,
    contract_key: String,
    expiration: Day,
    strike: f64,
    /// `C` or `P`.
    option_type: String,
    /// Contracts held, negative when short.
    quantity: f64,
    /// Money per 1.00 of the option's price and contract.
    multiplier: f64,
    /// Per 1.00 of the underlying.
    delta: Option<f64>,
    /// Per 1.00 of the underlying.
    gamma: Option<f64>,
    /// Per calendar day.
    theta: Option<f64>,
    /// Per 1 volatility point.
    vega: Option<f64>,
    /// Per 1 % of rate.
    rho: Option<f64>,
    /// As a fraction.
    implied_volatility: Option<f64>,
    option_price: Option<f64>,
    underlying_price: Option<f64>,
    /// Bits: 1 some Greek computed, 2 late, 4 first value after (re)connect, 8 delayed data, 16 frozen, 32 event_time
    /// substituted, 64 a non-finite value became null, 128 doubtful IV scale.
    flags: u16,
    /// The raw message, if it was kept.
    #[schema(value_type = Option<Object>)]
    source_payload: Option<Box<RawValue>>,
}

/// Stored rows, newest first. A cursor stays right while rows are added.
#[utoipa::path(get, path = "/v1/greeks/snapshots", tag = "greeks", params(SnapshotParams), responses(
    (status = 200, description = "A page of rows.", body = SnapshotsDocument),
    (status = 503, description = "The database does not answer.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn snapshots(
    State(shared): State<Arc<Shared>>,
    Params(params): Params<SnapshotParams>,
) -> Result<Json<SnapshotsDocument>, Problem> {
    let filter = filter(params)?;
    let page = shared.ask(shared.api.queries.snapshots(&filter)).await?;
    let next_cursor = page.next.map(|cursor| cursor.to_string());
    Ok(Json(SnapshotsDocument { rows: page.rows.into_iter().map(Into::into).collect(), next_cursor }))
}

fn filter(params: SnapshotParams) -> Result<SnapshotFilter, Problem> {
    check_stretch(params.from, params.to)?;
    if !(1..=SnapshotFilter::MAX_LIMIT).contains(&params.limit) {
        return Err(Problem::bad_request(format!("limit is 1 to {}", SnapshotFilter::MAX_LIMIT)));
    }
    let cursor = params.cursor.map(|text| text.parse()).transpose();
    let mut filter = SnapshotFilter::default();
    filter.cursor = cursor.map_err(|error: greeks_store::InvalidCursor| Problem::bad_request(error.to_string()))?;
    filter.broker = params.broker.map(|word| word.0);
    filter.account_id = params.account_id.map(|word| word.0);
    filter.contract_key = params.contract_key.map(|word| word.0);
    filter.underlying = params.underlying.map(|word| word.0);
    filter.from = params.from.map(|at| at.0);
    filter.to = params.to.map(|at| at.0);
    filter.limit = params.limit;
    Ok(filter)
}

impl From<SnapshotRow> for SnapshotDocument {
    fn from(row: SnapshotRow) -> Self {
        Self {
            event_time: Time(row.event_time),
            received_at: Time(row.received_at),
            persisted_at: Time(row.persisted_at),
            broker: row.broker,
            account_id: row.account_id,
            underlying: row.underlying,
            contract_key: row.contract_key,
            expiration: Day(row.expiration),
            strike: number(row.strike),
            option_type: row.option_type,
            quantity: row.quantity,
            multiplier: number(row.multiplier),
            delta: row.delta,
            gamma: row.gamma,
            theta: row.theta,
            vega: row.vega,
            rho: row.rho,
            implied_volatility: row.implied_volatility,
            option_price: row.option_price,
            underlying_price: row.underlying_price,
            flags: row.flags.bits(),
            source_payload: row.source_payload.and_then(|text| RawValue::from_string(text).ok()),
        }
    }
}
