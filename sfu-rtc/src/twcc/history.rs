//! What we sent, by transport-wide sequence number, until the peer's feedback tells what became of it.

use crate::bwe::{PacketResult, ProbeId};
use crate::ids::{SeqNo, Ssrc};
use crate::time::{Duration, Instant};
use crate::units::DataSize;
use std::collections::VecDeque;

/// Limits of a [`SendHistory`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendHistoryConfig {
    /// Feedback on older packets tells nothing of the path as it is now.
    pub max_age: Duration,
    /// Most packets remembered: `max_age` of 40 Mbit/s.
    pub max_packets: usize,
}

impl Default for SendHistoryConfig {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(2), max_packets: 8_192 }
    }
}

/// Which packet of which frame of its publisher's one was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FramePacket {
    /// Index of the section that it went out on.
    pub section: u16,
    /// The publisher's source.
    pub source: Ssrc,
    /// Frame number of the publisher's dependency descriptor.
    pub frame: u16,
    /// Low bits of the publisher's sequence number.
    pub seq: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Unknown,
    Lost,
    Received,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    size: u32,
    probe: Option<ProbeId>,
    fate: Fate,
    frame: Option<FramePacket>,
    /// It was sent more than once: which of them arrived is not told.
    repeated: bool,
}

/// Numbers what is sent, and matches feedback to it.
#[derive(Debug)]
pub struct SendHistory {
    config: SendHistoryConfig,
    /// Packets with the numbers from `first` on.
    sent: VecDeque<Sent>,
    first: SeqNo,
    /// The peer's last reference time, extended, in units of 64 ms.
    reference: Option<i64>,
    /// What became of packets of named frames, until it is taken.
    told: Vec<(FramePacket, bool)>,
}

/// Reference times count 64 ms (section 3.1).
const REFERENCE_UNIT: Duration = Duration::from_millis(64);
/// Deltas count 250 us (section 3.1.5).
const DELTA_MICROS: i64 = 250;
/// The peer's clock begins here, so that times before its first reference stay positive.
const PEER_EPOCH: i64 = 1 << 24;

/// Old packets are looked for each time so many were sent: they have left the caches, and some lie in one line.
const EXPIRY_EVERY: u64 = 16;

impl SendHistory {
    /// Nothing sent.
    pub fn new(config: SendHistoryConfig) -> Self {
        Self { config, sent: VecDeque::new(), first: SeqNo(1 << 16), reference: None, told: Vec::new() }
    }

    /// The number that the next packet gets.
    pub fn next_seq(&self) -> u16 {
        self.next().wire()
    }

    fn next(&self) -> SeqNo {
        SeqNo(self.first.0 + self.sent.len() as u64)
    }

    /// Where the packet with that number stands, if it is still remembered.
    fn index(&self, wire: u16) -> Option<usize> {
        usize::try_from(self.next().extend(wire).0.checked_sub(self.first.0)?).ok()
    }

    /// Records that the packet with the number [`SendHistory::next_seq`] leaves, as part of a probe or not.
    pub fn on_sent(&mut self, now: Instant, size: DataSize, probe: Option<ProbeId>) {
        let size = u32::try_from(size.as_bytes()).unwrap_or(u32::MAX);
        self.sent.push_back(Sent { at: now, size, probe, fate: Fate::Unknown, frame: None, repeated: false });
        let looks = self.next().0.is_multiple_of(EXPIRY_EVERY);
        let is_old = |sent: &Sent| looks && now - sent.at > self.config.max_age;
        while self.sent.len() > self.config.max_packets || self.sent.front().is_some_and(is_old) {
            self.sent.pop_front();
            self.first = self.first.next();
        }
    }

    /// Says which packet of which frame the last one was.
    pub fn name_last(&mut self, frame: FramePacket) {
        if let Some(sent) = self.sent.back_mut() {
            sent.frame = Some(frame);
        }
    }

    /// The packet with that number leaves once more as it was. That it arrives then tells nothing of the path.
    pub fn on_repeated(&mut self, wire: u16) {
        if let Some(sent) = self.index(wire).and_then(|index| self.sent.get_mut(index)) {
            sent.repeated = true;
        }
    }

    /// What became of packets that were named, since this was asked last: whether they arrived. One that is told lost may
    /// be told to have arrived later.
    pub fn told(&mut self) -> std::vec::Drain<'_, (FramePacket, bool)> {
        self.told.drain(..)
    }

    /// Takes one feedback: `reference_time` in units of 64 ms and, per number, the time since the packet before it in
    /// units of 250 us, `None` for a lost one. Replaces `out` by what is news, in the order of sending.
    pub fn on_feedback(
        &mut self,
        reference_time: i32,
        packets: impl Iterator<Item = (u16, Option<i32>)>,
        out: &mut Vec<PacketResult>,
    ) {
        out.clear();
        let reference = self.extend_reference(reference_time);
        let mut micros = reference.saturating_mul(i64::try_from(REFERENCE_UNIT.as_micros()).unwrap_or(i64::MAX));
        for (wire, delta) in packets {
            micros = micros.saturating_add(i64::from(delta.unwrap_or(0)) * DELTA_MICROS);
            let Some(sent) = self.index(wire).and_then(|index| self.sent.get_mut(index)) else { continue };
            let fate = if delta.is_some() { Fate::Received } else { Fate::Lost };
            // A packet first reported lost may still arrive; all else is told once.
            if sent.fate == fate || sent.fate == Fate::Received {
                continue;
            }
            sent.fate = fate;
            if let Some(frame) = sent.frame.filter(|_| self.told.len() < self.config.max_packets) {
                self.told.push((frame, delta.is_some()));
            }
            if sent.repeated {
                continue;
            }
            let received = delta.map(|_| Instant::from_nanos(u64::try_from(micros).unwrap_or(0).saturating_mul(1_000)));
            let size = DataSize::from_bytes(u64::from(sent.size));
            out.push(PacketResult { sent: sent.at, received, size, probe: sent.probe });
        }
    }

    /// Passes over one number, for who sends but wants no feedback.
    pub fn skip(&mut self) {
        self.first = self.next().next();
        self.sent.clear();
    }

    /// How many packets are remembered.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Extends the 24 bits on the wire to the number nearest to the last.
    fn extend_reference(&mut self, wire: i32) -> i64 {
        let wire = i64::from(wire & 0xff_ffff);
        let extended = match self.reference {
            None => PEER_EPOCH + wire,
            Some(last) => {
                let ahead = (wire - last) & 0xff_ffff;
                last + if ahead < 0x80_0000 { ahead } else { ahead - 0x100_0000 }
            }
        };
        self.reference = Some(extended);
        extended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: DataSize = DataSize::from_bytes(1_200);

    fn history(sent: u64) -> SendHistory {
        let mut history = SendHistory::new(SendHistoryConfig::default());
        (0..sent).for_each(|at| history.on_sent(Instant::from_millis(at), SIZE, None));
        history
    }

    fn feedback(history: &mut SendHistory, reference: i32, packets: &[(u16, Option<i32>)]) -> Vec<PacketResult> {
        let mut out = Vec::new();
        history.on_feedback(reference, packets.iter().copied(), &mut out);
        out
    }

    #[test]
    fn of_what_was_sent_twice_nothing_is_told() {
        let mut history = history(4);
        assert_eq!(feedback(&mut history, 5, &[(1, None), (2, Some(8))]).len(), 2);
        [0, 1, 9].into_iter().for_each(|wire| history.on_repeated(wire));
        let results = feedback(&mut history, 6, &[(0, Some(4)), (1, Some(100)), (3, Some(8))]);
        assert_eq!(results.iter().map(|r| r.sent.as_millis()).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn feedback_finds_what_was_sent() {
        let mut history = history(4);
        let results = feedback(&mut history, 5, &[(0, Some(4)), (1, None), (2, Some(8)), (9, Some(1))]);
        assert_eq!(results.iter().map(|r| r.sent.as_millis()).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(results[1].received, None);
        let apart = results[2].received.unwrap() - results[0].received.unwrap();
        assert_eq!(apart, Duration::from_millis(2));
    }

    #[test]
    fn each_fate_is_told_once_but_the_lost_may_be_found() {
        let mut history = history(2);
        assert_eq!(feedback(&mut history, 5, &[(0, Some(1)), (1, None)]).len(), 2);
        assert!(feedback(&mut history, 5, &[(0, Some(1)), (1, None)]).is_empty());
        let found = feedback(&mut history, 6, &[(0, None), (1, Some(1))]);
        assert!(found.len() == 1 && found[0].received.is_some());
    }

    #[test]
    fn what_became_of_named_packets_is_told_once() {
        let mut history = history(1);
        let name = FramePacket { section: 2, source: Ssrc(3), frame: 4, seq: 5 };
        history.name_last(name);
        assert_eq!(history.told().count(), 0);
        feedback(&mut history, 5, &[(0, None), (7, Some(1))]);
        feedback(&mut history, 5, &[(0, Some(1))]);
        assert_eq!(history.told().collect::<Vec<_>>(), [(name, false), (name, true)]);
        assert_eq!(history.told().count(), 0);
    }

    #[test]
    fn the_reference_time_wraps() {
        let mut history = history(2);
        let before = feedback(&mut history, 0xff_ffff, &[(0, Some(0))])[0].received.unwrap();
        let after = feedback(&mut history, 0, &[(1, Some(0))])[0].received.unwrap();
        assert_eq!(after - before, REFERENCE_UNIT);
    }

    #[test]
    fn the_old_is_forgotten() {
        let mut history = history(10);
        // They are looked for each time so many are sent.
        (0..EXPIRY_EVERY).for_each(|_| history.on_sent(Instant::from_millis(10_000), SIZE, None));
        assert!(history.len() as u64 <= EXPIRY_EVERY);
        assert_eq!(u64::from(history.next_seq()), 10 + EXPIRY_EVERY);
        assert!(feedback(&mut history, 5, &[(3, Some(1))]).is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_feedback_is_harmless(
            reports in prop::collection::vec((any::<i32>(), prop::collection::vec((any::<u16>(), any::<Option<i32>>()), 0..50)), 0..20),
        ) {
            let mut history = history(300);
            let mut told = 0;
            for (reference, packets) in reports {
                told += feedback(&mut history, reference, &packets).len();
            }
            prop_assert!(told <= 2 * 300);
        }
    }
}
