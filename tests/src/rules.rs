//! The alert rules in `deploy/prometheus`, read as far as they are written: one key a line, long texts folded by `>-`.

/// An alert.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub alert: String,
    /// When it is one.
    pub expr: String,
    /// `critical` or `warning`.
    pub severity: String,
    /// What is wrong.
    pub summary: String,
    /// What to do.
    pub description: String,
}

/// Reads the rules.
///
/// # Panics
/// At a line that is in none of them.
pub fn read(text: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut folded = None;
    let body = text.lines().skip_while(|line| line.trim() != "rules:").skip(1);
    for line in body.filter(|line| !line.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(name) = line.strip_prefix("- alert: ") {
            rules.push(Rule { alert: name.to_owned(), ..Rule::default() });
            continue;
        }
        let rule = rules.last_mut().unwrap_or_else(|| panic!("before the first rule: {line}"));
        if folded.is_some_and(|key| indent > key) {
            rule.expr = format!("{} {line}", rule.expr).trim().to_owned();
            continue;
        }
        folded = None;
        match line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")) {
            ("expr", ">-") => folded = Some(indent),
            ("expr", expr) => expr.clone_into(&mut rule.expr),
            ("labels", labels) => {
                let severity = labels.strip_prefix("{ severity: ").and_then(|rest| rest.strip_suffix(" }"));
                severity.unwrap_or_default().clone_into(&mut rule.severity);
            }
            ("summary", words) => words.trim_matches('"').clone_into(&mut rule.summary),
            ("description", words) => words.trim_matches('"').clone_into(&mut rule.description),
            ("for" | "annotations", _) => {}
            (key, _) => panic!("no key of a rule: {key}"),
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_whole() {
        let text = "groups:\n  - name: g\n    rules:\n      - alert: A\n        expr: >-\n          sum(a)\n          > 0\n        for: 1m\n        \
                    labels: { severity: warning }\n        annotations:\n          summary: \"s: t\"\n          description: \"d\"\n";
        let texts = ["A", "sum(a) > 0", "warning", "s: t", "d"].map(str::to_owned);
        let [alert, expr, severity, summary, description] = texts;
        assert_eq!(read(text), [Rule { alert, expr, severity, summary, description }]);
    }
}
