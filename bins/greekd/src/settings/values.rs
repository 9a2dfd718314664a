//! What a value may look like: lists, names, numbers, times and sizes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::LogFormat;
use super::layers::Layers;
use crate::exit::{Code, Failure};

/// A list of accounts; `all` is none.
pub(super) fn accounts(layers: &Layers, name: &str) -> Result<Option<Vec<String>>, Failure> {
    let accounts = layers.parse(name, "write account numbers separated by commas, or all", |text| {
        let numbers = text.split(',').map(str::trim).filter(|number| !number.is_empty()).map(str::to_owned);
        let numbers: Vec<String> = numbers.collect();
        (!numbers.is_empty()).then_some(numbers)
    })?;
    Ok(accounts.filter(|numbers| *numbers != ["all"]))
}

/// Names of hosts, each with a port or without.
pub(super) fn hosts(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    let is_host = |name: &String| !name.is_empty() && name.chars().all(plain);
    names.iter().all(is_host).then_some(names)
}

/// The table `[beta]`, and nothing that is no number.
pub(super) fn betas(layers: &Layers) -> Result<HashMap<Arc<str>, f64>, Failure> {
    let beta = |(symbol, text): (&str, &str)| match text.parse::<f64>() {
        Ok(beta) if beta.is_finite() && beta.abs() <= 100.0 => Ok((symbol.into(), beta)),
        _ => Err(Failure::new(Code::Config, format!("the beta of {symbol} is not a number a beta can be: {text}"))
            .remedy("write it like SPX = 1.0 in the table [beta]")),
    };
    layers.betas().map(beta).collect()
}

/// By the names that the flag takes.
pub(super) fn log_format(text: &str) -> Option<LogFormat> {
    <LogFormat as clap::ValueEnum>::from_str(text, false).ok()
}

pub(super) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// A number that can be a yearly rate; `4` is meant to be 4 %, and is not.
pub(super) fn yearly_rate(text: &str) -> Option<f64> {
    text.parse().ok().filter(|rate| (-0.1..=0.5).contains(rate))
}

pub(super) fn duration(text: &str) -> Option<Duration> {
    let parsed: jiff::SignedDuration = text.trim().parse().ok()?;
    let duration = Duration::try_from(parsed).ok()?;
    (!duration.is_zero() && duration <= Duration::from_secs(3600)).then_some(duration)
}

pub(super) fn sync_window(text: &str) -> Option<Duration> {
    duration(text).filter(|window| *window <= Duration::from_secs(1))
}

/// `8GiB`, `512 MiB`, `200MB` or a number of bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "tib" | "t" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes >= 1 << 20)
}

/// `100`, `100/s`, `100/s,25` or `100/s, burst 25`.
pub(super) fn commit_rate(text: &str) -> Option<(u32, u32)> {
    let (rate, burst) = text.split_once(',').unwrap_or((text, ""));
    let rate: u32 = rate.trim().trim_end_matches("/s").trim_end().parse().ok()?;
    let burst = burst.trim().trim_start_matches("burst").trim_start();
    let burst: u32 = if burst.is_empty() { rate.div_ceil(4) } else { burst.parse().ok()? };
    ((1..=10_000).contains(&rate) && (1..=10_000).contains(&burst)).then_some((rate, burst))
}
