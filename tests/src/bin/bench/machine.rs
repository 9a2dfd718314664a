//! What a reader must know of the machine.

/// How busy the machine is: processes that run or wait to, over the last minute.
pub(crate) fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// One line: cores, load before and after, the server, the profile.
pub(crate) fn line(postgres: &str, before: Option<f64>, after: Option<f64>) -> String {
    let cores = std::thread::available_parallelism().map_or_else(|_| "? cores".into(), |n| format!("{n} cores"));
    let load = |load: Option<f64>| load.map_or_else(|| "?".into(), |load| format!("{load:.1}"));
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    // Debian says more than the number.
    let postgres = postgres.split_whitespace().next().unwrap_or(postgres);
    format!("{cores}, load {} before and {} after, PostgreSQL {postgres}, {profile} profile", load(before), load(after))
}
