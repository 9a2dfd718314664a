//! Processor time of processes, where the system tells it in `/proc`.

/// Linux counts processor time for programs in hundredths of a second, whatever its timer does (proc(5), USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time, user and system, that a process has used; `None` when it cannot be known.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    ticks(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields 14 and 15 of `/proc/PID/stat`. The second, a name in brackets, may hold anything.
fn ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
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
        assert_eq!(ticks("4242 (short) S 1"), None);
    }
}
