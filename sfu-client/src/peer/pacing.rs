//! When packets leave: a frame is spread over its own interval at most, sound waits for nothing.
//!
//! A frame that leaves as one burst stands as a queue at a slow bottleneck, and sound behind it. So what leaves is paced by
//! what the path is estimated to carry, but never so slowly that a frame is still here when the next one comes: how much is
//! sent is up to the encoder. Transport-wide numbers are given here, when a packet leaves, to retransmissions and parity too.

use super::stage::{Passed, Stage, extension_id};
use super::uplink::{SharedUplink, Uplink};
use bytes::Bytes;
use interceptor::{Attribute, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::shared::error::Error;
use rtc::shared::marshal::MarshalSize;
use sfu_rtc::pacer::{Pacer, PacerConfig, PacketClass};
use sfu_rtc::rtp::extension::ExtensionKind;
use sfu_rtc::time::{Duration, Instant as MediaTime};
use sfu_rtc::units::DataSize;
use std::collections::HashMap;
use std::time::Instant;

/// Nearer to the wire than all that makes packets.
pub(super) const SLOT: Slot = Slot::Pacer;

/// What IPv4, UDP and SRTP's tag add to a packet.
const OVERHEAD: usize = 20 + 8 + 16;
/// Ticks per second of video's timestamps.
const CLOCK_RATE: f64 = 90_000.0;
/// Time from frame to frame before the second one has come.
const FIRST_INTERVAL: Duration = Duration::from_millis(33);
/// Longest time that a frame is spread over: where pictures come seldom, each is to be seen soon.
const LONGEST_INTERVAL: Duration = Duration::from_millis(200);

/// Weight of the newest frame in the mean time between two: a capture that was held up makes up for it in a burst.
const WEIGHT: f64 = 0.125;
/// What waits has left after so long, whatever came: later it is too old.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// What a source's packets are.
#[derive(Clone, Copy)]
struct Stream {
    class: PacketClass,
    /// Id of the header extension for the transport-wide number.
    transport_cc: Option<u8>,
    /// Of video: the newest frame's timestamp, and the mean time from frame to frame.
    frame: Option<u32>,
    interval: Duration,
}

impl Stream {
    /// Whether a packet with this timestamp begins a frame.
    fn begins_frame(&mut self, timestamp: u32) -> bool {
        let before = self.frame.replace(timestamp);
        if let Some(before) = before.filter(|before| *before != timestamp) {
            let seconds = f64::from(timestamp.wrapping_sub(before)) / CLOCK_RATE;
            let gap = Duration::from_secs_f64(seconds).min(LONGEST_INTERVAL);
            self.interval = self.interval.mul_f64(1.0 - WEIGHT) + gap.mul_f64(WEIGHT);
        }
        before != Some(timestamp)
    }
}

/// The interceptor: it holds back what leaves.
pub(super) struct Pacing {
    /// When the media clock began.
    epoch: Instant,
    uplink: SharedUplink,
    pacer: Pacer<TaggedPacket>,
    streams: HashMap<u32, Stream>,
    /// What waits is to have left by then.
    due: MediaTime,
}

impl Pacing {
    /// With the media clock at nothing at `epoch`.
    pub(super) fn new(epoch: Instant, uplink: SharedUplink) -> Self {
        Self { epoch, uplink, pacer: Pacer::new(PacerConfig::default()), streams: HashMap::new(), due: MediaTime::ZERO }
    }

    fn time(&self, at: Instant) -> MediaTime {
        MediaTime::ZERO + at.saturating_duration_since(self.epoch)
    }

    fn hold(&mut self, now: MediaTime, message: TaggedPacket) {
        let Packet::Rtp(packet) = &message.message.packet else { return };
        let size = DataSize::from_bytes((packet.marshal_size() + OVERHEAD) as u64);
        let class = self.class(packet, message.message.get(&Attribute::Retransmission).is_some());
        if class == PacketClass::Rtx && self.uplink.lock().drains() {
            // It would come behind the queue, and later for it; whoever still needs it then asks again.
            tracing::debug!("what was asked for is not sent again while a queue drains");
            return;
        }
        let stream = self.streams.get_mut(&packet.header.ssrc);
        if let Some(stream) = stream.filter(|_| class == PacketClass::Video)
            && stream.begins_frame(packet.header.timestamp)
        {
            // A frame that comes before its time follows those before it.
            self.due = (self.due.max(now) + stream.interval).min(now + LONGEST_WAIT);
        } else if self.pacer.is_empty() {
            self.due = self.due.max(now + FIRST_INTERVAL);
        }
        if self.pacer.push(class, size, message).is_err() {
            tracing::debug!(?class, "too many packets wait to be sent");
        }
    }

    fn class(&self, packet: &rtp::Packet, is_again: bool) -> PacketClass {
        let own = || self.streams.get(&packet.header.ssrc).map_or(PacketClass::Video, |stream| stream.class);
        if is_again { PacketClass::Rtx } else { own() }
    }

    /// Lets leave what may.
    fn release(&mut self, now: MediaTime, passed: &mut Passed) {
        let shared = self.uplink.clone();
        let mut uplink = shared.lock();
        let left = self.due.saturating_since(now);
        self.pacer.set_estimate_within(now, uplink.estimate(), uplink.is_queued(), left);
        while let Some(mut message) = self.pacer.pop(now) {
            message.now = self.epoch + (now - MediaTime::ZERO);
            self.number(now, &mut uplink, &mut message);
            passed.write.push_back(message);
        }
    }

    /// A packet leaves: it is counted, and numbered where that was negotiated.
    fn number(&self, now: MediaTime, uplink: &mut Uplink, message: &mut TaggedPacket) {
        let is_again = message.message.get(&Attribute::Retransmission).is_some();
        let Packet::Rtp(packet) = &mut message.message.packet else { return };
        let size = DataSize::from_bytes((packet.marshal_size() + OVERHEAD) as u64);
        let payload = DataSize::from_bytes(packet.payload.len() as u64);
        uplink.count(self.class(packet, is_again), size, payload);
        let stream = self.streams.get(&packet.header.ssrc);
        let Some(id) = stream.and_then(|stream| stream.transport_cc) else { return };
        let number = Bytes::copy_from_slice(&uplink.send(now, size).to_be_bytes());
        if let Err(error) = packet.header.set_extension(id, number) {
            tracing::debug!(%error, "a packet leaves without its number");
        }
    }

    /// The sources of a stream: its own, its retransmissions' and its parity's.
    fn sources(info: &StreamInfo) -> impl Iterator<Item = (u32, PacketClass)> {
        let is_audio = info.mime_type.starts_with("audio/");
        let own = if is_audio { PacketClass::Audio } else { PacketClass::Video };
        let others = [(info.ssrc_rtx, PacketClass::Rtx), (info.ssrc_fec, PacketClass::Fec)];
        let others = others.into_iter().filter_map(|(ssrc, class)| Some((ssrc?, class)));
        [(info.ssrc, own)].into_iter().chain(others)
    }
}

impl Stage for Pacing {
    fn read(&mut self, message: TaggedPacket, passed: &mut Passed) {
        if let Packet::Rtcp(packets) = &message.message.packet {
            let now = self.time(message.now);
            let is_news = self.uplink.lock().hear(now, packets);
            if is_news {
                self.release(now, passed);
            }
        }
        passed.read.push_back(message);
    }

    fn write(&mut self, message: TaggedPacket, passed: &mut Passed) -> Result<(), Error> {
        // Reports tell of a moment, and are small.
        if matches!(message.message.packet, Packet::Rtcp(_)) {
            passed.write.push_back(message);
            return Ok(());
        }
        let now = self.time(message.now);
        self.hold(now, message);
        self.release(now, passed);
        Ok(())
    }

    fn timeout(&mut self, now: Instant, passed: &mut Passed) {
        let now = self.time(now);
        self.uplink.lock().handle_timeout(now);
        self.release(now, passed);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let next = [self.pacer.poll_timeout(), self.uplink.lock().poll_timeout()];
        next.into_iter().flatten().min().map(|at| self.epoch + (at - MediaTime::ZERO))
    }

    fn bind_local(&mut self, info: &StreamInfo) {
        let transport_cc = extension_id(info, ExtensionKind::TransportCc);
        for (ssrc, class) in Self::sources(info) {
            self.streams.insert(ssrc, Stream { class, transport_cc, frame: None, interval: FIRST_INTERVAL });
        }
    }

    fn unbind_local(&mut self, info: &StreamInfo) {
        for (ssrc, _) in Self::sources(info) {
            self.streams.remove(&ssrc);
        }
    }
}

#[cfg(test)]
mod tests;
