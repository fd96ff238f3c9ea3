//! The configuration: defaults, then a TOML file, then the environment, then flags. Unknown keys are refused.

mod bounds;
mod error;
mod load;
mod network;
mod schema;
mod source;
#[cfg(test)]
mod tests;
mod validate;

pub(crate) use load::load;
pub(crate) use network::Network;
pub(crate) use source::Overrides;
pub(crate) use validate::{check_api_key, doubts};

use serde::{Deserialize, Serialize};
use sfu_core::config::StartRateConfig;
use sfu_rtc::bwe::{DispersionConfig, EstimatorConfig, GoogCcConfig, RembConfig};
use sfu_rtc::media::Codec;
use sfu_rtc::time::Duration;
use sfu_rtc::twcc::ArrivalConfig;
use sfu_rtc::units::Bitrate;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Everything that can be configured.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) http: HttpConfig,
    pub(crate) media: MediaConfig,
    pub(crate) bandwidth: BandwidthConfig,
    pub(crate) repair: RepairConfig,
    pub(crate) auth: AuthConfig,
    pub(crate) room: RoomConfig,
    pub(crate) signal: SignalConfig,
    pub(crate) qos: QosConfig,
    pub(crate) limits: LimitsConfig,
    pub(crate) log: LogConfig,
    /// STUN and TURN servers that clients are told of.
    pub(crate) ice_servers: Vec<IceServerConfig>,
}

impl Config {
    /// Whether joins, sessions that never connected and the share of a core are not limited for `ip`: this machine, where
    /// load tests run, and proxies, which stand for many.
    pub(crate) fn exempts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.limits.exempt_addresses.iter().chain(&self.http.trusted_proxies).any(|network| network.contains(ip))
    }
}

/// Page, signalling, WHIP, WHEP, admin API.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HttpConfig {
    /// Address to listen on; `::` takes IPv4 too.
    pub(crate) bind: IpAddr,
    /// TCP port; 0 takes any that is free.
    pub(crate) port: u16,
    /// PEM file with the certificate chain; empty: plain HTTP.
    pub(crate) tls_cert: PathBuf,
    /// PEM file with its private key.
    pub(crate) tls_key: PathBuf,
    /// Folder from which the page is served in place of the built-in one; empty: built-in.
    pub(crate) web_dir: PathBuf,
    /// How long a SIGTERM waits for participants to leave before they are told to.
    pub(crate) drain_seconds: u64,
    /// Address and port of a listener of its own for the metrics and the admin API; empty: they are on the public one.
    pub(crate) admin_listen: String,
    /// Reverse proxies whose word counts on whom they speak for.
    pub(crate) trusted_proxies: Vec<Network>,
    /// Where they say it.
    pub(crate) forwarded_header: ForwardedHeader,
    /// Whether connections of trusted proxies begin with a PROXY header (version 1 or 2).
    pub(crate) proxy_protocol: bool,
    /// How long a new connection may take for TLS handshake and head of its first request.
    pub(crate) header_timeout_seconds: u64,
    /// How long a request may take from its head to its answer, and a client until it takes some more of that.
    pub(crate) request_timeout_seconds: u64,
    /// Bytes per second of an answer that its reader must take, over time and beside those of `request_timeout_seconds`.
    pub(crate) slowest_reader_bytes_per_second: u32,
    /// How long a connection may wait between two requests.
    pub(crate) idle_timeout_seconds: u64,
    /// How old the answers of /metrics and /healthz may be.
    pub(crate) metrics_interval_millis: u64,
    /// Answers of /metrics per second.
    pub(crate) metrics_per_second: u32,
    /// How much the threads of HTTP and signalling give way to those of media: 0, not at all, to 19.
    pub(crate) niceness: u8,
}

/// The header field in which a reverse proxy names its client. Only one is read: another one may be the client's own, which
/// the proxy passes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::from(Ipv6Addr::UNSPECIFIED),
            port: 7880,
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            web_dir: PathBuf::new(),
            drain_seconds: 20,
            admin_listen: String::new(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            proxy_protocol: false,
            header_timeout_seconds: 10,
            request_timeout_seconds: 30,
            slowest_reader_bytes_per_second: 4_096,
            idle_timeout_seconds: 60,
            metrics_interval_millis: 1_000,
            metrics_per_second: 50,
            niceness: 5,
        }
    }
}

impl HttpConfig {
    /// Where the metrics and the admin API have a listener of their own; checked when the configuration is read.
    pub(crate) fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_listen.parse().ok()
    }

    /// Whether certificate or key are given.
    pub(crate) fn tls(&self) -> bool {
        !self.tls_cert.as_os_str().is_empty() || !self.tls_key.as_os_str().is_empty()
    }
}

/// UDP, ICE-TCP and the workers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MediaConfig {
    /// Address to receive media on; `::` takes IPv4 too.
    pub(crate) bind: IpAddr,
    /// First UDP port; each further worker takes the next. 0 takes any that are free.
    pub(crate) udp_port: u16,
    /// ICE over TCP, for networks that block UDP.
    pub(crate) tcp: bool,
    /// TCP port for it; 0 takes any that is free.
    pub(crate) tcp_port: u16,
    /// Addresses to offer to clients in place of the machine's own: behind NAT, the public one.
    pub(crate) node_ips: Vec<IpAddr>,
    /// Worker threads; 0: one per core.
    pub(crate) workers: usize,
    /// Binds each worker to one core.
    pub(crate) pin_workers: bool,
    /// Lets workers that have little to do run before usual threads, where the system allows it.
    pub(crate) realtime: bool,
    /// Lets the kernel back memory with huge pages: less time per packet with many peers, for more memory.
    pub(crate) huge_pages: bool,
    /// Codecs to allow, in order of preference; empty: all, in the clients' order.
    pub(crate) codecs: Vec<String>,
    /// Size of a socket's kernel buffers in bytes, as far as the kernel allows.
    pub(crate) socket_buffer: usize,
    /// Packets of a frame wait at most so long for its last, in microseconds, where a worker has much to do; 0: never.
    pub(crate) video_coalescing_micros: u64,
    /// All packets wait at most so long for those of other sources; 0: never.
    pub(crate) audio_coalescing_micros: u64,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::from(Ipv6Addr::UNSPECIFIED),
            udp_port: 7881,
            tcp: true,
            tcp_port: 7881,
            node_ips: Vec::new(),
            workers: 0,
            pin_workers: true,
            realtime: true,
            huge_pages: false,
            codecs: Vec::new(),
            // About 50 ms of 1 Gbit/s.
            socket_buffer: 6 * 1024 * 1024,
            video_coalescing_micros: 8_000,
            audio_coalescing_micros: 2_000,
        }
    }
}

/// How much is sent to a subscriber, and what publishers learn of what they send.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct BandwidthConfig {
    /// Who estimates what the path carries.
    pub(crate) estimator: Estimator,
    /// Estimate before anything is known of a path, in kbit/s.
    pub(crate) start_kbps: u64,
    /// Never less, in kbit/s.
    pub(crate) min_kbps: u64,
    /// Never more, in kbit/s.
    pub(crate) max_kbps: u64,
    /// Addresses and rooms of which a worker remembers what was estimated, for who comes back; 0: none.
    pub(crate) remembered_paths: usize,
    /// For how long.
    pub(crate) remembered_seconds: u64,
    /// How often publishers are told what arrived of theirs: those that send little ...
    pub(crate) feedback_slow_millis: u64,
    /// ... those that send much ...
    pub(crate) feedback_fast_millis: u64,
    /// ... and those that begin, or send more than they did.
    pub(crate) feedback_ramp_millis: u64,
}

/// An estimator of bandwidth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Estimator {
    /// None: everything wanted is sent at once.
    Fixed,
    /// The subscriber's own (REMB), held down by loss.
    Remb,
    /// Google congestion control, as browsers do it.
    GoogCc,
    /// Ours: the capacity that bursts show, held down by delay.
    Dispersion,
}

impl Default for BandwidthConfig {
    fn default() -> Self {
        let DispersionConfig { start, min, max, .. } = DispersionConfig::default();
        let StartRateConfig { max_entries, lifetime, .. } = StartRateConfig::default();
        Self {
            estimator: Estimator::Dispersion,
            start_kbps: start.as_kbps(),
            min_kbps: min.as_kbps(),
            max_kbps: max.as_kbps(),
            remembered_paths: max_entries,
            remembered_seconds: lifetime.as_secs(),
            feedback_slow_millis: 100,
            feedback_fast_millis: 50,
            feedback_ramp_millis: 30,
        }
    }
}

impl BandwidthConfig {
    /// What is remembered of paths.
    pub(crate) fn start_rates(&self) -> StartRateConfig {
        StartRateConfig {
            max_entries: self.remembered_paths,
            lifetime: Duration::from_secs(self.remembered_seconds),
            ..StartRateConfig::default()
        }
    }

    /// Feedback to publishers.
    pub(crate) fn arrivals(&self) -> ArrivalConfig {
        ArrivalConfig {
            max_interval: Duration::from_millis(self.feedback_slow_millis),
            min_interval: Duration::from_millis(self.feedback_fast_millis),
            ramp_interval: Duration::from_millis(self.feedback_ramp_millis),
            ..ArrivalConfig::default()
        }
    }

    /// What each transport estimates with.
    pub(crate) fn estimator(&self) -> EstimatorConfig {
        let [start, min, max] = [self.start_kbps, self.min_kbps, self.max_kbps].map(Bitrate::from_kbps);
        match self.estimator {
            Estimator::Fixed => EstimatorConfig::Fixed(None),
            Estimator::Remb => EstimatorConfig::Remb(RembConfig { start, min, max, ..RembConfig::default() }),
            Estimator::GoogCc => EstimatorConfig::GoogCc(GoogCcConfig { start, min, max }),
            Estimator::Dispersion => {
                EstimatorConfig::Dispersion(DispersionConfig { start, min, max, ..DispersionConfig::default() })
            }
        }
    }
}

/// How what subscribers lose is repaired.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RepairConfig {
    /// What decides.
    pub(crate) mode: RepairMode,
    /// Most that repair which nobody asked for takes, in hundredths of the video that a subscriber gets.
    pub(crate) max_overhead_percent: u32,
    /// Longest that a receiver is asked to keep video before it plays it, so that repair is in time.
    pub(crate) max_playout_delay_millis: u64,
    /// Whether publishers may send video in RED with ULPFEC in it.
    pub(crate) publishers_ulpfec: bool,
    /// Whether subscribers who take no other parity are sent VP8 and VP9 so.
    pub(crate) subscribers_ulpfec: bool,
}

/// What decides how losses are repaired.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RepairMode {
    /// Subscribers, by asking for what they miss.
    Arq,
    /// The server too, by what a loss would cost each of them.
    Planner,
}

impl Default for RepairConfig {
    fn default() -> Self {
        Self {
            mode: RepairMode::Planner,
            max_overhead_percent: 33,
            max_playout_delay_millis: 1_000,
            publishers_ulpfec: false,
            subscribers_ulpfec: false,
        }
    }
}

impl RepairConfig {
    /// Whether repair is planned. The paths to subscribers are measured then, and parity is answered to who takes it.
    pub(crate) fn planner(&self) -> bool {
        self.mode == RepairMode::Planner
    }

    /// For the workers.
    pub(crate) fn worker(&self) -> sfu_core::config::RepairConfig {
        sfu_core::config::RepairConfig {
            planner: self.planner(),
            max_overhead: f64::from(self.max_overhead_percent) / 100.0,
            max_playout_delay: Duration::from_millis(self.max_playout_delay_millis),
            ..sfu_core::config::RepairConfig::default()
        }
    }
}

/// Who may enter.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AuthConfig {
    /// API keys with their secrets: tokens are signed with a secret and name its key.
    pub(crate) keys: BTreeMap<String, String>,
    /// Lets anybody in without a token; set by --dev only.
    #[serde(skip)]
    pub(crate) open: bool,
}

/// What rooms are like unless a token or the admin API says otherwise.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RoomConfig {
    /// Most participants; 0: as many as the server takes.
    pub(crate) max_participants: u32,
    /// How long a room without participants stays.
    pub(crate) empty_timeout_seconds: u64,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self { max_participants: 0, empty_timeout_seconds: 30 }
    }
}

/// What is done for the quality of service.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct QosConfig {
    /// What decides which layers publishers send at which rates.
    pub(crate) planner: PlannerPolicy,
}

/// What senders are asked to encode. What tokens and rooms allow at most holds in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PlannerPolicy {
    /// Nothing: they send what they like.
    Off,
    /// What subscribers want and can receive (GSO-Simulcast, SIGCOMM 2022).
    #[default]
    Gso,
}

/// Signalling over WebSocket.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SignalConfig {
    /// How often clients send Ping; after two intervals of silence a connection counts as lost.
    pub(crate) ping_interval_seconds: u64,
    /// How long a lost connection can be resumed.
    pub(crate) resume_seconds: u64,
    /// How long changes of a room are gathered before all are told; longer in large rooms.
    pub(crate) news_interval_millis: u64,
}

impl Default for SignalConfig {
    fn default() -> Self {
        Self { ping_interval_seconds: 20, resume_seconds: 30, news_interval_millis: 50 }
    }
}

impl SignalConfig {
    /// How long a lost connection can be resumed.
    pub(crate) fn resume_window(&self) -> Duration {
        Duration::from_secs(self.resume_seconds)
    }

    /// After this much silence a connection counts as lost.
    pub(crate) fn silence_limit(&self) -> Duration {
        Duration::from_secs(self.ping_interval_seconds.saturating_mul(2))
    }
}

/// Limits against mistakes and malice.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LimitsConfig {
    /// Rooms on this server.
    pub(crate) rooms: usize,
    /// Participants on this server.
    pub(crate) participants: usize,
    /// Participants in one room, whatever its options say.
    pub(crate) participants_per_room: usize,
    /// Bytes of metadata of the participants of one room together.
    pub(crate) room_metadata_bytes: usize,
    /// Participants of one room on one worker; further ones go to another worker.
    pub(crate) spread_at: usize,
    /// Publications of one participant.
    pub(crate) publications_per_participant: usize,
    /// Media sections of one participant: own media and slots.
    pub(crate) sections_per_participant: usize,
    /// Signalling connections, joined or not.
    pub(crate) connections: usize,
    /// Connections over HTTP that have not joined, whatever they do.
    pub(crate) unauthenticated_connections: usize,
    /// Those of one IPv4 address or IPv6 network of 64 bits.
    pub(crate) unauthenticated_connections_per_address: usize,
    /// ICE-TCP connections of one worker.
    pub(crate) tcp_connections: usize,
    /// ICE-TCP connections that are not in use yet.
    pub(crate) unauthenticated_tcp_connections: usize,
    /// Those of one IPv4 address or IPv6 network of 64 bits.
    pub(crate) unauthenticated_tcp_connections_per_address: usize,
    /// How long an ICE-TCP connection may take for an authentic check.
    pub(crate) tcp_check_seconds: u64,
    /// Sessions whose media have not connected yet.
    pub(crate) unconnected_sessions: usize,
    /// Those of one IPv4 address or IPv6 network of 64 bits.
    pub(crate) unconnected_sessions_per_address: usize,
    /// Those of one token.
    pub(crate) unconnected_sessions_per_token: usize,
    /// How long media may take to connect (ICE).
    pub(crate) connect_seconds: u64,
    /// How long a peer that answers no check of ours, and sends nothing, is taken to be there (RFC 7675).
    pub(crate) consent_seconds: u64,
    /// How often its path is checked.
    pub(crate) consent_interval_seconds: u64,
    /// Bytes of one signalling message.
    pub(crate) message_bytes: usize,
    /// Bytes of the first signalling message, which comes before anybody is known.
    pub(crate) join_bytes: usize,
    /// Bytes of a request's body: WHIP, WHEP, admin API.
    pub(crate) body_bytes: usize,
    /// Signalling messages per second of one connection, over time; each further 16 kB of one count as another.
    pub(crate) messages_per_second: u32,
    /// Bytes of data messages per second of one participant, over time.
    pub(crate) data_bytes_per_second: u32,
    /// The same with each copy to a receiver counted.
    pub(crate) data_copies_bytes_per_second: u32,
    /// Bytes of data messages per second to all participants of a room together, over time.
    pub(crate) room_data_bytes_per_second: u32,
    /// Changes per second of one participant, over time: joins, offers, publications, mutes.
    pub(crate) changes_per_second: u32,
    /// Offers per second of one participant, over time.
    pub(crate) offers_per_second: u32,
    /// Subscriptions per second of one participant that change anything, over time.
    pub(crate) subscriptions_per_second: u32,
    /// Participants who may enter one room per second, over time.
    pub(crate) room_joins_per_second: u32,
    /// Hundredths of a core that TLS handshakes and joins of one IPv4 address or IPv6 network of 64 bits may take.
    pub(crate) address_cpu_percent: u32,
    /// Whose joins, sessions that never connected and share of a core are not limited per address.
    pub(crate) exempt_addresses: Vec<Network>,
    /// Bytes per second of what a room is told of such changes, to all its participants together.
    pub(crate) room_bytes_per_second: u32,
    /// Bits of media per second that one participant may send; what is over that is dropped.
    pub(crate) media_bits_per_second: u64,
    /// Packets of media per second that one participant may send.
    pub(crate) media_packets_per_second: u32,
    /// Bits of RTCP per second that one participant may send.
    pub(crate) feedback_bits_per_second: u64,
    /// Shortest time between two keyframe requests to one source.
    pub(crate) keyframe_interval_millis: u64,
    /// The same on average.
    pub(crate) keyframe_average_millis: u64,
    /// Time between two keyframes that one subscriber's requests cause, on average.
    pub(crate) keyframe_subscriber_average_millis: u64,
    /// Packets kept for sending again to a subscriber that takes no retransmissions of their own (RFC 4588).
    pub(crate) resend_packets: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            rooms: 10_000,
            participants: 10_000,
            participants_per_room: 5_000,
            room_metadata_bytes: 512 * 1024,
            spread_at: 400,
            publications_per_participant: 16,
            sections_per_participant: 128,
            connections: 20_000,
            unauthenticated_connections: 4_096,
            unauthenticated_connections_per_address: 2_048,
            tcp_connections: 2_048,
            unauthenticated_tcp_connections: 1_024,
            unauthenticated_tcp_connections_per_address: 512,
            // Clients check at once.
            tcp_check_seconds: 5,
            unconnected_sessions: 2_048,
            // An office behind one NAT may join at once; who connects counts no more.
            unconnected_sessions_per_address: 512,
            unconnected_sessions_per_token: 512,
            connect_seconds: 10,
            consent_seconds: 30,
            consent_interval_seconds: 5,
            message_bytes: 256 * 1024,
            // Our page joins with 25 kB in Chromium without codecs of the hardware, each of which may add 2 kB; with what
            // reads it, 64 kB are not passed.
            join_bytes: 40 * 1024,
            // Offers of browsers have up to 10 kB. With TLS, and with what reads it, 64 kB are not passed.
            body_bytes: 16 * 1024,
            messages_per_second: 50,
            data_bytes_per_second: 1_000_000,
            data_copies_bytes_per_second: 4_000_000,
            room_data_bytes_per_second: 16_000_000,
            changes_per_second: 4,
            // An offer takes up to a millisecond of a core. 40 come at once, and 400 subscriptions: a grid of 49 tiles is
            // scrolled by eight pages.
            offers_per_second: 1,
            subscriptions_per_second: 20,
            room_joins_per_second: 60,
            address_cpu_percent: 12,
            exempt_addresses: ["127.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network")).into(),
            room_bytes_per_second: 16_000_000,
            media_bits_per_second: 20_000_000,
            media_packets_per_second: 5_000,
            feedback_bits_per_second: 2_000_000,
            keyframe_interval_millis: 300,
            keyframe_average_millis: 1_000,
            keyframe_subscriber_average_millis: 2_000,
            resend_packets: 512,
        }
    }
}

/// Logs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LogConfig {
    /// Text for people or JSON for programs.
    pub(crate) format: LogFormat,
    /// What to log: error, warn, info, debug, trace, or directives per module (`info,sfu=debug`).
    pub(crate) level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}

/// Form of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// A STUN or TURN server that clients are told of.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct IceServerConfig {
    /// `stun:host:port`, `turn:host:port?transport=udp` and the like.
    pub(crate) urls: Vec<String>,
    /// For TURN.
    pub(crate) username: String,
    /// For TURN.
    pub(crate) credential: String,
}

/// The codec with this name in SDP, whatever its case.
pub(crate) fn codec(name: &str) -> Option<Codec> {
    use Codec::{Av1, H264, H265, Opus, OpusRed, Vp8, Vp9};
    [Opus, OpusRed, Vp8, Vp9, H264, H265, Av1].into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
}
