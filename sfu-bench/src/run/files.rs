//! Whether the system lets us open as many sockets as a load needs.

use super::RunOptions;
use crate::join::Target;
use crate::scenario::Scenario;
use anyhow::{Result, bail};

/// Files beside those of the participants: polls, wakers, standard streams, requests for metrics.
const BESIDE: u64 = 100;
/// Sockets of the floor's receivers.
const FLOOR: u64 = 1_000;

/// Raises the limit as far as we may, and refuses a load that it does not hold.
///
/// # Errors
/// Says how many files are needed, and how to allow them.
pub fn check(scenario: &Scenario, options: &RunOptions) -> Result<()> {
    let allowed = sfu_net::raise_open_files()?;
    let needed = needed(scenario, options);
    if needed > allowed {
        bail!("the load needs {needed} open files, and the system allows {allowed}: `ulimit -n {needed}` allows more");
    }
    Ok(())
}

/// Each participant has a socket for media, and with native signalling another.
fn needed(scenario: &Scenario, options: &RunOptions) -> u64 {
    let per_stream = matches!(options.target, Target::Http { .. });
    let each = if per_stream { 1 } else { 2 };
    let floor = if options.with_floor { FLOOR } else { 0 };
    scenario.participants(per_stream).len() as u64 * each + floor + BESIDE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Group;
    use std::time::Duration;

    #[test]
    fn more_than_the_system_allows_is_refused_before_anybody_joins() {
        let mut options = RunOptions {
            target: Target::Native { server: "ws://127.0.0.1:1".into(), token: String::new() },
            join_rate: 1.0,
            settle: Duration::ZERO,
            duration: Duration::ZERO,
            server_pid: None,
            metrics_url: None,
            cpus: vec![0],
            with_floor: false,
            find_limit: None,
        };
        let few = Scenario::of(Group::default());
        assert_eq!(needed(&few, &options), 11 * 2 + BESIDE);
        check(&few, &options).unwrap();
        options.with_floor = true;
        assert_eq!(needed(&few, &options), 11 * 2 + FLOOR + BESIDE);
        let allowed = sfu_net::raise_open_files().unwrap();
        if let Ok(subscribers) = usize::try_from(allowed) {
            let many = Scenario::of(Group { subscribers, ..Group::default() });
            let error = check(&many, &options).unwrap_err().to_string();
            assert!(error.contains("ulimit -n"), "{error}");
        }
    }
}
