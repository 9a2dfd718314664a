//! What a reader must know of the machine.

/// How busy the machine is: processes that run or wait to, over the last minute.
pub(crate) fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// One line: cores, load before and after, the profile, the server.
pub(crate) fn line(postgres: &str, before: Option<f64>, after: Option<f64>) -> String {
    // Debian says more than the number.
    let postgres = postgres.split_whitespace().next().unwrap_or(postgres);
    format!("{}, PostgreSQL {postgres}", bare_line(before, after))
}

/// The same where there is no server.
pub(crate) fn bare_line(before: Option<f64>, after: Option<f64>) -> String {
    let cores = std::thread::available_parallelism().map_or_else(|_| "? cores".into(), |n| format!("{n} cores"));
    let load = |load: Option<f64>| load.map_or_else(|| "?".into(), |load| format!("{load:.1}"));
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    format!("{cores}, load {} before and {} after, {profile} profile", load(before), load(after))
}
