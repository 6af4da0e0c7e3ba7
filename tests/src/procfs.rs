//! What Linux knows of a process.

use std::time::Duration;

/// Clock ticks per second in `/proc`: fixed in the kernel's interface.
const TICKS: u32 = 100;

/// The CPU time a process has used, all its threads.
///
/// # Panics
/// If there is no such process.
pub fn cpu(pid: u32) -> Duration {
    let stat = read(pid, "stat");
    // The second field may hold anything, spaces too, but ends in the last `)`.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let ticks = |field: usize| fields[field - 3].parse::<u32>().expect("a number of ticks");
    Duration::from_secs(1) * (ticks(14) + ticks(15)) / TICKS
}

/// The memory a process has resident, in bytes.
///
/// # Panics
/// If there is no such process.
pub fn resident(pid: u32) -> u64 {
    let status = read(pid, "smaps_rollup");
    let line = status.lines().find(|line| line.starts_with("Rss:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("smaps_rollup has a line Rss") * 1024
}

fn read(pid: u32, file: &str) -> String {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
