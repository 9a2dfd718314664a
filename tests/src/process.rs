//! Processor time of processes, where the system tells it in `/proc`.

/// Linux counts processor time for programs in hundredths of a second, whatever its timer does (proc(5), USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time, user and system, that a process has used; `None` when it cannot be known.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    ticks(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Seconds of processor time that a process and those of its children that have ended have used.
pub fn cpu_seconds_of_ended(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(ticks(&stat)? + fields(&stat, 13)?)
}

/// What a process has in memory (proc(5), VmRSS).
pub fn resident_bytes(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? * 1024.0)
}

/// Fields 14 and 15 of `/proc/PID/stat`. The second, a name in brackets, may hold anything.
fn ticks(stat: &str) -> Option<f64> {
    fields(stat, 11)
}

/// The sum of two fields, counted from behind the name, in seconds.
fn fields(stat: &str, first: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(first);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let stat = "4242 (a) (b c) S 1 4242 4242 0 -1 4194560 900 0 0 0 150 25 0 0 20 0 4 0 1000 0 0";
        assert_eq!(ticks(stat), Some(1.75));
        let stat = "4242 (a) S 1 4242 4242 0 -1 4194560 900 0 0 0 150 25 30 20 20 0 4 0 1000 0 0";
        assert_eq!(fields(stat, 13), Some(0.5));
        assert!(resident_bytes(std::process::id()).is_none_or(|bytes| bytes > 1e5));
        assert_eq!(ticks("4242 (short) S 1"), None);
    }
}
