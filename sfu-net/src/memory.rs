//! How the process's memory is backed.

use nix::sys::prctl::set_thp_disable;
use std::io;

/// Lets the kernel back memory with huge pages (2 MiB), or not. The state of a thousand peers is more than a processor
/// keeps translations of small pages for; but an allocator touches a little of many huge ones, so what a connection
/// holds is bounded less closely. Says nothing about memory that is in use already.
///
/// # Errors
/// What the system says; nothing but time or memory is lost then.
pub fn allow_huge_pages(allow: bool) -> io::Result<()> {
    Ok(set_thp_disable(!allow)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn huge_pages_can_be_turned_off_and_on() {
        for (allow, shown) in [(false, '0'), (true, '1')] {
            super::allow_huge_pages(allow).unwrap();
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            assert!(status.lines().any(|line| line.starts_with("THP_enabled:") && line.ends_with(shown)), "{status}");
        }
    }
}
