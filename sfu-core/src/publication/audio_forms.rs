//! The forms in which one packet of audio goes to subscribers: plain Opus, or Opus with older audio in front (RED,
//! RFC 2198). Each is made for the first who needs it, and shared by all who do.

use crate::payload_map::AudioForm;
use crate::receive_stream::ReceiveStream;
use crate::repair::MAX_GENERATIONS;
use arrayvec::ArrayVec;
use sfu_rtc::codec::red::{self, Red, Redundant};
use sfu_rtc::ids::{PayloadType, SeqNo};
use sfu_rtc::media::{Codec, PayloadFormat};
use sfu_rtc::packet::{Packet, PacketPool};

const GENERATIONS: usize = MAX_GENERATIONS as usize;
/// Payloads up to this are nothing but an Opus frame's header: silence, which needs no copy.
const EMPTY: usize = 2;
/// With headers, extensions and tag it still is one datagram on every usual path.
const MAX_PAYLOAD: usize = 1_100;
/// RFC 2198 says offsets up to 341 ms: what a packet may carry is so many packets of 20 ms old.
const OLDEST: u64 = 17;

/// What a publisher's own redundancy is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Carried {
    /// So many blocks of packets that came.
    Known(usize),
    /// Something that was lost on the way to us.
    Lost,
    /// Perhaps something that was said while the publication was muted.
    Muted,
}

/// What there is of one packet beside itself.
#[derive(Default, Debug)]
pub(super) struct AudioForms {
    carried: Option<Carried>,
    plain: Option<Option<Packet>>,
    redundant: [Option<Option<Packet>>; GENERATIONS],
}

/// Where the other forms are made of.
pub(super) struct AudioParts<'p> {
    pub(super) stream: &'p ReceiveStream,
    /// Of the publication.
    pub(super) formats: &'p [PayloadFormat],
    pub(super) pool: &'p mut PacketPool,
    /// Reused for every payload.
    pub(super) scratch: &'p mut Vec<u8>,
}

impl AudioForms {
    /// `packet` as a subscriber wants it; `None` where it is malformed.
    pub(super) fn get<'f>(
        &'f mut self,
        packet: &'f Packet,
        wanted: AudioForm,
        parts: &mut AudioParts<'_>,
    ) -> Option<&'f Packet> {
        let is_red = packet.codec == Codec::OpusRed;
        if wanted == AudioForm::AsSent && !is_red {
            return Some(packet);
        }
        let carried = match is_red {
            true => *self.carried.get_or_insert_with(|| carried(packet, parts.stream)),
            false => Carried::Known(0),
        };
        let generations = match (wanted, carried) {
            (AudioForm::PlainOnly, _) | (AudioForm::AsSent, Carried::Muted) => 0,
            // It heals a loss for everybody.
            (AudioForm::AsSent, _) | (_, Carried::Lost) => return Some(packet),
            (AudioForm::Redundant(wanted), Carried::Known(blocks)) if wanted > 0 && blocks >= usize::from(wanted) => {
                return Some(packet);
            }
            (AudioForm::Redundant(wanted), _) => usize::from(wanted.min(MAX_GENERATIONS)),
        };
        let Self { plain, redundant, .. } = self;
        let made = generations
            .checked_sub(1)
            .and_then(|place| redundant[place].get_or_insert_with(|| add(packet, generations, parts)).as_ref());
        // Without anything older to send, or without memory for it, it goes alone.
        match made {
            None if is_red => plain.get_or_insert_with(|| strip(packet, parts)).as_ref(),
            made => Some(made.unwrap_or(packet)),
        }
    }
}

/// What stands in front of the primary block of a packet of RED.
fn carried(packet: &Packet, stream: &ReceiveStream) -> Carried {
    let Some(red) = Red::parse(packet.payload()) else { return Carried::Known(0) };
    if stream.is_closed(SeqNo(packet.seq.0.saturating_sub(OLDEST))) {
        return Carried::Muted;
    }
    let came = |offset: u16| {
        let timestamp = packet.timestamp.wrapping_sub(offset.into());
        before(packet.seq, OLDEST).any(|seq| stream.history.get(seq).is_some_and(|old| old.timestamp == timestamp))
    };
    if red.redundant.iter().all(|block| came(block.timestamp_offset)) {
        Carried::Known(red.redundant.len())
    } else {
        Carried::Lost
    }
}

/// The numbers before `seq`, the newest first.
fn before(seq: SeqNo, count: u64) -> impl Iterator<Item = SeqNo> {
    (1..=count).filter_map(move |n| seq.0.checked_sub(n).map(SeqNo))
}

/// The primary block of a packet of RED, as if it had been sent alone.
fn strip(packet: &Packet, parts: &mut AudioParts<'_>) -> Option<Packet> {
    let opus = payload_type_of(Codec::Opus, parts.formats)?;
    begin(packet, parts.scratch);
    parts.scratch.extend_from_slice(opus_of(packet)?);
    make(packet, (Codec::Opus, opus), parts)
}

/// The packet with as many of those before it as `generations`, where they came and fit; `None` where there is none.
fn add(packet: &Packet, generations: usize, parts: &mut AudioParts<'_>) -> Option<Packet> {
    let AudioParts { stream, formats, scratch, .. } = parts;
    let opus = payload_type_of(Codec::Opus, formats)?;
    let primary = opus_of(packet)?;
    let mut room = MAX_PAYLOAD.checked_sub(primary.len())?;
    let mut blocks = ArrayVec::<Redundant<'_>, GENERATIONS>::new();
    for seq in before(packet.seq, generations as u64).filter(|seq| !stream.is_closed(*seq)) {
        let Some((old, data)) = stream.history.get(seq).and_then(|old| Some((old, opus_of(old)?))) else { continue };
        let timestamp_offset = packet.timestamp.wrapping_sub(old.timestamp);
        let block = Redundant { payload_type: opus, timestamp_offset, data };
        if data.len() > EMPTY && data.len() <= room && timestamp_offset > 0 && block.fits() {
            room -= data.len();
            blocks.insert(0, block); // oldest first
        }
    }
    if blocks.is_empty() {
        return None;
    }
    begin(packet, scratch);
    red::write(&blocks, opus, primary, scratch);
    // A publisher need not know RED for its subscribers to get it.
    let payload_type = payload_type_of(Codec::OpusRed, formats).unwrap_or(packet.payload_type);
    make(packet, (Codec::OpusRed, payload_type), parts)
}

/// What is Opus in a packet.
fn opus_of(packet: &Packet) -> Option<&[u8]> {
    match packet.codec {
        Codec::OpusRed => packet.payload().get(red::primary(packet.payload())?),
        _ => Some(packet.payload()),
    }
}

fn payload_type_of(codec: Codec, formats: &[PayloadFormat]) -> Option<PayloadType> {
    formats.iter().find(|format| format.codec == codec).map(|format| format.payload_type)
}

/// Begins the bytes of another form with what else of the packet goes on: the time at which it was captured.
fn begin(packet: &Packet, scratch: &mut Vec<u8>) {
    scratch.clear();
    scratch.extend_from_slice(packet.extensions.abs_capture_time.map_or(&[], |time| packet.part(time)));
}

/// The packet with the payload that stands in the scratch, behind what it began with.
fn make(packet: &Packet, (codec, payload_type): (Codec, PayloadType), parts: &mut AudioParts<'_>) -> Option<Packet> {
    let bytes = parts.scratch.as_slice();
    let time = packet.extensions.abs_capture_time.map(|(_, len)| (0, len));
    let start = time.map_or(0, |(_, len)| usize::from(len));
    parts.pool.take(|data| {
        data.arrival = packet.arrival;
        data.ssrc = packet.ssrc;
        data.payload_type = payload_type;
        data.codec = codec;
        data.seq = packet.seq;
        data.timestamp = packet.timestamp;
        data.marker = packet.marker;
        data.frame = packet.frame;
        data.extensions.audio_level = packet.extensions.audio_level;
        data.extensions.abs_capture_time = time;
        data.repaired = packet.repaired;
        data.set_bytes(bytes, start..bytes.len())
    })
}
