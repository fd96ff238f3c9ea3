//! `/metrics`: the Prometheus text format, version 0.0.4.

use super::cached::Cached;
use super::problem::Problem;
use crate::control::{Control, HANDSHAKE_BUCKETS, Histogram, Rate};
use crate::lock::lock;
use crate::net::ConnectionTables;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use sfu_core::event::{TrafficStats, WorkerStats};
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A counter of traffic: its name, what it counts, and where it stands.
type TrafficMetric = (&'static str, &'static str, fn(&TrafficStats) -> u64);

const TRAFFIC: [TrafficMetric; 16] = [
    ("sfu_rtp_received_packets_total", "RTP packets received.", |t| t.rtp_in),
    ("sfu_rtp_lost_packets_total", "RTP packets lost on the way from publishers, before any repair.", |t| {
        t.rtp_in_lost
    }),
    ("sfu_received_bytes_total", "Bytes received, all kinds of datagrams.", |t| t.bytes_in),
    ("sfu_rtp_sent_packets_total", "RTP packets sent.", |t| t.rtp_out),
    ("sfu_sent_bytes_total", "Bytes sent, all kinds of datagrams.", |t| t.bytes_out),
    ("sfu_nacks_sent_total", "Packets asked for again from publishers.", |t| t.nacks_sent),
    ("sfu_nacks_received_total", "Packets that subscribers asked for again.", |t| t.nacks_received),
    ("sfu_keyframe_requests_sent_total", "PLI and FIR to publishers.", |t| t.keyframe_requests_sent),
    ("sfu_keyframe_requests_received_total", "PLI and FIR from subscribers.", |t| t.keyframe_requests_received),
    ("sfu_rtx_received_packets_total", "Retransmissions received.", |t| t.rtx_in),
    ("sfu_rtx_sent_packets_total", "Retransmissions sent.", |t| t.rtx_out),
    ("sfu_fec_received_packets_total", "Packets of parity received (forward error correction).", |t| t.fec_in),
    ("sfu_fec_recovered_packets_total", "Packets of publishers that came back from their parity.", |t| t.fec_recovered),
    ("sfu_fec_refused_packets_total", "Received parity, or what came out of it, that could not be right.", |t| {
        t.fec_refused
    }),
    ("sfu_fec_sent_packets_total", "Packets of parity sent (forward error correction).", |t| t.fec_out),
    ("sfu_fec_sent_bytes_total", "Bytes of parity sent, without headers.", |t| t.fec_bytes_out),
];

/// Wait before a refusal.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);

/// The text of all metrics, and how often it may be asked for.
#[derive(Debug)]
pub(super) struct Answer {
    text: Cached<Bytes>,
    rate: Mutex<Rate>,
}

impl Answer {
    pub(super) fn new(control: &Control) -> Self {
        let http = &control.config.http;
        let text = Cached::new(Duration::from_millis(http.metrics_interval_millis));
        Self { text, rate: Mutex::new(Rate::new(http.metrics_per_second, control.clock.now())) }
    }
}

pub(super) async fn metrics(
    State(control): State<Arc<Control>>,
    Extension(connections): Extension<ConnectionTables>,
    Extension(answer): Extension<Arc<Answer>>,
) -> Result<impl IntoResponse, Problem> {
    // A text of many kilobytes, sealed for whoever asks, costs more than its making. Who asks too often waits for the
    // refusal, since that costs too.
    let in_time = lock(&answer.rate).take(1, control.clock.now());
    if !in_time {
        tokio::time::sleep(REFUSAL_PAUSE).await;
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "asked for too often"));
    }
    let text = answer.text.get(render(&control, &connections)).await;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

async fn render(control: &Control, connections: &ConnectionTables) -> Bytes {
    let stats = control.worker_stats().await;
    let mut text = Text::default();
    process(&mut text, control);
    unauthenticated(&mut text, connections);
    traffic(&mut text, &stats);
    drops(&mut text, &stats);
    sockets(&mut text, control);
    handshakes(&mut text, control);
    text.0.into()
}

/// The text under construction.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// Every worker that answered, with its name in labels.
fn answered(stats: &[Option<WorkerStats>]) -> impl Iterator<Item = (String, &WorkerStats)> {
    stats.iter().enumerate().filter_map(|(worker, stats)| Some((worker.to_string(), stats.as_ref()?)))
}

fn process(text: &mut Text, control: &Control) {
    text.family("sfu_rooms", "gauge", "Rooms.");
    text.sample("sfu_rooms", &[], control.all_rooms().len());
    text.family("sfu_participants", "gauge", "Participants.");
    text.sample("sfu_participants", &[], control.participants());
    text.family("sfu_signalling_connections", "gauge", "Signalling connections, joined or not.");
    text.sample("sfu_signalling_connections", &[], control.connections.load(Ordering::Relaxed));
    let (unconnected, gave_way) = control.unconnected();
    text.family("sfu_unconnected_sessions", "gauge", "Sessions whose media have not connected yet.");
    text.sample("sfu_unconnected_sessions", &[], unconnected);
    text.family("sfu_sessions_gave_way_total", "counter", "Sessions that never connected and gave way to others.");
    text.sample("sfu_sessions_gave_way_total", &[], gave_way);
    text.family("sfu_too_fast_total", "counter", "Requests that were refused since they came too fast.");
    text.sample("sfu_too_fast_total", &[], control.too_fast());
    text.family("sfu_draining", "gauge", "1 while the server goes down.");
    text.sample("sfu_draining", &[], u8::from(control.is_draining()));
}

fn unauthenticated(text: &mut Text, ConnectionTables { http, ice_tcp }: &ConnectionTables) {
    text.family("sfu_unauthenticated_connections", "gauge", "Connections over HTTP that have not joined.");
    text.sample("sfu_unauthenticated_connections", &[], http.unauthenticated());
    let name = "sfu_closed_connections_total";
    text.family(name, "counter", "Connections over HTTP that were closed before they joined, by reason.");
    let closed = http.closed();
    text.sample(name, &[("reason", "too_many")], closed.too_many);
    text.sample(name, &[("reason", "timeout")], closed.timeout);
    let name = "sfu_closed_tcp_connections_total";
    text.family(name, "counter", "ICE-TCP connections turned away before they were in use, by reason.");
    let closed = ice_tcp.closed();
    text.sample(name, &[("reason", "too_many")], closed.too_many);
    text.sample(name, &[("reason", "timeout")], closed.timeout);
    text.sample(name, &[("reason", "no_authentic_check")], closed.refused);
}

fn traffic(text: &mut Text, stats: &[Option<WorkerStats>]) {
    text.family("sfu_worker_up", "gauge", "1 where the worker answers.");
    for (worker, stats) in stats.iter().enumerate() {
        text.sample("sfu_worker_up", &[("worker", &worker.to_string())], u8::from(stats.is_some()));
    }
    for (name, help, value) in TRAFFIC {
        text.family(name, "counter", help);
        for (worker, stats) in answered(stats) {
            text.sample(name, &[("worker", &worker)], value(&stats.totals));
        }
    }
    text.family("sfu_transports", "gauge", "Transports, connected or not.");
    for (worker, stats) in answered(stats) {
        let connected = stats.transports.iter().filter(|transport| transport.connected).count();
        let rest = stats.transports.len() - connected;
        text.sample("sfu_transports", &[("worker", &worker), ("connected", "true")], connected);
        text.sample("sfu_transports", &[("worker", &worker), ("connected", "false")], rest);
    }
    text.family("sfu_pool_packets", "gauge", "Packets that the worker's pool holds.");
    for (worker, stats) in answered(stats) {
        text.sample("sfu_pool_packets", &[("worker", &worker)], stats.pool_packets);
    }
    text.family("sfu_relayed_packets_total", "counter", "Packets handed to other workers, and taken from them.");
    for (worker, stats) in answered(stats) {
        let sample = |text: &mut Text, direction, count| {
            text.sample("sfu_relayed_packets_total", &[("worker", &worker), ("direction", direction)], count);
        };
        sample(text, "out", stats.relayed_out);
        sample(text, "in", stats.relayed_in);
    }
    text.family("sfu_ignored_commands_total", "counter", "Commands that named something that was gone.");
    for (worker, stats) in answered(stats) {
        text.sample("sfu_ignored_commands_total", &[("worker", &worker)], stats.ignored_commands);
    }
}

fn drops(text: &mut Text, stats: &[Option<WorkerStats>]) {
    text.family("sfu_dropped_packets_total", "counter", "Packets that died, by reason.");
    for (worker, stats) in answered(stats) {
        for (reason, count) in stats.drops.iter() {
            text.sample("sfu_dropped_packets_total", &[("worker", &worker), ("reason", reason.label())], count);
        }
    }
}

fn sockets(text: &mut Text, control: &Control) {
    for (name, kind, help, value) in crate::worker_thread::ThreadStats::METRICS {
        text.family(name, kind, help);
        for worker in control.workers.iter() {
            text.sample(name, &[("worker", &worker.index().to_string())], value(worker.thread_stats()));
        }
    }
}

fn handshakes(text: &mut Text, control: &Control) {
    for (name, help) in [
        ("sfu_ice_seconds", "From the transport's making to the first valid ICE check."),
        ("sfu_dtls_seconds", "From the first DTLS packet to the keys."),
    ] {
        text.family(name, "histogram", help);
        for worker in 0..control.workers.len() {
            let (ice, dtls) = control.stats.handshakes(worker);
            histogram(text, name, &worker.to_string(), if name == "sfu_ice_seconds" { &ice } else { &dtls });
        }
    }
}

fn histogram(text: &mut Text, name: &str, worker: &str, histogram: &Histogram) {
    let mut below = 0;
    for (limit, count) in HANDSHAKE_BUCKETS.iter().zip(histogram.buckets) {
        below += count;
        text.sample(&format!("{name}_bucket"), &[("worker", worker), ("le", &limit.to_string())], below);
    }
    text.sample(&format!("{name}_bucket"), &[("worker", worker), ("le", "+Inf")], histogram.count);
    text.sample(&format!("{name}_sum"), &[("worker", worker)], histogram.sum);
    text.sample(&format!("{name}_count"), &[("worker", worker)], histogram.count);
}
