//! As much of PromQL as tells which metrics and labels an expression names.

use std::collections::{BTreeMap, BTreeSet};

/// Every series name of `/metrics` and the labels it has.
pub type Exposed = BTreeMap<String, BTreeSet<String>>;

/// Labels that a scrape adds to every metric.
const SCRAPED: [&str; 2] = ["instance", "job"];
/// Metrics that a scrape makes.
const OF_PROMETHEUS: [&str; 1] = ["up"];
/// Take labels in parentheses.
const CLAUSES: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];

/// Reads Prometheus' text format.
pub fn exposed(metrics: &str) -> Exposed {
    let mut exposed = Exposed::new();
    for line in metrics.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap_or((line, ""));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = split(labels).into_iter().zip(split(labels).into_iter().skip(1));
        let labels = labels.filter(|(_, next)| next == "=").map(|(label, _)| label);
        exposed.entry(name.to_owned()).or_default().extend(labels);
    }
    exposed
}

/// What an expression names that is not exposed. A label of a matcher must be of its metric, any other of some metric.
pub fn unknown(expression: &str, exposed: &Exposed) -> Vec<String> {
    let tokens = split(expression);
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let (mut unknown, mut grouped, mut known) =
        (Vec::new(), BTreeSet::new(), BTreeSet::from(SCRAPED.map(str::to_owned)));
    let mut at = 0;
    while at < tokens.len() {
        let name = token(at);
        at += 1;
        if !is_name(name) || OPERATORS.contains(&name) {
            continue;
        }
        if CLAUSES.contains(&name) {
            while at < tokens.len() && token(at) != ")" {
                grouped.extend(is_name(token(at)).then(|| token(at).to_owned()));
                at += 1;
            }
            continue;
        }
        // `rate(` and `sum by (le) (` are functions.
        if token(at) == "(" || CLAUSES.contains(&token(at)) {
            continue;
        }
        let none = BTreeSet::new();
        let labels = exposed.get(name).unwrap_or(&none);
        if !exposed.contains_key(name) && !OF_PROMETHEUS.contains(&name) {
            unknown.push(name.to_owned());
        }
        known.extend(labels.iter().cloned());
        if token(at) != "{" {
            continue;
        }
        while at < tokens.len() && token(at) != "}" {
            let label = token(at);
            if is_name(label) && !labels.contains(label) && !SCRAPED.contains(&label) {
                unknown.push(format!("{name}{{{label}}}"));
            }
            at += 1;
        }
    }
    unknown.extend(grouped.difference(&known).map(|label| format!("by ({label})")));
    unknown
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Names, numbers and single signs; what is in quotes or in brackets is left out.
fn split(expression: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut characters = expression.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => while characters.next().is_some_and(|c| c != '"') {},
            '[' => while characters.next().is_some_and(|c| c != ']') {},
            c if c.is_whitespace() => {}
            c if c.is_ascii_alphanumeric() || c == '_' => {
                let mut name = String::from(c);
                while let Some(next) = characters.next_if(|c| c.is_ascii_alphanumeric() || "_:.".contains(*c)) {
                    name.push(next);
                }
                tokens.push(name);
            }
            c => tokens.push(c.to_string()),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_found() {
        let metrics = "# HELP a_total x\na_total{source=\"x, y\",reason=\"z\"} 1\nb_bucket{le=\"+Inf\"} 2\nb_sum 3\n";
        let exposed = exposed(metrics);
        assert_eq!(exposed["a_total"], BTreeSet::from(["source".to_owned(), "reason".to_owned()]));
        for right in [
            r#"sum by (source) (rate(a_total{instance=~"$i", reason!="b{c}"}[5m])) > 0"#,
            r#"histogram_quantile(0.95, sum by (le) (rate(b_bucket{job="x"}[$__rate_interval]))) > 1e3"#,
            "absent(up{job=\"x\"}) or up == 0",
            "a_total > 0 and on (instance) b_sum > 0",
        ] {
            assert_eq!(unknown(right, &exposed), [""; 0], "{right}");
        }
        for (wrong, what) in [
            ("sum(rate(a_totals[5m]))", "a_totals"),
            ("b_count / b_sum", "b_count"),
            ("a_total{broker=\"x\"}", "a_total{broker}"),
            ("sum by (kind) (a_total)", "by (kind)"),
            ("up or c", "c"),
        ] {
            assert_eq!(unknown(wrong, &exposed), [what], "{wrong}");
        }
    }
}
