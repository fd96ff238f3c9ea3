//! The receiving side of several media streams, each with a parity stream of its own (Reed-Solomon or FlexFEC-03, RFC 5956
//! groups of two).
//!
//! Give it every packet as it came, parity and media alike, and drain [`FecReceiver::poll_recovered`]. Retransmissions are
//! not for it: their header extensions differ from those of the packet that was protected, which no scheme but our own
//! would notice.

use super::{Decoder, DecoderConfig, DecoderStats, MutableExtensions, Scheme};
use crate::ids::Ssrc;
use crate::rtp::RtpView;

/// Most streams at once, each of which may take 600 kB: as many as a client shows.
pub const MAX_PROTECTED: usize = 64;

/// Recovers packets of the streams that it was told of. Bounded by [`MAX_PROTECTED`] and the bounds of [`Decoder`].
#[derive(Debug, Default)]
pub struct FecReceiver {
    streams: Vec<Protected>,
}

#[derive(Debug)]
struct Protected {
    media: Ssrc,
    parity: Ssrc,
    decoder: Decoder,
    /// The payload types that came, a bit for each.
    payload_types: u128,
    /// Recovered packets that were not believed.
    refused: u64,
}

impl FecReceiver {
    /// Expects parity in this `scheme` for `media` from `parity`, in place of what was expected for `media` before; `mutable` are the header
    /// extensions that are protected as zero. `false` where there is no room, or `parity` is another stream's.
    pub fn add(&mut self, scheme: Scheme, media: Ssrc, parity: Ssrc, mutable: MutableExtensions) -> bool {
        self.remove(media);
        let taken = self.streams.iter().any(|stream| [stream.media, stream.parity].contains(&parity));
        if self.streams.len() == MAX_PROTECTED || taken || media == parity {
            return false;
        }
        let mut decoder = Decoder::new(DecoderConfig { scheme, mutable_extensions: mutable });
        decoder.add_stream(media);
        self.streams.push(Protected { media, parity, decoder, payload_types: 0, refused: 0 });
        true
    }

    /// Expects no parity for `media` any more.
    pub fn remove(&mut self, media: Ssrc) {
        self.streams.retain(|stream| stream.media != media);
    }

    /// The media stream that parity from `ssrc` is for.
    pub fn protected_by(&self, ssrc: Ssrc) -> Option<Ssrc> {
        self.streams.iter().find(|stream| stream.parity == ssrc).map(|stream| stream.media)
    }

    /// Whether parity is expected for the media stream `ssrc`.
    pub fn protects(&self, ssrc: Ssrc) -> bool {
        self.streams.iter().any(|stream| stream.media == ssrc)
    }

    /// An RTP packet came; one of another stream is nothing to it. What cannot be used, such as parity for what came before
    /// the first packet, is counted.
    pub fn on_packet(&mut self, packet: &[u8]) {
        let Ok(view) = RtpView::parse(packet) else { return };
        let ssrc = view.ssrc();
        let Some(stream) = self.streams.iter_mut().find(|stream| [stream.media, stream.parity].contains(&ssrc)) else {
            return;
        };
        // Duplicates and latecomers of media are told from the rest by who takes the media.
        let _ = match ssrc == stream.parity {
            true => stream.decoder.on_parity(ssrc, view.payload()),
            false => {
                stream.payload_types |= 1 << view.payload_type().0;
                stream.decoder.on_media(packet)
            }
        };
    }

    /// Writes the next recovered RTP packet to `out`, which is replaced; its stream.
    pub fn poll_recovered(&mut self, out: &mut Vec<u8>) -> Option<Ssrc> {
        self.streams.iter_mut().find_map(|stream| stream.poll_recovered(out))
    }

    /// What came of the parity for `media`.
    pub fn stats(&self, media: Ssrc) -> Option<DecoderStats> {
        let stream = self.streams.iter().find(|stream| stream.media == media)?;
        let stats = stream.decoder.stats();
        let (recovered, refused) = (stats.recovered - stream.refused, stats.refused + stream.refused);
        Some(DecoderStats { recovered, refused, ..stats })
    }
}

impl Protected {
    /// The next one that can be believed. FlexFEC has no check of a packet: wrong bytes show where no packet of the stream
    /// had such a payload type.
    fn poll_recovered(&mut self, out: &mut Vec<u8>) -> Option<Ssrc> {
        loop {
            let ssrc = self.decoder.poll_recovered(out)?;
            let view = RtpView::parse(out).ok();
            if view.is_some_and(|view| self.payload_types >> view.payload_type().0 & 1 == 1) {
                return Some(ssrc);
            }
            self.refused += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fec::{Encoder, EncoderConfig, Window};
    use crate::ids::PayloadType;
    use crate::rtp::{HeaderWriter, RtpHeader};
    use arrayvec::ArrayVec;

    const MEDIA: [Ssrc; 2] = [Ssrc(10), Ssrc(20)];
    const PARITY: [Ssrc; 2] = [Ssrc(11), Ssrc(21)];

    fn packet(ssrc: Ssrc, payload_type: u8, seq: u16, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let payload_type = PayloadType(payload_type);
        let header = RtpHeader { payload_type, seq, timestamp: 9_000, ssrc, marker: false };
        HeaderWriter::new(&mut out, header).finish();
        out.extend_from_slice(payload);
        out
    }

    /// Four packets of `media` with payload type 96, and their parity.
    fn block(media: Ssrc, parity: Ssrc, first: u16) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut encoder = Encoder::new(EncoderConfig {
            scheme: Scheme::FlexFec03,
            window: Window::Block(1),
            streams: ArrayVec::from_iter([media]),
            mutable_extensions: MutableExtensions::new(),
        });
        encoder.set_parity(1);
        let packets: Vec<_> = (0..4).map(|n| packet(media, 96, first + n, &[n as u8; 40])).collect();
        packets.iter().for_each(|packet| encoder.add(packet).unwrap());
        encoder.end_frame();
        let mut payload = Vec::new();
        encoder.poll_parity(&mut payload).unwrap();
        (packets, packet(parity, 49, 0, &payload))
    }

    fn receiver() -> FecReceiver {
        let mut receiver = FecReceiver::default();
        assert!(MEDIA.iter().zip(PARITY).all(|(media, parity)| receiver.add(
            Scheme::FlexFec03,
            *media,
            parity,
            MutableExtensions::new()
        )));
        receiver
    }

    fn recovered(receiver: &mut FecReceiver) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        std::iter::from_fn(|| receiver.poll_recovered(&mut out).map(|_| out.clone())).collect()
    }

    #[test]
    fn each_stream_is_recovered_by_its_own_parity() {
        let mut receiver = receiver();
        for at in 0..2 {
            let (packets, parity) = block(MEDIA[at], PARITY[at], 100);
            packets[1..].iter().chain([&parity]).for_each(|packet| receiver.on_packet(packet));
            assert_eq!(recovered(&mut receiver), [packets[0].clone()]);
            let stats = receiver.stats(MEDIA[at]).unwrap();
            assert_eq!((stats.parity, stats.recovered, stats.discarded), (1, 1, 0));
            assert_eq!(stats.bytes, parity.len() as u64 - 12);
        }
        assert_eq!((receiver.protected_by(PARITY[1]), receiver.protected_by(MEDIA[1])), (Some(MEDIA[1]), None));
        assert!(receiver.protects(MEDIA[0]) && !receiver.protects(PARITY[0]));
    }

    #[test]
    fn parity_that_is_of_no_use_is_counted() {
        let mut receiver = receiver();
        let (packets, parity) = block(MEDIA[0], PARITY[0], 100);
        receiver.on_packet(&parity);
        assert_eq!(receiver.stats(MEDIA[0]).unwrap().discarded, 1, "before the first packet");
        packets.iter().chain([&parity]).for_each(|packet| receiver.on_packet(packet));
        assert_eq!(receiver.stats(MEDIA[0]).unwrap().discarded, 2, "nothing is missing");
        receiver.on_packet(&packet(PARITY[0], 49, 1, &[0xff; 30]));
        let (_, foreign) = block(MEDIA[1], PARITY[0], 100);
        receiver.on_packet(&foreign);
        let stats = receiver.stats(MEDIA[0]).unwrap();
        assert_eq!((stats.parity, stats.refused, stats.recovered), (4, 2, 0), "malformed, and for another stream");
        receiver.on_packet(&[0x80, 1, 2]);
        receiver.on_packet(&packet(Ssrc(5), 96, 1, &[1]));
        assert_eq!(recovered(&mut receiver), [[0; 0]; 0]);
    }

    #[test]
    fn what_has_a_payload_type_that_never_came_is_not_delivered() {
        let mut receiver = receiver();
        let (mut packets, parity) = block(MEDIA[0], PARITY[0], 100);
        // As if a middlebox had changed it: the difference would end in what is recovered.
        packets[2][1] ^= 0x05;
        packets[3][1] ^= 0x06;
        packets[1..].iter().chain([&parity]).for_each(|packet| receiver.on_packet(packet));
        assert_eq!(recovered(&mut receiver), [[0; 0]; 0]);
        assert_eq!(receiver.stats(MEDIA[0]).unwrap().refused, 1);
    }

    #[test]
    fn streams_are_bounded_and_apart() {
        let mut receiver = receiver();
        let mut add =
            |media, parity| receiver.add(Scheme::FlexFec03, Ssrc(media), Ssrc(parity), MutableExtensions::new());
        assert!(!add(30, 11) && !add(30, 20) && !add(30, 30), "taken");
        assert!((100..1_000).map(|n| add(n, n + 10_000)).filter(|added| *added).count() == MAX_PROTECTED - 2);
        receiver.remove(MEDIA[0]);
        assert_eq!((receiver.stats(MEDIA[0]), receiver.protected_by(PARITY[0])), (None, None));
    }
}
