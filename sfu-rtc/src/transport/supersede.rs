//! What a keyframe makes useless: where much waits in the pacer, what of its stream is older would only hold it up.
//!
//! After a path has become slow, what it lost would take seconds to be sent again, and the keyframe that the peer asks
//! for waits behind it. libwebrtc's pacer does the same behind its trial `WebRTC-Pacer-KeyframeFlushing`.

use super::Transport;
use super::send::QueuedPacket;
use crate::drop_reason::DropReason;
use crate::pacer::PacketClass;
use crate::packet::Packet;
use crate::time::Duration;
use crate::transport::RtpOut;

/// Less is no delay that a viewer sees, and what waits may still be of use to who lost nothing.
const MUCH: Duration = Duration::from_millis(100);

impl Transport {
    /// To be told of each packet that is handed over; an error where it is of no use any more.
    pub(super) fn supersede(&mut self, packet: &Packet, out: &RtpOut) -> Result<(), DropReason> {
        match out.class {
            PacketClass::Video if packet.frame.keyframe && packet.frame.start_of_frame => self.begin_keyframe(out),
            PacketClass::Rtx if self.is_superseded(out) => return Err(DropReason::Superseded),
            _ => {}
        }
        Ok(())
    }

    fn is_superseded(&self, out: &RtpOut) -> bool {
        let keyframe = self.senders.get(out.section).and_then(|sender| sender.keyframe);
        keyframe.is_some_and(|keyframe| is_before(out.timestamp, keyframe)) && self.pacer.drain_time() >= MUCH
    }

    /// Retransmissions that wait say that the peer lacks something of what came before: all of it is of no use.
    fn begin_keyframe(&mut self, keyframe: &RtpOut) {
        if let Some(sender) = self.senders.get_mut(keyframe.section) {
            sender.keyframe = Some(keyframe.timestamp);
        }
        if self.pacer.drain_time() < MUCH {
            return;
        }
        let mut discard = |class| {
            let stays = |waiting: &QueuedPacket| {
                let out = &waiting.out;
                out.section != keyframe.section || !is_before(out.timestamp, keyframe.timestamp)
            };
            let dropped = self.pacer.retain(class, stays);
            (0..dropped).for_each(|_| self.drops.count(DropReason::Superseded));
            dropped
        };
        if discard(PacketClass::Rtx) > 0 {
            discard(PacketClass::Video);
            discard(PacketClass::Fec);
        }
    }
}

/// RTP timestamps wrap.
fn is_before(timestamp: u32, other: u32) -> bool {
    (timestamp.wrapping_sub(other) as i32) < 0 // the nearer way around
}
