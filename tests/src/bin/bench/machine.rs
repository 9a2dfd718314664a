//! What a reader must know of the machine.

use greekd_tests::cluster::Cluster;

use crate::Result;

/// How busy the machine is: processes that run or wait to, over the last minute.
pub(crate) fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// One line: cores, load `before` and now, the profile, the server.
pub(crate) async fn line(cluster: &Cluster, before: Option<f64>) -> Result<String> {
    let version = cluster.connect("postgres").await.client.query_one("SHOW server_version", &[]).await?;
    let version: &str = version.get(0);
    // Debian says more than the number.
    let postgres = version.split_whitespace().next().unwrap_or(version);
    Ok(format!("{}, PostgreSQL {postgres}", bare_line(before)))
}

/// The same where there is no server.
pub(crate) fn bare_line(before: Option<f64>) -> String {
    let cores = std::thread::available_parallelism().map_or_else(|_| "? cores".into(), |n| format!("{n} cores"));
    let shown = |load: Option<f64>| load.map_or_else(|| "?".into(), |load| format!("{load:.1}"));
    let (before, after) = (shown(before), shown(load()));
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    format!("{cores}, load {before} before and {after} after, {profile} profile")
}
