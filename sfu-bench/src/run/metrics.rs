//! What the server says of itself at `/metrics`: how many packets it sent, in how many datagrams and messages.

use sfu_client::signal::fetch;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for the server's answer; it is no failure if there is none.
const PATIENCE: Duration = Duration::from_secs(3);
/// Datagrams sent, over all workers.
const DATAGRAMS: &str = "sfu_udp_sent_datagrams_total";
/// Messages that carried them: runs of datagrams that one UDP_SEGMENT send carried.
const MESSAGES: &str = "sfu_udp_sent_runs_total";

/// RTP packets among them.
const RTP: &str = "sfu_rtp_sent_packets_total";

/// Counters at one moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct SendCounters {
    datagrams: f64,
    messages: f64,
    rtp: f64,
}

impl SendCounters {
    /// Asks the server. `None` where it does not answer, or has no such counters.
    pub(super) async fn read(url: Option<&str>) -> Option<Self> {
        let text = timeout(PATIENCE, fetch(url?)).await.ok()?.ok()?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Option<Self> {
        Some(Self { datagrams: sum(text, DATAGRAMS)?, messages: sum(text, MESSAGES)?, rtp: sum(text, RTP)? })
    }

    /// RTP packets sent since `earlier`.
    pub(super) fn rtp(&self, earlier: &Self) -> u64 {
        (self.rtp - earlier.rtp).max(0.0) as u64
    }

    /// Mean length of the runs sent since `earlier`; `None` where nothing was sent.
    pub(super) fn mean_run(&self, earlier: &Self) -> Option<f64> {
        let messages = self.messages - earlier.messages;
        (messages > 0.0).then(|| ((self.datagrams - earlier.datagrams) / messages).max(1.0))
    }
}

/// Sum of all samples of a metric in the Prometheus text format.
fn sum(text: &str, name: &str) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
        // A longer name that begins alike leaves something that is no number.
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    samples.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP sfu_udp_sent_datagrams_total x\n# TYPE sfu_udp_sent_datagrams_total counter\n\
        sfu_udp_sent_datagrams_total{worker=\"0\"} 600\nsfu_udp_sent_datagrams_total{worker=\"1\"} 30\n\
        sfu_udp_sent_runs_total{worker=\"0\"} 100\nsfu_udp_sent_runs_total{worker=\"1\"} 5\nsfu_rtp_sent_packets_total{worker=\"0\"} 500\n";

    #[test]
    fn counters_of_all_workers_add_up() {
        let counters = SendCounters::parse(TEXT).unwrap();
        assert_eq!(counters, SendCounters { datagrams: 630.0, messages: 105.0, rtp: 500.0 });
        let earlier = SendCounters { datagrams: 30.0, messages: 5.0, rtp: 20.0 };
        assert_eq!((counters.mean_run(&earlier), counters.rtp(&earlier)), (Some(6.0), 480));
        assert_eq!(counters.mean_run(&counters), None);
    }

    #[test]
    fn other_servers_have_other_metrics() {
        assert_eq!(SendCounters::parse("sfu_udp_sent_datagrams_total_x 3\nother 5\n"), None);
        assert_eq!(sum("plain 3 1700000000\n", "plain"), Some(3.0));
    }
}
