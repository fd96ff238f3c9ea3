//! RTP headers.

use crate::PAYLOAD;
use divan::{Bencher, black_box};
use sfu_rtc::ids::{PayloadType, SeqNo, Ssrc};
use sfu_rtc::rtp::{HeaderWriter, RtpHeader, RtpView, SealedHeader};

/// Id of the header extension for the send time.
const SEND_TIME: u8 = 2;
/// Id of the header extension for the transport-wide number.
const TRANSPORT_CC: u8 = 3;
/// Id of the header extension for the MID.
const MID: u8 = 4;

pub(crate) const SSRC: Ssrc = Ssrc(0x1122_3344);

/// Appends the header of a packet as a subscriber gets it; the header's length.
pub(crate) fn write_header(out: &mut Vec<u8>, seq: SeqNo) -> usize {
    let header =
        RtpHeader { payload_type: PayloadType(96), seq: seq.wire(), timestamp: 90_000, ssrc: SSRC, marker: false };
    let mut writer = HeaderWriter::new(out, header);
    assert!(writer.extension(SEND_TIME, &[0x12, 0x34, 0x56]));
    writer.finish()
}

/// A packet as a browser sends it: send time, transport-wide number and MID.
fn received() -> Vec<u8> {
    let mut packet = Vec::new();
    let header = RtpHeader { payload_type: PayloadType(96), seq: 7, timestamp: 90_000, ssrc: SSRC, marker: true };
    let mut writer = HeaderWriter::new(&mut packet, header);
    for (id, value) in [(SEND_TIME, &[1, 2, 3][..]), (TRANSPORT_CC, &[0, 9]), (MID, b"0")] {
        assert!(writer.extension(id, value));
    }
    writer.finish();
    packet.extend_from_slice(&PAYLOAD);
    packet
}

#[divan::bench]
fn parse_sealed_header(bencher: Bencher<'_, '_>) {
    let packet = received();
    bencher.bench_local(|| SealedHeader::parse(black_box(&packet)).unwrap());
}

#[divan::bench]
fn parse_and_walk_extensions(bencher: Bencher<'_, '_>) {
    let packet = received();
    bencher.bench_local(|| {
        let view = RtpView::parse(black_box(&packet)).unwrap();
        assert_eq!(view.extensions().count(), 3);
        view.payload().len()
    });
}

#[divan::bench]
fn write(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(64);
    bencher.bench_local(|| {
        out.clear();
        write_header(&mut out, black_box(SeqNo(7)))
    });
}
