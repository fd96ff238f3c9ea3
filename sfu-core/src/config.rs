//! Limits of a worker, each with its reason.

use crate::coalescing::CoalescingConfig;
use crate::keyframes::KeyframeConfig;
use crate::overload::OverloadConfig;
use crate::qos::AllocatorConfig;
pub use crate::repair::RepairConfig;
use crate::speaker::SpeakerConfig;
pub use crate::start_rates::StartRateConfig;
use sfu_rtc::nack::NackConfig;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::transport::TransportConfig;

/// Limits of a [`crate::worker::Worker`].
#[derive(Clone, PartialEq, Debug)]
pub struct WorkerConfig {
    /// Most rooms. Commands come from our own control plane; this stops a leak of it from taking all memory.
    pub max_rooms: usize,
    /// Most transports: at 100 kB each, this is a gigabyte, and no core carries so many peers that send.
    pub max_transports: usize,
    /// Most publications of one transport: camera, screen and audio of both, and as many again.
    pub max_publications: usize,
    /// Most sections of one transport, slots included.
    pub max_sections: usize,
    /// Most layers of one publication: three in every browser, four in tests of spatial layers.
    pub max_layers: usize,
    /// Most addresses of one peer: a host with Wi-Fi, mobile and VPN has three in each address family.
    pub max_paths: usize,
    /// Most packets that all publications together keep, 1.6 kB each. 128 Ki cover 300 Mbit/s of 1,100-byte packets
    /// for four seconds.
    pub max_packets: usize,
    /// How long packets are kept for sending again. A receiver with a negotiated `rtx-time` waits up to three times as
    /// long before it gives up; with 200 ms announced, and a round trip on top, this serves the last of its requests.
    pub history: Duration,
    /// The same, at most, while a subscriber's round trip is so long that its first request comes later than that: behind
    /// a bottleneck with a queue of a second and more.
    pub longest_history: Duration,
    /// Most packets that one received layer keeps: one second of 9 Mbit/s.
    pub max_history: usize,
    /// Most events waiting for the control plane. It drains after every batch; when it does not, the oldest speak of
    /// what is past.
    pub max_events: usize,
    /// Most messages that wait for another worker: what 100,000 packets/s come to while it does not look for 80 ms.
    pub max_relay_queue: usize,
    /// Time between two reports (RFC 3550 section 6.4): as browsers do for video.
    pub report_interval: Duration,
    /// Longest times for which packets wait to be sent together.
    pub coalescing: CoalescingConfig,
    /// Most bytes by which packets of a frame are padded to make them equal in length, so that they leave as one
    /// run; 0 turns it off. Packetizers' differ by one byte, and by a few where an extension comes and goes.
    pub max_run_padding: u8,
    /// Repair of what publishers send.
    pub nack: NackConfig,
    /// Repair of what is sent to subscribers.
    pub repair: RepairConfig,
    /// Requests for keyframes.
    pub keyframes: KeyframeConfig,
    /// Active speakers.
    pub speakers: SpeakerConfig,
    /// When the worker is past its limit.
    pub overload: OverloadConfig,
    /// How a subscriber's path is shared out.
    pub allocator: AllocatorConfig,
    /// What is remembered of paths.
    pub start_rates: StartRateConfig,
    /// Limits of each transport.
    pub transport: TransportConfig,
}

/// Reports are due at multiples of this: those of many peers share one wake-up of the thread, which costs more than
/// they do.
const REPORT_GRID: Duration = Duration::from_millis(50);

impl WorkerConfig {
    /// When the next report is due.
    pub(crate) fn next_report(&self, now: Instant) -> Instant {
        (now + self.report_interval).floor_to(REPORT_GRID.min(self.report_interval))
    }
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            max_rooms: 10_000,
            max_transports: 10_000,
            max_publications: 16,
            max_sections: 256,
            max_layers: 4,
            max_paths: 8,
            max_packets: 128 * 1024,
            history: Duration::from_millis(1_000),
            longest_history: Duration::from_millis(4_000),
            max_history: 1_024,
            max_events: 65_536,
            max_relay_queue: 8_192,
            report_interval: Duration::from_secs(1),
            coalescing: CoalescingConfig::default(),
            max_run_padding: 8,
            nack: NackConfig::default(),
            repair: RepairConfig::default(),
            keyframes: KeyframeConfig::default(),
            speakers: SpeakerConfig::default(),
            overload: OverloadConfig::default(),
            allocator: AllocatorConfig::default(),
            start_rates: StartRateConfig::default(),
            transport: TransportConfig::default(),
        }
    }
}
