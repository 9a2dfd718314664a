//! What a page's thread computes, task by task. By the clock a task is as long as the machine is busy; this is not.

use std::time::Duration;

use serde_json::{Value, json};

use super::page::Page;
use crate::wait::until;

/// For the browser to hand over what it has noted.
const HANDED_OVER: Duration = Duration::from_secs(60);

/// Tells the page's thread from those of other pages.
const MARK: &str = "greekd-tests";

impl Page {
    /// Begins to take note of tasks.
    pub async fn note_tasks(&self) {
        let config = json!({"includedCategories": ["toplevel", "blink.user_timing"], "excludedCategories": ["*"]});
        self.call("Tracing.start", json!({"transferMode": "ReportEvents", "traceConfig": config})).await;
        self.eval(&format!("performance.mark('{MARK}') && true")).await;
    }

    /// The processor time of each task of the page's thread since then in milliseconds, the longest first.
    ///
    /// # Panics
    /// When the browser does not tell.
    pub async fn tasks(&self) -> Vec<f64> {
        self.call("Tracing.end", json!({})).await;
        until("the notes are there", HANDED_OVER, async || {
            (!self.wire.take(&self.session, "Tracing.tracingComplete").is_empty()).then_some(())
        })
        .await;
        let parts = self.wire.take(&self.session, "Tracing.dataCollected");
        let events: Vec<&Value> =
            parts.iter().filter_map(|part| part["params"]["value"].as_array()).flatten().collect();
        let marked = events.iter().find(|event| event["name"] == MARK).expect("the page's thread");
        let own = |event: &&&Value| event["pid"] == marked["pid"] && event["tid"] == marked["tid"];
        let of_a_task = |event: &&Value| {
            let micros = event["tdur"].as_f64().filter(|_| event["name"] == "ThreadControllerImpl::RunTask")?;
            Some(micros / 1_000.0)
        };
        let mut tasks: Vec<f64> = events.iter().filter(own).filter_map(of_a_task).collect();
        tasks.sort_by(|a, b| b.total_cmp(a));
        tasks
    }
}
