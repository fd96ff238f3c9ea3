//! What the path from us carries, by the far side's transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01) or, without any, by its REMB.

use rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use sfu_rtc::bwe::{BandwidthEstimator, DispersionConfig, EstimatorConfig, PacketResult};
use sfu_rtc::pacer::PacketClass;
use sfu_rtc::rtcp::{RtcpView, compound};
use sfu_rtc::time::Instant;
use sfu_rtc::twcc::{SendHistory, SendHistoryConfig};
use sfu_rtc::units::{Bitrate, DataSize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The estimate is never below: a voice of 8 kbit/s with its headers.
const LEAST: Bitrate = Bitrate::from_kbps(20);

/// What the path from us carries, and what of it is not for the encoder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct UplinkUse {
    /// What may be sent now; `None` before the far side has said anything of it.
    pub(crate) estimate: Option<Bitrate>,
    /// What it carries: the same, but for what is held back for a moment so that a queue drains.
    pub(crate) sustained: Option<Bitrate>,
    /// What has left beside video, with headers: sound, parity, retransmissions.
    pub(crate) beside_video: DataSize,
    /// Video that has left, with headers, and its payloads alone.
    pub(crate) video: (DataSize, DataSize),
}

/// Numbers what leaves, and estimates.
pub(super) struct Uplink {
    estimator: Box<dyn BandwidthEstimator>,
    history: SendHistory,
    /// Reused for every feedback.
    results: Vec<PacketResult>,
    /// The far side has told something of the path.
    is_heard: bool,
    /// Without the estimate.
    left: UplinkUse,
}

impl Uplink {
    fn new(now: Instant) -> Self {
        let config = DispersionConfig { min: LEAST, follows_at_once: true, ..DispersionConfig::default() };
        let estimator = EstimatorConfig::Dispersion(config);
        Self {
            estimator: estimator.build(now),
            history: SendHistory::new(SendHistoryConfig::default()),
            results: Vec::new(),
            is_heard: false,
            left: UplinkUse::default(),
        }
    }

    /// A packet of `size` leaves, with so many bytes of payload.
    pub(super) fn count(&mut self, class: PacketClass, size: DataSize, payload: DataSize) {
        if class == PacketClass::Video {
            self.left.video.0 += size;
            self.left.video.1 += payload;
        } else {
            self.left.beside_video += size;
        }
    }

    /// A packet of `size` leaves; its transport-wide number.
    pub(super) fn send(&mut self, now: Instant, size: DataSize) -> u16 {
        let number = self.history.next_seq();
        self.estimator.on_sent(now, size);
        self.history.on_sent(now, size, None);
        number
    }

    /// RTCP has come; false where it says nothing of the path.
    pub(super) fn hear(&mut self, now: Instant, packets: &[Box<dyn rtcp::Packet>]) -> bool {
        let mut known = packets.iter().map(|packet| packet.as_any());
        if !known.any(|packet| packet.is::<TransportLayerCc>() || packet.is::<ReceiverEstimatedMaximumBitrate>()) {
            return false;
        }
        let Ok(bytes) = rtcp::packet::marshal(packets) else { return false };
        for packet in compound(&bytes).flatten() {
            match packet {
                RtcpView::Twcc(feedback) => {
                    self.history.on_feedback(feedback.reference_time, feedback.packets(), &mut self.results);
                    if !self.results.is_empty() {
                        self.is_heard = true;
                        self.estimator.on_feedback(now, &self.results);
                    }
                }
                RtcpView::Remb(remb) => {
                    self.is_heard = true;
                    self.estimator.on_remb(now, remb.bitrate);
                }
                _ => {}
            }
        }
        true
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.estimator.handle_timeout(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.estimator.poll_timeout()
    }

    /// What the path carries.
    pub(super) fn estimate(&self) -> Option<Bitrate> {
        self.estimator.estimate()
    }

    /// The path, and what takes of it.
    pub(super) fn usage(&self) -> UplinkUse {
        let [estimate, sustained] =
            [self.estimator.estimate(), self.estimator.sustained()].map(|rate| rate.filter(|_| self.is_heard));
        UplinkUse { estimate, sustained, ..self.left }
    }

    /// Whether what we send queues on the path.
    pub(super) fn is_queued(&self) -> bool {
        self.estimator.is_queued()
    }

    /// Whether less is to be sent than the path carries, so that a long queue of ours drains.
    pub(super) fn drains(&self) -> bool {
        self.is_queued() && self.estimator.estimate() < self.estimator.sustained()
    }
}

/// The path of one peer, for those who send and those who look.
#[derive(Clone)]
pub(super) struct SharedUplink(Arc<Mutex<Uplink>>);

impl SharedUplink {
    /// Of which nothing is known.
    pub(super) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Uplink::new(now))))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Uplink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
