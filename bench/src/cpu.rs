//! What a process has used, read from `/proc`: CPU time and resident memory. And on which CPU it runs.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// Field of `/proc/PID/stat` that holds the user time, counted from the one behind the command's name.
const STAT_UTIME: usize = 11;

/// CPU time that all living threads of a process have had so far.
///
/// The scheduler's own account has nanoseconds; a kernel without it leaves the clock ticks of `/proc/PID/stat`, which
/// are too coarse for short rounds.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    match scheduler_time(pid) {
        Some(time) => Ok(time),
        None => tick_time(pid),
    }
}

/// The sum of the running times in `/proc/PID/task/*/schedstat`.
fn scheduler_time(pid: u32) -> Option<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end between the listing and the reading.
        if let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) {
            nanos += number::<u64>(text.split_ascii_whitespace().next())?;
        }
    }
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

/// User and system time of `/proc/PID/stat`.
fn tick_time(pid: u32) -> Result<Duration> {
    let text = read(pid, "stat")?;
    // The name in parentheses may contain blanks; what follows it does not.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_ascii_whitespace().skip(STAT_UTIME);
    let user = number::<u64>(fields.next()).context("no user time in stat")?;
    let system = number::<u64>(fields.next()).context("no system time in stat")?;
    let ticks_per_second = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(Duration::from_secs_f64(
        (user + system) as f64 / ticks_per_second as f64,
    ))
}

/// The CPU that only the programs run on that are measured.
static MEASURED: OnceLock<usize> = OnceLock::new();

/// Leaves the last CPU to the programs that are measured, if there is more than one. To be called before any thread
/// starts.
///
/// Packets wake their receiver on the CPU of their sender. Where both share one, each send ends in a switch of tasks or
/// not as chance has it, and the figures of one program differ by half.
pub fn leave_last() -> Result<()> {
    let this = Pid::from_raw(0);
    let mut allowed = sched_getaffinity(this)?;
    let mut members = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    if let (Some(_), Some(last)) = (members.next(), members.next_back()) {
        allowed.unset(last)?;
        sched_setaffinity(this, &allowed)?;
        let _ = MEASURED.set(last);
    }
    Ok(())
}

/// Gives a program that was started the CPU that [`leave_last`] left.
pub fn give_last(pid: u32) -> Result<()> {
    let Some(last) = MEASURED.get() else { return Ok(()) };
    let mut only = CpuSet::new();
    only.set(*last)?;
    Ok(sched_setaffinity(Pid::from_raw(pid.try_into()?), &only)?)
}

/// Resident memory of a process in bytes.
pub fn resident_memory(pid: u32) -> Result<u64> {
    // Unlike `status` and `statm`, the roll-up walks the pages and so is exact.
    let text = read(pid, "smaps_rollup").or_else(|_| read(pid, "status"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Rss:").or_else(|| line.strip_prefix("VmRSS:")))
        .context("no resident size")?;
    let kilobytes = number::<u64>(line.split_ascii_whitespace().next()).context("resident size is no number")?;
    Ok(kilobytes * 1024)
}

/// The machine that the figures belong to: processor, how many of them, kernel.
pub fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(": ")?.1.to_owned())
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let count = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(1);
    format!(
        "{}, {count} CPUs, Linux {}",
        processor.as_deref().unwrap_or("unknown processor"),
        kernel.trim()
    )
}

/// One file of `/proc/PID`.
fn read(pid: u32, file: &str) -> Result<String> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// A field that may be missing, parsed.
fn number<T: FromStr>(field: Option<&str>) -> Option<T> {
    field?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_usage_is_readable_and_grows() {
        let pid = std::process::id();
        let before = cpu_time(pid).expect("readable");
        let mut sum = 0_u64;
        while cpu_time(pid).expect("readable") == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(cpu_time(pid).expect("readable") > before);
        assert!(tick_time(pid).is_ok());
        assert!(resident_memory(pid).expect("readable") > 100_000);
    }
}
