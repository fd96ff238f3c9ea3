//! Tests of the packet types: real bytes, identity of writing and reading, arbitrary bytes.

use super::*;
use crate::drop_reason::DropReason;
use crate::ids::Ssrc;
use crate::time::NtpTime;
use crate::units::Bitrate;
use proptest::collection::vec;
use proptest::prelude::*;

const US: Ssrc = Ssrc(0x0102_0304);
const THEM: Ssrc = Ssrc(0x4bc4_fcb4);

fn only(buf: &[u8]) -> RtcpView<'_> {
    let mut packets = compound(buf);
    let packet = packets.next().expect("a packet").expect("well-formed");
    assert!(packets.next().is_none());
    packet
}

#[test]
fn reads_a_compound_of_a_browser() {
    // Receiver report with one block, source description, PLI.
    let bytes = [
        0x81, 0xc9, 0x00, 0x07, 0x00, 0x00, 0x00, 0x01, 0x4b, 0xc4, 0xfc, 0xb4, 0x40, 0xff, 0xff, 0xfe, 0x00, 0x01,
        0x27, 0x10, 0x00, 0x00, 0x01, 0x11, 0xe1, 0xe2, 0xe3, 0xe4, 0x00, 0x02, 0x00, 0x00, //
        0x81, 0xca, 0x00, 0x03, 0x00, 0x00, 0x00, 0x01, 0x01, 0x04, b'n', b'a', b'm', b'e', 0x00, 0x00, //
        0x81, 0xce, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x4b, 0xc4, 0xfc, 0xb4,
    ];
    let packets: Vec<_> = compound(&bytes).map(Result::unwrap).collect();
    let [RtcpView::ReceiverReport(report), RtcpView::Sdes(sdes), RtcpView::Pli(pli)] = &packets[..] else {
        panic!("{packets:?}");
    };
    let block = ReportBlock {
        ssrc: THEM,
        fraction_lost: 0x40,
        cumulative_lost: -2,
        highest_seq: 0x0001_2710,
        jitter: 0x111,
        last_sr: 0xe1e2_e3e4,
        delay_since_last_sr: 0x2_0000,
    };
    assert_eq!(report.ssrc, Ssrc(1));
    assert_eq!(report.blocks().collect::<Vec<_>>(), [block]);
    assert_eq!(sdes.cnames().collect::<Vec<_>>(), [(Ssrc(1), &b"name"[..])]);
    assert_eq!((pli.sender, pli.media), (Ssrc(1), THEM));
}

#[test]
fn reads_and_writes_a_remb() {
    let bytes = [
        0x8f, 0xce, 0x00, 0x05, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, b'R', b'E', b'M', b'B', 0x01, 0x1a,
        0x20, 0xdf, 0x48, 0x74, 0x19, 0x5c,
    ];
    let RtcpView::Remb(remb) = only(&bytes) else { panic!() };
    assert_eq!(remb.bitrate, Bitrate::from_bps(0x220df << 6));
    assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [Ssrc(0x4874_195c)]);
    let mut out = Vec::new();
    write_remb(&mut out, Ssrc(1), remb.bitrate, &[Ssrc(0x4874_195c)]);
    assert_eq!(out, bytes);
    for bitrate in [Bitrate::ZERO, Bitrate::from_bps((1 << 18) - 1), Bitrate::from_bps(1 << 18), Bitrate::MAX] {
        let mut out = Vec::new();
        write_remb(&mut out, US, bitrate, &[]);
        let RtcpView::Remb(remb) = only(&out) else { panic!() };
        assert!(remb.bitrate <= bitrate && remb.bitrate.as_bps() >= bitrate.as_bps() / 262_144 * 262_143);
    }
    let mut beyond = bytes;
    beyond[17] = 0xff;
    let RtcpView::Remb(remb) = only(&beyond) else { panic!() };
    assert_eq!(remb.bitrate, Bitrate::MAX, "2^63 times the mantissa is no rate");
}

#[test]
fn nack_groups_what_lies_within_its_mask() {
    let mut out = Vec::new();
    assert_eq!(write_nack(&mut out, US, THEM, &[0xfffe, 0xffff, 14, 15, 40]), 5);
    let expected = [
        0x81, 205, 0, 5, 1, 2, 3, 4, 0x4b, 0xc4, 0xfc, 0xb4, 0xff, 0xfe, 0x80, 0x01, 0x00, 0x0f, 0x00, 0x00, 0x00, 40,
        0x00, 0x00,
    ];
    assert_eq!(out, expected);
    let RtcpView::Nack(nack) = only(&out) else { panic!() };
    assert_eq!(nack.seqs().collect::<Vec<_>>(), [0xfffe, 0xffff, 14, 15, 40]);
    assert_eq!(write_nack(&mut out, US, THEM, &[]), 0);
    assert_eq!(out, expected, "nothing is written for nothing");
}

#[test]
fn a_long_nack_stays_within_a_datagram() {
    let seqs: Vec<u16> = (0..2_000).map(|i| i * 20).collect();
    let mut out = Vec::new();
    let written = write_nack(&mut out, US, THEM, &seqs);
    assert!(out.len() < 1_200 && written < seqs.len());
    let RtcpView::Nack(nack) = only(&out) else { panic!() };
    assert!(nack.seqs().eq(seqs[..written].iter().copied()));
}

#[test]
fn fir_and_pli_are_read_as_written() {
    let mut out = Vec::new();
    write_fir(&mut out, US, THEM, 7);
    write_pli(&mut out, US, THEM);
    let packets: Vec<_> = compound(&out).map(Result::unwrap).collect();
    let [RtcpView::Fir(fir), RtcpView::Pli(pli)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!(fir.entries().collect::<Vec<_>>(), [(THEM, 7)]);
    assert_eq!(*pli, Pli { sender: US, media: THEM });
}

#[test]
fn broken_packets_do_not_hide_valid_ones() {
    let mut out = vec![0x81, 206, 0, 1, 0, 0, 0, 0]; // a PLI without its media source
    write_pli(&mut out, US, THEM);
    out.extend_from_slice(&[0x81, 206, 0, 9, 0, 0, 0, 0]); // longer than the buffer
    let packets: Vec<_> = compound(&out).collect();
    assert!(matches!(
        packets[..],
        [Err(DropReason::RtcpMalformed), Ok(RtcpView::Pli(_)), Err(DropReason::RtcpMalformed)]
    ));
}

#[test]
fn padding_is_left_out() {
    let mut out = Vec::new();
    write_nack(&mut out, US, THEM, &[5]);
    out[0] |= 0x20;
    out[3] += 1;
    out.extend_from_slice(&[0, 0, 0, 4]);
    let RtcpView::Nack(nack) = only(&out) else { panic!() };
    assert!(nack.seqs().eq([5]));
    for false_padding in [0, 200] {
        *out.last_mut().unwrap() = false_padding;
        assert!(compound(&out).next().unwrap().is_err());
    }
}

#[test]
fn unknown_types_and_foreign_application_feedback_are_passed_on() {
    let app = [0x80, 204, 0, 2, 1, 2, 3, 4, b'n', b'a', b'm', b'e'];
    assert!(matches!(only(&app), RtcpView::Other { packet_type: 204, count: 0 }));
    let afb = [0x8f, 206, 0, 3, 1, 2, 3, 4, 0, 0, 0, 0, b'X', b'E', b'M', b'B'];
    assert!(matches!(only(&afb), RtcpView::Other { packet_type: 206, count: 15 }));
}

fn blocks() -> impl Strategy<Value = Vec<ReportBlock>> {
    let lost = -(1 << 23)..(1 << 23);
    let block = (any::<u32>(), any::<u8>(), lost, any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(ssrc, fraction_lost, cumulative_lost, highest_seq, jitter, last_sr, delay_since_last_sr)| ReportBlock {
            ssrc: Ssrc(ssrc),
            fraction_lost,
            cumulative_lost,
            highest_seq,
            jitter,
            last_sr,
            delay_since_last_sr,
        },
    );
    vec(block, 0..40)
}

proptest! {
    #[test]
    fn reports_are_read_as_written(ssrc: u32, ntp: u64, rtp: u32, packets: u32, octets: u32, blocks in blocks()) {
        let info = SenderInfo { ssrc: Ssrc(ssrc), ntp: NtpTime(ntp), rtp, packets, octets };
        let kept = &blocks[..blocks.len().min(31)];
        let mut out = Vec::new();
        write_sender_report(&mut out, &info, &blocks);
        write_receiver_report(&mut out, info.ssrc, &blocks);
        let mut read = compound(&out);
        let Some(Ok(RtcpView::SenderReport(sr))) = read.next() else { panic!() };
        let Some(Ok(RtcpView::ReceiverReport(rr))) = read.next() else { panic!() };
        prop_assert!(read.next().is_none());
        prop_assert_eq!(sr.info, info);
        prop_assert!(sr.blocks().eq(kept.iter().copied()) && rr.blocks().eq(kept.iter().copied()));
    }

    #[test]
    fn names_are_read_as_written(ssrc: u32, cname in "[ -~]{0,300}") {
        let mut out = Vec::new();
        write_sdes_cname(&mut out, Ssrc(ssrc), &cname);
        let RtcpView::Sdes(sdes) = only(&out) else { panic!() };
        let kept = &cname.as_bytes()[..cname.len().min(255)];
        prop_assert_eq!(sdes.cnames().collect::<Vec<_>>(), [(Ssrc(ssrc), kept)]);
    }

    #[test]
    fn nacks_are_read_as_written(first: u16, gaps in vec(1..60u16, 0..200)) {
        let mut seqs = vec![first];
        seqs.extend(gaps.iter().scan(first, |seq, gap| { *seq = seq.wrapping_add(*gap); Some(*seq) }));
        let mut out = Vec::new();
        prop_assert_eq!(write_nack(&mut out, US, THEM, &seqs), seqs.len());
        let RtcpView::Nack(nack) = only(&out) else { panic!() };
        prop_assert_eq!(nack.seqs().collect::<Vec<_>>(), seqs);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        count in 0..32u8, packet_type in prop_oneof![200..=207u8, Just(206), Just(205)], padded: bool,
        body in vec(any::<[u8; 4]>(), 0..40),
    ) {
        let mut bytes = vec![0x80 | count | (u8::from(padded) << 5), packet_type, 0, body.len() as u8];
        bytes.extend(body.concat());
        read_all(&bytes);
    }
}

/// Walks everything that a reader may walk.
fn read_all(bytes: &[u8]) {
    for packet in compound(bytes).flatten() {
        match packet {
            RtcpView::SenderReport(report) => assert!(report.blocks().count() <= 31),
            RtcpView::ReceiverReport(report) => assert!(report.blocks().count() <= 31),
            RtcpView::Sdes(sdes) => assert!(sdes.cnames().count() <= 31),
            RtcpView::Nack(nack) => assert!(nack.seqs().count() <= bytes.len() / 4 * 17),
            RtcpView::Fir(fir) => assert!(fir.entries().count() <= bytes.len() / 8),
            RtcpView::Remb(remb) => assert!(remb.ssrcs().count() <= 255),
            RtcpView::Twcc(twcc) => assert_eq!(twcc.packets().count(), usize::from(twcc.count)),
            RtcpView::Pli(_) | RtcpView::Other { .. } => {}
        }
    }
}
