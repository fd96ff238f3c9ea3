//! The bounds of every number that can be configured, in one table.

use crate::net::MAX_WORKERS;
use serde_json::Number;

/// No time of ours makes sense beyond a day, and none can be added up past the end of a clock.
const DAY: u64 = 24 * 60 * 60;
/// Tables of connections, rooms and participants; far more than one machine carries.
const MANY: u64 = 10_000_000;
/// What fits into the types of all that counts per second.
const PER_SECOND: u64 = u32::MAX as u64;

/// A number's key, and the smallest and the largest value that works.
pub(super) const BOUNDS: [(&str, u64, u64); 70] = [
    // Of a port, 0 is any that is free.
    ("http.port", 0, 65_535),
    ("http.drain_seconds", 0, DAY),
    ("http.header_timeout_seconds", 1, DAY),
    ("http.request_timeout_seconds", 1, DAY),
    ("http.slowest_reader_bytes_per_second", 1, PER_SECOND),
    ("http.idle_timeout_seconds", 1, DAY),
    ("http.metrics_interval_millis", 0, 60_000),
    ("http.metrics_per_second", 1, PER_SECOND),
    // Nice values go to 19, below them one needs privileges (setpriority(2)).
    ("http.niceness", 0, 19),
    ("media.udp_port", 0, 65_535),
    ("media.tcp_port", 0, 65_535),
    // 0: one per core. A worker is named by one character of 64.
    ("media.workers", 0, MAX_WORKERS as u64),
    // One datagram of the largest size; and what the kernel takes (an int, which it doubles).
    ("media.socket_buffer", 65_536, 1 << 30),
    // A frame's time at 60 frames per second: a longer wait would mix frames. A quarter of audio's usual packet time.
    ("media.video_coalescing_micros", 0, 16_000),
    ("media.audio_coalescing_micros", 0, 5_000),
    // Audio of 6 kbit/s with its headers; and the fastest network that one viewer has.
    ("bandwidth.start_kbps", 16, 10_000_000),
    ("bandwidth.min_kbps", 16, 10_000_000),
    ("bandwidth.max_kbps", 16, 10_000_000),
    // At 60 bytes each, of every worker.
    ("bandwidth.remembered_paths", 0, MANY),
    ("bandwidth.remembered_seconds", 0, DAY),
    // Shorter, feedback takes a tenth of a slow way back; longer, senders take it to be lost.
    ("bandwidth.feedback_slow_millis", 20, 250),
    ("bandwidth.feedback_fast_millis", 20, 250),
    ("bandwidth.feedback_ramp_millis", 20, 250),
    // 0: only what is sent again; beyond 100, sending all twice would be simpler.
    ("repair.max_overhead_percent", 0, 100),
    // Beyond, nobody can talk.
    ("repair.max_playout_delay_millis", 0, 2_000),
    // 0: as many as the server takes.
    ("room.max_participants", 0, MANY),
    ("room.empty_timeout_seconds", 0, DAY),
    ("signal.ping_interval_seconds", 1, DAY),
    ("signal.resume_seconds", 0, DAY),
    ("signal.news_interval_millis", 0, 10_000),
    ("limits.rooms", 1, MANY),
    ("limits.participants", 1, MANY),
    ("limits.participants_per_room", 1, MANY),
    ("limits.room_metadata_bytes", 0, 1 << 30),
    ("limits.spread_at", 1, MANY),
    ("limits.publications_per_participant", 1, 1_000),
    ("limits.sections_per_participant", 1, 1_000),
    ("limits.connections", 1, MANY),
    // Every client and every session begins as one of these.
    ("limits.unauthenticated_connections", 1, MANY),
    ("limits.unauthenticated_connections_per_address", 1, MANY),
    ("limits.tcp_connections", 1, MANY),
    ("limits.unauthenticated_tcp_connections", 1, MANY),
    ("limits.unauthenticated_tcp_connections_per_address", 1, MANY),
    ("limits.tcp_check_seconds", 1, DAY),
    ("limits.unconnected_sessions", 1, MANY),
    ("limits.unconnected_sessions_per_address", 1, MANY),
    ("limits.unconnected_sessions_per_token", 1, MANY),
    // ICE and DTLS together have 30 s.
    ("limits.connect_seconds", 1, 30),
    // At least two checks (RFC 7675), of which the slowest come as often as a connection of ICE-TCP needs them.
    ("limits.consent_seconds", 10, DAY),
    ("limits.consent_interval_seconds", 1, 5),
    // A message holds an offer; beyond 16 MB nothing of ours is a message.
    ("limits.message_bytes", 4_096, 1 << 24),
    ("limits.join_bytes", 4_096, 1 << 24),
    ("limits.body_bytes", 4_096, 1 << 24),
    ("limits.messages_per_second", 1, PER_SECOND),
    ("limits.data_bytes_per_second", 1, PER_SECOND),
    ("limits.data_copies_bytes_per_second", 1, PER_SECOND),
    ("limits.room_data_bytes_per_second", 1, PER_SECOND),
    ("limits.changes_per_second", 1, PER_SECOND),
    ("limits.offers_per_second", 1, PER_SECOND),
    ("limits.subscriptions_per_second", 1, PER_SECOND),
    ("limits.room_joins_per_second", 1, PER_SECOND),
    // Of as many cores as there may be workers.
    ("limits.address_cpu_percent", 1, 100 * MAX_WORKERS as u64),
    ("limits.room_bytes_per_second", 1, PER_SECOND),
    ("limits.media_bits_per_second", 1, 1_000_000_000_000),
    ("limits.media_packets_per_second", 1, PER_SECOND),
    ("limits.feedback_bits_per_second", 1, 1_000_000_000_000),
    // Below, an encoder has not begun the last one.
    ("limits.keyframe_interval_millis", 50, 60_000),
    ("limits.keyframe_average_millis", 50, 60_000),
    ("limits.keyframe_subscriber_average_millis", 50, 60_000),
    // 1,200 bytes each, of every subscriber that takes no retransmissions of their own.
    ("limits.resend_packets", 0, 65_536),
];

/// Refuses a number that is not whole or out of its bounds.
pub(super) fn check(key: &str, number: &Number) -> Result<(), String> {
    let bounds = BOUNDS.iter().find(|(name, ..)| *name == key);
    let (_, least, most) = bounds.expect("a table of the numbers there are, which a test keeps");
    if number.as_u64().is_some_and(|number| (least..=most).contains(&&number)) {
        Ok(())
    } else {
        Err(format!("{key} is {number}; it must be a whole number from {least} to {most}"))
    }
}
