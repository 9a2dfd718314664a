//! `greekd portfolio`: the sums over the live book, asked of the greekd that runs.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::cli::{By, Output, PortfolioArgs};
use crate::exit::{Code, Failure, with_causes};
use crate::out;
use crate::settings::{Listen, Settings};
use crate::table::{self, Column, shown};

/// A daemon on this machine that takes longer has other troubles.
const PATIENCE: Duration = Duration::from_secs(10);

/// As in `/v1/portfolio`, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Portfolio {
    groups: Vec<Group>,
    total: Group,
    benchmark: String,
    unknown_betas: Vec<String>,
    not_included: Vec<NotIncluded>,
}

/// Open lines of one key; its fields are the columns of the CSV.
#[derive(Debug, Deserialize, Serialize)]
struct Group {
    key: String,
    lines: u32,
    covered: u32,
    stale: u32,
    #[serde(deserialize_with = "value")]
    delta: Option<f64>,
    #[serde(deserialize_with = "value")]
    delta_dollars: Option<f64>,
    #[serde(deserialize_with = "value")]
    beta_weighted_delta_dollars: Option<f64>,
    #[serde(deserialize_with = "value")]
    beta_weighted_delta: Option<f64>,
    #[serde(deserialize_with = "value")]
    gamma_1pct: Option<f64>,
    #[serde(deserialize_with = "value")]
    theta: Option<f64>,
    #[serde(deserialize_with = "value")]
    vega: Option<f64>,
    theta_vega: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct NotIncluded {
    contract_key: String,
    broker: String,
    reason: String,
}

fn value<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    struct Figure {
        value: Option<f64>,
    }
    Figure::deserialize(deserializer).map(|figure| figure.value)
}

pub(crate) async fn run(settings: &Settings, args: &PortfolioArgs) -> Result<ExitCode, Failure> {
    let by = match args.by {
        By::Underlying => "underlying",
        By::Expiry => "expiry",
        By::Account => "account",
        By::Broker => "broker",
    };
    let text = ask(settings, &format!("/v1/portfolio?group_by={by}")).await?;
    if is_simulated(&ask(settings, "/v1/streaming/status").await?) {
        tracing::warn!("SIMULATED: this is the book of a demo, no account is involved");
    }
    if args.output == Output::Json {
        out::say(text.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let portfolio: Portfolio = serde_json::from_str(&text)
        .map_err(|error| Failure::new(Code::Runtime, format!("the answer cannot be understood: {error}")))?;
    out::print(|stdout| match args.output {
        Output::Csv => csv(&portfolio, stdout),
        _ => for_eyes(&portfolio, by, stdout),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a status document says that nothing of this is real.
fn is_simulated(status: &str) -> bool {
    #[derive(Deserialize)]
    struct Status {
        simulated: bool,
    }
    serde_json::from_str(status).is_ok_and(|status: Status| status.simulated)
}

/// What the greekd that runs answers.
async fn ask(settings: &Settings, path: &str) -> Result<String, Failure> {
    let Listen::At(address) = settings.listen else {
        return Err(Failure::new(Code::Config, "GREEKD_LISTEN is off: there is nobody to ask")
            .remedy("give the address of the greekd that runs with --listen"));
    };
    // What listens everywhere is asked here.
    let address = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        _ => address,
    };
    let unanswered = |error: &reqwest::Error| {
        Failure::new(Code::Unavailable, format!("no greekd answers at {address}: {}", with_causes(error)))
            .remedy("start it, or give its address with --listen (GREEKD_LISTEN)")
    };
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    let client = client.map_err(|error| Failure::new(Code::Runtime, with_causes(&error)))?;
    let mut request = client.get(format!("http://{address}{path}"));
    if let Some(token) = &settings.http_token {
        request = request.bearer_auth(token.expose_secret());
    }
    let answer = request.send().await.map_err(|error| unanswered(&error))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| unanswered(&error))?;
    if status.is_success() {
        return Ok(text);
    }
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let why = serde_json::from_str(&text).map_or_else(|_| status.to_string(), |problem: Problem| problem.detail);
    let failure = Failure::new(Code::Unavailable, format!("greekd at {address} says: {why}"));
    Err(if status == reqwest::StatusCode::UNAUTHORIZED { failure.remedy("set GREEKD_HTTP_TOKEN") } else { failure })
}

fn for_eyes(portfolio: &Portfolio, by: &str, out: &mut impl Write) -> io::Result<()> {
    let columns: [Column; 10] = [
        (by_title(by), true),
        ("greeks", false),
        ("stale", false),
        ("delta", false),
        ("delta $", false),
        ("beta delta", false),
        ("gamma/1% $", false),
        ("theta/day $", false),
        ("vega/pt $", false),
        ("theta/vega", false),
    ];
    let line = |group: &Group| {
        [
            group.key.clone(),
            format!("{} of {}", group.covered, group.lines),
            group.stale.to_string(),
            shown(group.delta),
            shown(group.delta_dollars),
            shown(group.beta_weighted_delta),
            shown(group.gamma_1pct),
            shown(group.theta),
            shown(group.vega),
            shown(group.theta_vega),
        ]
    };
    let lines: Vec<_> = portfolio.groups.iter().chain([&portfolio.total]).map(line).collect();
    table::write(&columns, &lines, out)?;
    if !portfolio.unknown_betas.is_empty() {
        writeln!(
            out,
            "beta against {} unknown, left out of beta delta: {}",
            portfolio.benchmark,
            portfolio.unknown_betas.join(", ")
        )?;
    }
    for left_out in portfolio.not_included.iter().filter(|left_out| left_out.reason != "no_beta") {
        writeln!(out, "not in every sum: {} at {} ({})", left_out.contract_key, left_out.broker, left_out.reason)?;
    }
    Ok(())
}

fn by_title(by: &str) -> &'static str {
    match by {
        "expiry" => "days to expiry",
        "account" => "account",
        "broker" => "broker",
        _ => "underlying",
    }
}

fn csv(portfolio: &Portfolio, out: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    for group in portfolio.groups.iter().chain([&portfolio.total]) {
        writer.serialize(group).map_err(io::Error::other)?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"version":3,"group_by":"underlying","groups":[{"key":"SPX","lines":2,"covered":1,"stale":0,
        "delta":{"value":-25.0,"lines":1},"delta_dollars":{"value":null,"lines":0},
        "beta_weighted_delta_dollars":{"value":null,"lines":0},"beta_weighted_delta":{"value":null,"lines":0},
        "gamma_1pct":{"value":null,"lines":0},"theta":{"value":-12.5,"lines":1},"vega":{"value":100.0,"lines":1},
        "theta_vega":-0.125}],"total":{"key":"total","lines":2,"covered":1,"stale":0,
        "delta":{"value":-25.0,"lines":1},"delta_dollars":{"value":null,"lines":0},
        "beta_weighted_delta_dollars":{"value":null,"lines":0},"beta_weighted_delta":{"value":null,"lines":0},
        "gamma_1pct":{"value":null,"lines":0},"theta":{"value":-12.5,"lines":1},"vega":{"value":100.0,"lines":1},
        "theta_vega":-0.125},"benchmark":"SPY","unknown_betas":["SPX"],
        "not_included":[{"id":1,"broker":"ibkr","account_id":"U1","underlying":"SPX","contract_key":"K","quantity":1.0,
        "reason":"no_row"}]}"#;

    #[test]
    fn what_is_unknown_is_a_dash_and_said() {
        let portfolio: Portfolio = serde_json::from_str(ANSWER).unwrap();
        let mut out = Vec::new();
        for_eyes(&portfolio, "underlying", &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells, ["SPX", "1", "of", "2", "0", "-25.000", "-", "-", "-", "-12.500", "100.00", "-0.12500"]);
        assert!(text.contains("beta against SPY unknown, left out of beta delta: SPX"), "{text}");
        assert!(text.contains("not in every sum: K at ibkr (no_row)"), "{text}");
    }

    #[test]
    fn a_demo_is_told_from_a_real_book() {
        assert!(is_simulated(r#"{"version":"0.1.0","simulated":true,"sources":[]}"#));
        assert!(!is_simulated(r#"{"simulated":false}"#) && !is_simulated("{}"));
    }

    #[test]
    fn csv_leaves_unknown_empty() {
        let portfolio: Portfolio = serde_json::from_str(ANSWER).unwrap();
        let mut out = Vec::new();
        csv(&portfolio, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().nth(1), Some("SPX,2,1,0,-25.0,,,,,-12.5,100.0,-0.125"));
    }
}
