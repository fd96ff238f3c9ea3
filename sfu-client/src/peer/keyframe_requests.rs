//! Tells a publisher's encoder that the far side asks for a keyframe (RFC 4585 PLI, RFC 5104 FIR).

use super::stage::{Passed, Stage};
use interceptor::{Packet, Slot, TaggedPacket};
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Nearest to the application: whatever acts on RTCP has seen it before.
pub(super) const SLOT: Slot = Slot::Custom(14_000);

/// Requests so far, by SSRC of the sent stream.
#[derive(Clone, Default)]
pub(super) struct Watchers(Arc<Mutex<HashMap<u32, Arc<AtomicU64>>>>);

impl Watchers {
    /// The counter of requests for `ssrc`.
    pub(super) fn watch(&self, ssrc: u32) -> Arc<AtomicU64> {
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.entry(ssrc).or_default().clone()
    }

    fn count(&self, ssrc: u32) {
        let watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(requests) = watchers.get(&ssrc) {
            requests.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The interceptor: it looks at incoming RTCP and changes nothing.
pub(super) struct KeyframeRequests {
    watchers: Watchers,
}

impl KeyframeRequests {
    pub(super) fn new(watchers: Watchers) -> Self {
        Self { watchers }
    }
}

impl Stage for KeyframeRequests {
    fn read(&mut self, message: TaggedPacket, passed: &mut Passed) {
        if let Packet::Rtcp(packets) = &message.message.packet {
            for packet in packets {
                let packet = packet.as_any();
                if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
                    self.watchers.count(pli.media_ssrc);
                } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
                    fir.fir.iter().for_each(|entry| self.watchers.count(entry.ssrc));
                }
            }
        }
        passed.read.push_back(message);
    }
}
