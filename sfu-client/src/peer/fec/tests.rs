//! Streams with losses, and parity of every kind, through the interceptor.

use super::*;
use crate::peer::stage::Staged;
use interceptor::{Interceptor, RTPHeaderExtension};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use sfu_rtc::fec::{Encoder, EncoderConfig, Scheme, Window};
use sfu_rtc::ids::PayloadType;
use sfu_rtc::rtp::{HeaderWriter, RtpHeader};

const MEDIA: u32 = 1_000;
const PARITY: u32 = 2_000;
const TRANSPORT_CC: u8 = 3;

/// A packet as the server writes it, with header extensions in the one-byte or the two-byte form.
fn packet(ssrc: u32, seq: u16, extension: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let payload_type = PayloadType(if ssrc == PARITY { 49 } else { 102 });
    let header = RtpHeader { payload_type, seq, timestamp: 3_000, ssrc: Ssrc(ssrc), marker: seq % 4 == 3 };
    let mut writer = HeaderWriter::new(&mut out, header);
    writer.extension(TRANSPORT_CC, &seq.to_be_bytes());
    writer.extension(5, extension);
    writer.finish();
    out.extend_from_slice(payload);
    out
}

/// Four packets of media, and a parity packet for them.
fn block(first: u16, extension: &[u8]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(EncoderConfig {
        scheme: Scheme::FlexFec03,
        window: Window::Block(1),
        streams: [Ssrc(MEDIA)].into_iter().collect(),
        mutable_extensions: [TRANSPORT_CC].into_iter().collect(),
    });
    encoder.set_parity(1);
    let mut packets: Vec<_> = (0..4)
        .map(|n| packet(MEDIA, first.wrapping_add(n), extension, &vec![n as u8 + 1; 100 + usize::from(n)]))
        .collect();
    packets.iter().for_each(|packet| encoder.add(packet).unwrap());
    encoder.end_frame();
    let mut payload = Vec::new();
    encoder.poll_parity(&mut payload).unwrap();
    packets.push(packet(PARITY, first, &[], &payload));
    packets
}

fn stream() -> StreamInfo {
    StreamInfo {
        ssrc: MEDIA,
        ssrc_fec: Some(PARITY),
        payload_type: 102,
        payload_type_fec: Some(49),
        rtp_header_extensions: vec![RTPHeaderExtension {
            id: TRANSPORT_CC.into(),
            uri: ExtensionKind::TransportCc.uri().to_owned(),
        }],
        ..Default::default()
    }
}

/// Hands over packets as the wire has them; what goes on, and whether each was recovered.
fn pass(interceptor: &mut Staged<FecInterceptor>, packets: &[Vec<u8>]) -> Vec<(rtp::Packet, bool)> {
    let mut out = Vec::new();
    for packet in packets {
        let packet = rtp::Packet::unmarshal(&mut packet.as_slice()).unwrap();
        let message = AttributedPacket::new(Packet::Rtp(packet));
        let (now, transport) = (Instant::now(), TransportContext::default());
        interceptor.handle_read(TaggedPacket { now, transport, message }).unwrap();
        while let Some(passed) = interceptor.poll_read() {
            let recovered = passed.message.has(&Attribute::RecoveredByFec);
            if let Packet::Rtp(packet) = passed.message.packet {
                out.push((packet, recovered));
            }
        }
    }
    out
}

/// With its transport-wide number as zero.
fn zeroed(packet: &[u8]) -> rtp::Packet {
    let mut packet = rtp::Packet::unmarshal(&mut &packet[..]).unwrap();
    packet.header.extensions[0].payload = vec![0; 2].into();
    packet
}

fn interceptor() -> (Staged<FecInterceptor>, FecWatch) {
    let watch = FecWatch::default();
    (FecInterceptor::new(watch.clone()).staged(), watch)
}

#[test]
fn a_lost_packet_comes_back_with_every_byte() {
    for extension in [&[7; 3][..], &[7; 16], &[7; 30]] {
        let (mut interceptor, watch) = interceptor();
        interceptor.bind_remote_stream(&stream());
        for lost in 0..4_u16 {
            let mut packets = block(65_529_u16.wrapping_add(lost * 4), extension);
            let missing = packets.remove(lost.into());
            let passed = pass(&mut interceptor, &packets);
            assert_eq!(passed.len(), 4, "parity goes no further");
            let recovered: Vec<_> = passed.into_iter().filter(|(_, recovered)| *recovered).collect();
            assert_eq!(recovered, [(zeroed(&missing), true)]);
        }
        let stats = watch.read(MEDIA);
        assert_eq!((stats.parity, stats.recovered, stats.discarded, stats.refused), (4, 4, 0, 0));
        assert!(stats.bytes > 4 * 100, "{stats:?}");
    }
}

#[test]
fn a_padded_packet_is_not_computed_with() {
    let (mut interceptor, watch) = interceptor();
    interceptor.bind_remote_stream(&stream());
    let mut packets = block(100, &[7]);
    // Three bytes of padding, which the parity does not know of.
    packets[1][0] |= 0x20;
    packets[1].extend_from_slice(&[0, 0, 3]);
    packets.remove(2);
    assert!(pass(&mut interceptor, &packets).iter().all(|(_, recovered)| !recovered));
    assert_eq!(watch.read(MEDIA).recovered, 0);
}

#[test]
fn without_an_agreement_packets_go_their_way() {
    let (mut interceptor, watch) = interceptor();
    interceptor.bind_remote_stream(&StreamInfo { payload_type_fec: None, ..stream() });
    let packets = block(100, &[7]);
    assert_eq!(pass(&mut interceptor, &packets).len(), 5);
    interceptor.bind_remote_stream(&stream());
    assert_eq!(pass(&mut interceptor, &packets).len(), 4);
    interceptor.unbind_remote_stream(&stream());
    assert_eq!(pass(&mut interceptor, &packets).len(), 5);
    assert_eq!(watch.read(MEDIA).parity, 1);
}
