//! What lies in `deploy/`, and its dashboards as Grafana reads them.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// A file of `deploy/`.
///
/// # Panics
/// When it is not there.
pub fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A dashboard.
///
/// # Panics
/// When it is not there or no JSON.
pub fn dashboard(name: &str) -> Value {
    serde_json::from_str(&file(&format!("grafana/greekd-{name}.json"))).expect("JSON")
}

/// An array, or nothing.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text, or nothing.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// As Grafana asks for the last six hours: macros and variables are text.
///
/// # Panics
/// When something in it is left that Grafana would have replaced.
pub fn as_grafana_asks(sql: &str, broker: &str, account: &str) -> String {
    let now = jiff::Timestamp::now();
    // Grafana cuts times; what was stored just now is to be seen.
    let (from, to) = (now - Duration::from_hours(6), now + Duration::from_secs(1));
    let mut sql = sql.replace("$__timeFrom()", &format!("'{from:.0}'")).replace("$__timeTo()", &format!("'{to:.0}'"));
    while let Some((before, rest)) = sql.split_once("$__timeFilter(") {
        let (column, after) = rest.split_once(')').expect("an end of the macro");
        sql = format!("{before}{column} BETWEEN '{from:.0}' AND '{to:.0}'{after}");
    }
    let sql = sql.replace("$__interval_ms", "60000").replace("$broker", broker).replace("$account", account);
    assert!(!sql.contains('$'), "{sql}");
    sql
}

/// Everything asked of PostgreSQL: what asks, in which form (`time_series`, `table`), and the query.
pub fn asked_of_postgres(dashboard: &Value) -> Vec<(String, String, String)> {
    let mut asked = Vec::new();
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]).iter().filter(|target| target.get("rawSql").is_some()) {
            asked.push((
                text(panel, "/title").to_owned(),
                text(target, "/format").to_owned(),
                text(target, "/rawSql").to_owned(),
            ));
        }
    }
    for target in list(&dashboard["annotations"]["list"]).iter().map(|a| &a["target"]).filter(|t| t.is_object()) {
        asked.push(("annotation".to_owned(), text(target, "/format").to_owned(), text(target, "/rawSql").to_owned()));
    }
    for variable in list(&dashboard["templating"]["list"]) {
        asked.push((text(variable, "/name").to_owned(), "table".to_owned(), text(variable, "/query").to_owned()));
    }
    asked
}
