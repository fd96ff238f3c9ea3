//! Tells a publisher's encoder that the far side asks for a keyframe (RFC 4585 PLI, RFC 5104 FIR).

use interceptor::{Interceptor, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

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
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl KeyframeRequests {
    pub(super) fn new(watchers: Watchers) -> Self {
        Self { watchers, read: VecDeque::new(), write: VecDeque::new() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for KeyframeRequests {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
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
        self.read.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.write.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }
}

impl Interceptor for KeyframeRequests {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
