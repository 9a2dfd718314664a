//! Answers that a client did not hope for.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::refusal;
use crate::tasty::faults::{RestFaults, Wrongness, use_up};

/// What a request for `path` gets instead of the right answer, if anything; one use of it is used up.
pub(super) fn answer(faults: &mut RestFaults, path: &str) -> Option<Wrongness> {
    let mut fitting = faults.answers.iter_mut().filter(|wrong| path.contains(&wrong.path));
    fitting.find_map(|wrong| use_up(&mut wrong.times).then_some(wrong.how))
}

/// The answer; `None` when it is the right one, late.
pub(super) fn response(wrongness: Wrongness) -> Option<Response> {
    let status = |code| StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Some(match wrongness {
        Wrongness::Status(code) => {
            let (name, text) = match code {
                401 => ("token_invalid", "This token is invalid or has expired"),
                404 => ("not_found", "Resource not found"),
                _ => ("internal_error", "Something went wrong"),
            };
            refusal(status(code), name, text)
        }
        Wrongness::Html(code) => {
            let page = format!("<html><body><h1>{}</h1></body></html>", status(code));
            (status(code), Html(page)).into_response()
        }
        Wrongness::TooMany(seconds) => {
            let refusal = refusal(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Slow down");
            ([(header::RETRY_AFTER, seconds.to_string())], refusal).into_response()
        }
        Wrongness::Late(_) => return None,
    })
}
