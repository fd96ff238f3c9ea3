//! What a worker thread counts beside the worker itself: the kernel's side of things.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! thread_stats {
    ($($(#[$doc:meta])* $name:ident: $metric:literal, $kind:literal, $help:literal;)+) => {
        /// Written by the thread, read by whoever wants to know.
        #[derive(Debug, Default)]
        pub(crate) struct ThreadStats {
            $($(#[$doc])* pub(crate) $name: Value,)+
        }

        /// Name, kind and help of a metric, and where it stands.
        type Metric = (&'static str, &'static str, &'static str, fn(&ThreadStats) -> u64);

        impl ThreadStats {
            /// All of them, for /metrics.
            pub(crate) const METRICS: &[Metric] = &[$(($metric, $kind, $help, |stats| stats.$name.get()),)+];
        }
    };
}

thread_stats! {
    /// Datagrams that came by UDP.
    udp_received: "sfu_udp_received_datagrams_total", "counter", "Datagrams received by UDP.";
    /// Datagrams that the kernel took.
    udp_sent: "sfu_udp_sent_datagrams_total", "counter", "Datagrams sent by UDP.";
    /// Calls of sendmmsg.
    udp_send_calls: "sfu_udp_send_calls_total", "counter", "System calls that sent UDP.";
    /// GSO runs.
    udp_send_runs: "sfu_udp_sent_runs_total", "counter", "Messages sent by UDP, each a run of datagrams (UDP_SEGMENT); datagrams per message are the mean run.";
    /// Times the send buffer was full.
    udp_blocked: "sfu_udp_send_blocked_total", "counter", "Times the UDP send buffer was full.";
    /// Sends that the kernel refused.
    udp_refused: "sfu_udp_send_refused_total", "counter", "UDP sends that the kernel refused.";
    /// Runs that the kernel refused.
    udp_refused_runs: "sfu_udp_send_refused_runs_total", "counter",
        "Runs of datagrams that the kernel refused to split; they were sent one by one.";
    /// Open ICE-TCP connections.
    tcp_open: "sfu_tcp_connections", "gauge", "ICE-TCP connections that are open.";
    /// ICE-TCP connections turned away.
    tcp_refused: "sfu_tcp_refused_connections_total", "counter", "ICE-TCP connections turned away, or closed before an authentic check.";
    /// Frames dropped.
    tcp_dropped: "sfu_tcp_dropped_frames_total", "counter", "Frames that an ICE-TCP connection did not take.";
    /// Messages of other workers.
    relay_messages: "sfu_relay_messages_total", "counter", "Messages taken from other workers.";
    /// Rounds of the loop.
    rounds: "sfu_worker_rounds_total", "counter", "Rounds of the worker's loop.";
    /// Rounds that ended late for what they received.
    late_rounds: "sfu_worker_late_rounds_total", "counter",
        "Rounds that ended 50 ms or more after the first datagram that they received came to the socket.";
    /// Panics that were caught.
    failures: "sfu_worker_failures_total", "counter", "Panics of the worker that were contained.";
    /// Share of time that the thread was not waiting for work.
    busy_permille: "sfu_worker_busy_permille", "gauge", "Time not spent waiting for work in the last 100 ms, of 1000.";
    /// Time that the thread was not waiting for work.
    busy_micros: "sfu_worker_busy_microseconds_total", "counter", "Time not spent waiting for work.";
    /// Longest wait of a datagram in the socket.
    queue_age_micros: "sfu_worker_queue_age_microseconds", "gauge",
        "Longest wait of a datagram in the socket in the last 100 ms.";
    /// How long packets of a frame wait for its end.
    video_window_micros: "sfu_worker_video_coalescing_microseconds", "gauge",
        "How long packets of a frame wait for its end; it grows with the load.";
    /// How far rounds are apart.
    audio_window_micros: "sfu_worker_audio_coalescing_microseconds", "gauge",
        "How long all packets wait for those of other sources; it grows with the load.";
    /// How much is left out, since the worker is past its limit.
    shedding_percent: "sfu_worker_shedding_percent", "gauge",
        "What is left out for lack of time: to 100 retransmissions, to 200 upper layers, to 300 video of the silent, to 400 all but audio.";
    /// Longest round since the last look.
    busiest_micros: "sfu_worker_busiest_round_microseconds", "gauge", "Longest round of the loop in the last second.";
}

/// One number with one writer.
#[derive(Debug, Default)]
pub(crate) struct Value(AtomicU64);

impl Value {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// One writer, so no read-modify-write is needed.
    pub(crate) fn add(&self, count: u64) {
        self.set(self.get() + count);
    }
}
