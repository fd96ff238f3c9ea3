//! Connection quality: one number from 1 (bad) to 5 (excellent) per participant, for people, from round trip and loss
//! in the manner of the E-model (ITU-T G.107): delay costs little up to a point and much beyond it, loss costs at once.

use super::Control;
use super::outbox::Outgoing;
use super::room::RoomState;
use sfu_core::event::{TransportStats, WorkerStats};
use sfu_core::ids::TransportId;
use sfu_proto::v1::server_message::Body;
use sfu_proto::v1::{ConnectionQuality, ConnectionQualityUpdate};
use sfu_rtc::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

/// Smaller changes of the score are not told.
const TOLD_CHANGE: f32 = 0.3;

/// Turns counters into shares over an interval.
#[derive(Default)]
pub(super) struct Meter {
    /// Packets received and lost of each transport when last looked at.
    before: HashMap<TransportId, (u64, u64)>,
}

impl Meter {
    /// Share of packets lost on the way to us since the last call.
    fn uplink_loss(&mut self, stats: &TransportStats) -> f32 {
        let packets: u64 = stats.received.iter().map(|stream| stream.packets).sum();
        let lost: u64 = stats.received.iter().map(|stream| stream.lost).sum();
        let (packets_before, lost_before) = self.before.insert(stats.transport, (packets, lost)).unwrap_or_default();
        let (packets, lost) = (packets.saturating_sub(packets_before), lost.saturating_sub(lost_before));
        if lost == 0 { 0.0 } else { lost as f32 / (packets + lost) as f32 }
    }
}

/// The score for a round trip and the worse of two losses.
fn score(rtt: Duration, loss: f32) -> f32 {
    // One way plus what a jitter buffer adds; G.107 has the knee at 177 ms.
    let delay = rtt.as_secs_f32() * 1_000.0 / 2.0 + 40.0;
    let from_delay = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    // Ie-eff with robust Opus and repaired video: Bpl 20.
    let from_loss = 95.0 * loss * 100.0 / (loss * 100.0 + 20.0);
    let r = (93.2 - from_delay - from_loss).clamp(0.0, 100.0);
    let mos = 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6;
    // MOS ends at 4.5; the scale at 5.
    (1.0 + (mos - 1.0) * 4.0 / 3.41).clamp(1.0, 5.0)
}

impl Control {
    /// Tells every room whose participants' quality changed.
    pub(super) fn tell_quality<'a>(&self, meter: &mut Meter, all: impl Iterator<Item = &'a WorkerStats>) {
        let mut per_room: HashMap<_, Vec<&TransportStats>> = HashMap::new();
        for stats in all.flat_map(|worker| &worker.transports).filter(|stats| stats.connected) {
            per_room.entry(stats.room).or_default().push(stats);
        }
        let alive: std::collections::HashSet<_> = per_room.values().flatten().map(|stats| stats.transport).collect();
        for (id, transports) in per_room {
            let Some(room) = self.rooms_by_id.get(&id).map(|room| Arc::clone(&room)) else { continue };
            self.tell_room(meter, &mut room.lock(), &transports);
        }
        meter.before.retain(|transport, _| alive.contains(transport));
    }

    fn tell_room(&self, meter: &mut Meter, state: &mut RoomState, transports: &[&TransportStats]) {
        let mut changed = Vec::new();
        for stats in transports {
            let owner = self.transports.get(&stats.transport).map(|owner| owner.1);
            let uplink_loss = meter.uplink_loss(stats);
            let Some(participant) = owner.and_then(|id| state.participants.get_mut(&id)) else { continue };
            let rtt = stats.rtt.unwrap_or_default();
            let score = score(rtt, uplink_loss.max(stats.downlink_loss));
            if participant.is_visible() && participant.quality.is_none_or(|told| (told - score).abs() >= TOLD_CHANGE) {
                participant.quality = Some(score);
                changed.push(ConnectionQuality {
                    participant_id: participant.id.to_string(),
                    score,
                    rtt_ms: rtt.as_secs_f32() * 1_000.0,
                    uplink_loss,
                    downlink_loss: stats.downlink_loss,
                });
            }
        }
        if changed.is_empty() {
            return;
        }
        let message = Outgoing::new(Body::ConnectionQuality(ConnectionQualityUpdate { participants: changed }));
        let told = state.participants.values().filter(|participant| participant.has_signalling());
        told.for_each(|participant| participant.outbox.push_lossy(Arc::clone(&message)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_is_five_and_worse_is_less() {
        let ms = Duration::from_millis;
        assert!(score(ms(20), 0.0) > 4.8);
        assert!((3.0..4.7).contains(&score(ms(50), 0.05)), "{}", score(ms(50), 0.05));
        assert!(score(ms(50), 0.05) > score(ms(50), 0.10));
        assert!(score(ms(300), 0.0) > score(ms(800), 0.0));
        assert!(score(ms(2_000), 0.5) < 1.5);
    }
}
