//! What leaves beside video, and what a receiver makes of it.

use super::*;
use crate::peer::pacing::Pacing;
use crate::peer::stage::Staged;
use crate::peer::uplink::SharedUplink;
use interceptor::{Interceptor, RTPHeaderExtension};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use sfu_rtc::fec::{Decoder, DecoderConfig};
use sfu_rtc::time::Instant as MediaTime;
use std::time::Instant;

const MEDIA: u32 = 1_000;
const PARITY: u32 = 2_000;
const TRANSPORT_CC: u8 = 3;

fn stream(fec: bool) -> StreamInfo {
    StreamInfo {
        ssrc: MEDIA,
        ssrc_fec: fec.then_some(PARITY),
        payload_type: 102,
        payload_type_fec: fec.then_some(50),
        rtp_header_extensions: vec![RTPHeaderExtension {
            id: TRANSPORT_CC.into(),
            uri: ExtensionKind::TransportCc.uri().to_owned(),
        }],
        ..Default::default()
    }
}

/// A frame of four packets from `first` on; of a keyframe where its units are slices of type 5.
fn frame(first: u16, is_key: bool) -> Vec<rtp::Packet> {
    let packet = |n: u16| {
        let header = rtp::Header {
            version: 2,
            marker: n == 3,
            payload_type: 102,
            sequence_number: first + n,
            timestamp: u32::from(first),
            ssrc: MEDIA,
            ..Default::default()
        };
        let mut payload = vec![n as u8 + 1; 100 + usize::from(n)];
        payload[..2].copy_from_slice(&[if is_key { 0x65 } else { 0x41 }, 0x80]);
        rtp::Packet { header, payload: payload.into() }
    };
    (0..4).map(packet).collect()
}

/// As it is on the wire.
fn sent(parity: &mut Staged<ParitySender>, numbers: &mut Staged<Pacing>, packets: Vec<rtp::Packet>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for packet in packets {
        let message = AttributedPacket::new(Packet::Rtp(packet));
        let (now, transport) = (Instant::now(), TransportContext::default());
        parity.handle_write(TaggedPacket { now, transport, message }).unwrap();
        while let Some(message) = parity.poll_write() {
            numbers.handle_write(message).unwrap();
        }
    }
    while let Some(due) = numbers.poll_timeout() {
        numbers.handle_timeout(due).unwrap();
    }
    while let Some(message) = numbers.poll_write() {
        if let Packet::Rtp(packet) = message.message.packet {
            out.push(packet.marshal().unwrap().to_vec());
        }
    }
    out
}

/// What numbers packets when they leave.
fn numbers() -> Staged<Pacing> {
    Pacing::new(Instant::now(), SharedUplink::new(MediaTime::ZERO)).staged()
}

fn parse(packet: &[u8]) -> sfu_rtc::rtp::RtpView<'_> {
    sfu_rtc::rtp::RtpView::parse(packet).unwrap()
}

#[test]
fn what_is_lost_of_each_class_comes_back_as_it_was_numbered() {
    let controls = ParityControls::default();
    let mut parity = ParitySender::new(controls.clone()).staged();
    let mut numbers = numbers();
    parity.bind_local_stream(&stream(true));
    numbers.bind_local_stream(&stream(true));
    let control = controls.of(MEDIA);
    assert!(control.is_taken());
    assert_eq!(sent(&mut parity, &mut numbers, frame(100, true)).len(), 4, "it was not told to");
    let protect = |parity| Protection { parity, frames: 1 };
    control.protect([protect(2), protect(1), protect(0), protect(0)]);
    let mutable_extensions = [TRANSPORT_CC].into_iter().collect();
    let mut decoder = Decoder::new(DecoderConfig { scheme: Scheme::ReedSolomon, mutable_extensions });
    decoder.add_stream(Ssrc(MEDIA));
    let mut last = None;
    for (first, is_key, lost) in [(104, true, 2), (108, false, 1), (112, false, 1)] {
        let packets = sent(&mut parity, &mut numbers, frame(first, is_key));
        assert_eq!(packets.len(), 4 + lost);
        for packet in &packets {
            let number = u16::from_be_bytes(parse(packet).extension(TRANSPORT_CC).unwrap().try_into().unwrap());
            assert!(last.is_none_or(|last: u16| number == last + 1), "all that leaves is numbered");
            last = Some(number);
        }
        packets[lost..4].iter().for_each(|packet| decoder.on_media(packet).unwrap());
        for packet in &packets[4..] {
            let view = parse(packet);
            assert_eq!((view.ssrc(), view.payload_type().0), (Ssrc(PARITY), 50));
            decoder.on_parity(view.ssrc(), view.payload()).unwrap();
        }
        assert!(parse(packets.last().unwrap()).marker());
        let mut recovered = Vec::new();
        for packet in &packets[..lost] {
            decoder.poll_recovered(&mut recovered).unwrap();
            let came_back = parse(&recovered);
            assert_eq!((came_back.seq(), came_back.payload()), (parse(packet).seq(), parse(packet).payload()));
        }
    }
    assert_eq!(control.sent(), 4);
}

#[test]
fn who_takes_no_parity_gets_none() {
    let controls = ParityControls::default();
    let mut parity = ParitySender::new(controls.clone()).staged();
    let mut numbers = numbers();
    parity.bind_local_stream(&stream(false));
    let control = controls.of(MEDIA);
    control.protect([Protection { parity: 2, frames: 1 }; CLASSES]);
    assert_eq!(sent(&mut parity, &mut numbers, frame(100, true)).len(), 4);
    assert!(!control.is_taken());
}
