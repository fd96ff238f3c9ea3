//! What a run leaves: samples over time, delays, bytes by kind, freezes.

use sfu_rtc::time::Duration;

/// Time from sample to sample of the rates.
pub const SAMPLE: Duration = Duration::from_millis(100);
/// Time from sample to sample of the queue.
pub const QUEUE_SAMPLE: Duration = Duration::from_millis(10);

/// What a datagram from the server to a subscriber is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Audio.
    Audio,
    /// Video, sent the first time.
    Video,
    /// Retransmissions (RFC 4588), padding as such among them.
    Rtx,
    /// Parity (FlexFEC-03).
    Fec,
    /// RTCP.
    Rtcp,
    /// All else: ICE, other payload types.
    Other,
}

/// All kinds, by their place in [`FlowRecord::sent`].
pub const KINDS: [Kind; 6] = [Kind::Audio, Kind::Video, Kind::Rtx, Kind::Fec, Kind::Rtcp, Kind::Other];

/// A flow in one sample's time.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct FlowSample {
    /// Bits per second that the server put on the link.
    pub sent: f64,
    /// Bits per second of media that arrived for the first time, as they were on the wire.
    pub received: f64,
    /// The server's estimate, where it has one.
    pub estimate: Option<f64>,
    /// Bits per second that the encoder was told, of all layers of video together.
    pub encoder: f64,
    /// The layer that the subscriber gets: 1 is the lowest, 0 none.
    pub layer: u8,
}

/// What happened to one flow.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct FlowRecord {
    /// When its media began, from the scenario's start.
    pub began: Duration,
    /// When its source paused, and until when.
    pub pause: Option<(Duration, Duration)>,
    /// One each [`SAMPLE`], from the scenario's start.
    pub samples: Vec<FlowSample>,
    /// One-way delays of video.
    pub video_delays: Vec<Duration>,
    /// One-way delays of audio.
    pub audio_delays: Vec<Duration>,
    /// Packets of audio that never came, nor with a later one.
    pub audio_lost: u64,
    /// Packets of video that never came, nor were recovered.
    pub video_lost: u64,
    /// Bytes that the server sent, by kind.
    pub sent: [u64; KINDS.len()],
    /// Freezes: from when, and how long.
    pub freezes: Vec<(Duration, Duration)>,
    /// When each frame was shown.
    pub frames: Vec<Duration>,
    /// Packets that the subscriber recovered from parity.
    pub recovered: u64,
    /// Keyframes that the subscriber asked for.
    pub keyframe_requests: u64,
    /// Bytes sent in the sample under way.
    pub(super) sent_now: u64,
    /// Bytes received in it.
    pub(super) received_now: u64,
}

impl FlowRecord {
    /// Of a flow that begins now, `began` after the scenario's start.
    pub(super) fn new(began: Duration, pause: Option<(Duration, Duration)>) -> Self {
        let before = began.as_nanos() / SAMPLE.as_nanos();
        Self { began, pause, samples: vec![FlowSample::default(); before as usize], ..Self::default() }
    }

    /// The server sent a datagram.
    pub(super) fn on_sent(&mut self, kind: Kind, bytes: usize) {
        self.sent[kind as usize] += bytes as u64;
        self.sent_now += bytes as u64;
    }

    /// Media arrived for the first time, in a datagram of so many bytes.
    pub(super) fn on_media(&mut self, is_video: bool, delay: Duration, bytes: usize) {
        self.received_now += bytes as u64;
        if is_video { &mut self.video_delays } else { &mut self.audio_delays }.push(delay);
    }

    /// Ends a sample.
    pub(super) fn sample(&mut self, estimate: Option<f64>, encoder: f64, layer: u8) {
        let rate = |bytes: &mut u64| std::mem::take(bytes) as f64 * 8.0 / SAMPLE.as_secs_f64();
        let (sent, received) = (rate(&mut self.sent_now), rate(&mut self.received_now));
        self.samples.push(FlowSample { sent, received, estimate, encoder, layer });
    }
}

/// All that one run leaves.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Record {
    /// How long it was.
    pub length: Duration,
    /// Most bits per second that a flow wants.
    pub demand: f64,
    /// Bits per second that the bottleneck lets pass, one each [`SAMPLE`]; infinite where there is none.
    pub capacity: Vec<f64>,
    /// How long a packet would have waited at the bottleneck, one each [`QUEUE_SAMPLE`].
    pub queue: Vec<Duration>,
    /// Packets that the bottleneck's queue dropped, and that were lost behind it.
    pub dropped: u64,
    /// See [`Self::dropped`].
    pub lost: u64,
    /// The flows of media from the server.
    pub flows: Vec<FlowRecord>,
    /// Bits per second of all TCP-like flows together, one each [`SAMPLE`].
    pub tcp: Vec<f64>,
}
