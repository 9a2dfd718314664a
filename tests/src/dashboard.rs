//! Dashboards of Grafana as they lie in `deploy/grafana`.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The directory of what is installed beside the program.
pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// A dashboard.
#[derive(Debug)]
pub struct Dashboard(pub Value);

/// A panel that asks a datasource itself.
#[derive(Debug)]
pub struct Question<'a> {
    /// Where it is asked, for messages.
    pub place: String,
    /// The type of the panel.
    pub kind: &'a str,
    /// The query as Grafana keeps it.
    pub target: &'a Value,
}

impl Dashboard {
    /// Reads one.
    ///
    /// # Panics
    /// When it is not there or no JSON.
    pub fn read(name: &str) -> Self {
        let path = deploy().join("grafana").join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")))
    }

    /// Its panels, rows left out.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        list(&self.0["panels"]).iter().filter(|panel| panel["type"] != "row")
    }

    /// Every query of its panels.
    pub fn questions(&self) -> Vec<Question<'_>> {
        let of_panel = |panel| {
            let place = format!("panel {} {}", panel["id"], panel["title"]);
            let ask = move |target| Question { place: place.clone(), kind: text(&panel["type"]), target };
            list(&panel["targets"]).iter().filter(|target| target.get("panelId").is_none()).map(ask)
        };
        self.panels().flat_map(of_panel).collect()
    }

    /// What is wrong with its form: ids, places, units, descriptions and datasources of its panels, and its inputs.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |wrong: bool, what: String| faults.extend(wrong.then_some(what));
        let all = list(&self.0["panels"]);
        let input = format!("${{{}}}", text(&self.0["__inputs"][0]["name"]));
        fault(list(&self.0["__inputs"]).len() != 1, "one datasource is asked for at the import".into());
        for name in ["uid", "title", "description", "refresh"] {
            fault(text(&self.0[name]).is_empty(), format!("no {name}"));
        }
        fault(!self.0["id"].is_null(), "an id of somebody's own Grafana".into());
        fault(self.0["schemaVersion"].as_u64() < Some(39), "an old schema".into());
        for (number, panel) in all.iter().enumerate() {
            let place = format!("panel {} {}", panel["id"], panel["title"]);
            fault(panel["id"].as_u64().is_none(), format!("{place}: no id"));
            for other in all.iter().take(number) {
                fault(other["id"] == panel["id"], format!("{place}: its id is that of {}", other["title"]));
                fault(overlap(&other["gridPos"], &panel["gridPos"]), format!("{place}: lies over {}", other["title"]));
            }
            if panel["type"] == "row" {
                continue;
            }
            let shared = panel["datasource"]["uid"] == "-- Dashboard --";
            fault(!shared && panel["datasource"]["uid"] != *input, format!("{place}: datasource"));
            fault(text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), format!("{place}: no unit"));
            fault(text(&panel["description"]).is_empty(), format!("{place}: no description"));
            fault(list(&panel["targets"]).is_empty(), format!("{place}: no query"));
            for target in list(&panel["targets"]) {
                fault(target["datasource"] != panel["datasource"], format!("{place}: datasource of a query"));
                let known =
                    all.iter().any(|source| source["id"] == target["panelId"] && source["datasource"]["uid"] == *input);
                fault(shared && !known, format!("{place}: what it shares is not there"));
            }
        }
        faults
    }

    /// The panel whose answer this one shows: another one, or itself.
    pub fn source_of<'a>(&'a self, panel: &'a Value) -> &'a Value {
        let shared = &panel["targets"][0]["panelId"];
        self.panels().find(|source| !shared.is_null() && source["id"] == *shared).unwrap_or(panel)
    }
}

/// The columns that a panel of SQL names: in overrides, in what it shows of them, and in what it leaves of them.
pub fn columns(panel: &Value) -> Vec<&str> {
    let overrides = list(&panel["fieldConfig"]["overrides"]).iter().map(|one| text(&one["matcher"]["options"]));
    let shown = text(&panel["options"]["reduceOptions"]["fields"]).trim_start_matches("/^").trim_end_matches("$/");
    let kept = list(&panel["transformations"]).iter().flat_map(|one| list(&one["options"]["include"]["names"]));
    // What Grafana calls the column of times.
    let kept = kept.map(text).filter(|name| *name != "Time");
    overrides.chain([shown]).chain(kept).filter(|name| !name.is_empty()).collect()
}

/// What stands for what in a query: the time range, and the choice of brokers and accounts.
#[derive(Debug)]
pub struct Choice<'a> {
    /// Beginning and end of the time range, as Grafana writes them.
    pub range: (&'a str, &'a str),
    /// Brokers, as SQL.
    pub brokers: &'a str,
    /// Accounts, as SQL.
    pub accounts: &'a str,
}

impl Choice<'_> {
    /// The query as Grafana sends it.
    ///
    /// # Panics
    /// When something in it is left that it would have replaced.
    pub fn sql(&self, raw: &str) -> String {
        let (from, to) = self.range;
        let mut sql = raw
            .replace("$__timeFrom()", &format!("'{from}'"))
            .replace("$__timeTo()", &format!("'{to}'"))
            .replace("$__interval_ms", "60000")
            .replace("$broker", self.brokers)
            .replace("$account", self.accounts);
        while let Some((before, rest)) = sql.split_once("$__timeFilter(") {
            let (column, after) = rest.split_once(')').expect("an end of the macro");
            sql = format!("{before}{column} BETWEEN '{from}' AND '{to}'{after}");
        }
        assert!(!sql.contains('$'), "what is this? {sql}");
        sql
    }
}

/// An array, or nothing.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text, or nothing.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn overlap(a: &Value, b: &Value) -> bool {
    let number = |place: &Value, name: &str| place[name].as_u64().unwrap_or_default();
    let apart = |start: &str, size: &str| {
        number(a, start) + number(a, size) <= number(b, start) || number(b, start) + number(b, size) <= number(a, start)
    };
    !apart("x", "w") && !apart("y", "h")
}
