//! How many sockets the operating system lets this process have.

/// Descriptors kept for everything that is no client's socket.
const RESERVED: usize = 128;

/// The most sockets, if `handshakes` more connections may be on their way;
/// `None` where the system does not say.
pub(crate) fn most_sockets(handshakes: usize) -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let soft = soft_limit(&limits)?;
    // Handshakes share what is left, down to half of it.
    let spare = RESERVED + handshakes.min(soft / 8);
    Some(soft.saturating_sub(spare).max(1))
}

fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_one_that_counts() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\n\
                      Max open files            20000                40000                files\n";
        assert_eq!(soft_limit(limits), Some(20_000));
        assert_eq!(soft_limit("Max open files unlimited unlimited files"), None);
    }
}
