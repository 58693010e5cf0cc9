use std::time::Duration;

use anyhow::{Context, Result};

/// How long a process was on a core until now, in all its threads.
///
/// # Errors
/// When it has ended.
pub fn busy(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(')').context("no name")?.1;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.collect::<Result<Vec<_>, _>>()?.iter().sum();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The memory of a process in MiB, with its share of what others have too (PSS).
///
/// # Errors
/// When it has ended.
pub fn memory(process: u32) -> Result<f64> {
    let sums = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = sums.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
