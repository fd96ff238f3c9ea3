//! Tests of the header view and writer.

use super::*;
use crate::drop_reason::DropReason;
use crate::ids::{PayloadType, Ssrc};
use proptest::collection::vec;
use proptest::prelude::*;

const HEADER: RtpHeader =
    RtpHeader { payload_type: PayloadType(96), seq: 0x1234, timestamp: 0x0102_0304, ssrc: Ssrc(0xcafe), marker: true };

fn packet(extensions: &[(u8, &[u8])], payload: &[u8], padding: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = HeaderWriter::new(&mut out, HEADER);
    for (id, value) in extensions {
        assert!(writer.extension(*id, value));
    }
    if padding > 0 {
        writer.padded();
    }
    writer.finish();
    out.extend_from_slice(payload);
    write_padding(&mut out, padding);
    out
}

#[test]
fn reads_a_packet_of_chromium() {
    // VP8 with abs-send-time (2), transport-wide number (3) and MID (4).
    let bytes = [
        0x90, 0xe0, 0x62, 0x5e, 0x1c, 0x21, 0x8f, 0x4a, 0x7e, 0x3d, 0x11, 0x09, 0xbe, 0xde, 0x00, 0x03, 0x22, 0x9a,
        0x11, 0x5c, 0x31, 0x00, 0x07, 0x40, 0x30, 0x00, 0x00, 0x00, 0x90, 0x80, 0x81, 0x02,
    ];
    let view = RtpView::parse(&bytes).unwrap();
    assert_eq!(view.payload_type(), PayloadType(96));
    assert_eq!(view.seq(), 0x625e);
    assert_eq!(view.timestamp(), 0x1c21_8f4a);
    assert_eq!(view.ssrc(), Ssrc(0x7e3d_1109));
    assert!(view.marker());
    assert_eq!(view.header_len(), 28);
    assert_eq!(view.payload(), [0x90, 0x80, 0x81, 0x02]);
    assert_eq!(view.extension(4), Some(&b"0"[..]));
    assert_eq!(view.extension_range(3), Some(21..23));
    assert_eq!(view.extension(1), None);
    assert_eq!(view.extensions().map(|(id, _)| id).collect::<Vec<_>>(), [2, 3, 4]);
    let sealed = SealedHeader::parse(&bytes).unwrap();
    assert_eq!((sealed.header_len, sealed.seq, sealed.ssrc), (28, 0x625e, Ssrc(0x7e3d_1109)));
}

#[test]
fn leaves_out_padding_and_refuses_false_padding() {
    let bytes = packet(&[], &[7; 5], 3);
    let view = RtpView::parse(&bytes).unwrap();
    assert_eq!((view.payload(), view.padding_len()), (&[7; 5][..], 3));
    let mut only_padding = packet(&[], &[], 255);
    assert!(RtpView::parse(&only_padding).unwrap().payload().is_empty());
    *only_padding.last_mut().unwrap() = 0;
    assert_eq!(RtpView::parse(&only_padding), Err(DropReason::RtpMalformed));
    let mut beyond_the_payload = packet(&[], &[7; 5], 3);
    *beyond_the_payload.last_mut().unwrap() = 9;
    assert_eq!(RtpView::parse(&beyond_the_payload), Err(DropReason::RtpMalformed));
    assert!(SealedHeader::parse(&beyond_the_payload).is_ok(), "sealed padding cannot be judged");
}

#[test]
fn refuses_what_is_cut_short() {
    let whole = packet(&[(1, &[1, 2, 3])], &[], 0);
    for len in 0..whole.len() {
        assert_eq!(RtpView::parse(&whole[..len]), Err(DropReason::RtpMalformed), "cut to {len}");
    }
    let mut csrcs = whole.clone();
    csrcs[0] |= 0x0f;
    assert!(RtpView::parse(&csrcs).is_err());
    let mut version = whole.clone();
    version[0] &= 0x3f;
    assert!(RtpView::parse(&version).is_err());
}

#[test]
fn an_element_that_leaves_its_block_is_ignored_and_the_media_is_not() {
    let mut one_byte = packet(&[(1, &[1, 2, 3]), (2, &[4])], &[9, 9], 0);
    one_byte[20] |= 0x0f;
    let mut two_bytes = packet(&[(1, &[1, 2, 3]), (200, &[4])], &[9, 9], 0);
    two_bytes[22] = 0xff;
    for broken in [one_byte, two_bytes] {
        let view = RtpView::parse(&broken).unwrap();
        assert_eq!(view.extensions().collect::<Vec<_>>(), [(1, &[1, 2, 3][..])]);
        assert_eq!((view.extension(2), view.payload()), (None, &[9, 9][..]));
    }
}

#[test]
fn csrcs_and_unknown_profiles_are_skipped() {
    let mut bytes = packet(&[(1, &[1, 2, 3])], &[9], 0);
    bytes[0] |= 2;
    bytes.splice(12..12, [0; 8]);
    let view = RtpView::parse(&bytes).unwrap();
    assert_eq!((view.extension(1), view.payload()), (Some(&[1, 2, 3][..]), &[9][..]));
    bytes[20] = 0;
    let view = RtpView::parse(&bytes).unwrap();
    assert_eq!((view.extensions().count(), view.payload()), (0, &[9][..]));
}

#[test]
fn a_reserved_element_ends_the_block() {
    for reserved in [0x05, 0xf0] {
        let mut bytes = packet(&[(1, &[1]), (2, &[2]), (3, &[3]), (4, &[4])], &[], 0);
        bytes[20] = reserved;
        let ids: Vec<u8> = RtpView::parse(&bytes).unwrap().extensions().map(|(id, _)| id).collect();
        assert_eq!(ids, [1, 2]);
    }
}

#[test]
fn what_does_not_fit_one_byte_takes_two() {
    let long = [5; 17];
    for (id, value) in [(15, &[1][..]), (200, &[1]), (3, &[]), (3, &long)] {
        let bytes = packet(&[(1, &[9, 9]), (id, value), (2, &[8])], &[7], 0);
        assert_eq!(bytes[12..14], [0x10, 0x00]);
        let view = RtpView::parse(&bytes).unwrap();
        assert_eq!(view.extension(1), Some(&[9, 9][..]));
        assert_eq!(view.extension(id), Some(value));
        assert_eq!(view.extension(2), Some(&[8][..]));
        assert_eq!(view.payload(), [7]);
    }
}

#[test]
fn the_writer_refuses_what_cannot_be_written() {
    let mut out = vec![0xaa];
    let mut writer = HeaderWriter::new(&mut out, HEADER);
    assert!(!writer.extension(0, &[1]));
    assert!(!writer.extension(1, &[0; 256]));
    assert!((0..10).any(|_| !writer.extension(1, &[0; 255])), "the block is bounded");
    let header_len = writer.finish();
    assert_eq!(header_len, out.len() - 1);
    assert!(RtpView::parse(&out[1..]).is_ok());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), version in any::<bool>()) {
        let mut bytes = bytes;
        if let (true, Some(first)) = (version, bytes.first_mut()) {
            *first = (*first & 0x3f) | 0x80;
        }
        let _ = SealedHeader::parse(&bytes);
        if let Ok(view) = RtpView::parse(&bytes) {
            let _ = (view.payload(), view.timestamp(), view.extension(1));
            prop_assert!(view.extensions().all(|(_, value)| value.len() <= bytes.len()));
            prop_assert_eq!(view.header_len() + view.payload().len() + view.padding_len(), bytes.len());
        }
    }

    #[test]
    fn what_is_written_is_read(
        seq: u16, timestamp: u32, ssrc: u32, marker: bool, pt in 0..128u8, padding: u8,
        extensions in vec((1..=255u8, vec(any::<u8>(), 0..40)), 0..8),
        payload in vec(any::<u8>(), 0..50),
    ) {
        let header = RtpHeader { payload_type: PayloadType(pt), seq, timestamp, ssrc: Ssrc(ssrc), marker };
        let mut out = vec![1, 2, 3];
        let mut writer = HeaderWriter::new(&mut out, header);
        for (id, value) in &extensions {
            prop_assert!(writer.extension(*id, value));
        }
        if padding > 0 {
            writer.padded();
        }
        let header_len = writer.finish();
        out.extend_from_slice(&payload);
        write_padding(&mut out, padding);
        let view = RtpView::parse(&out[3..]).unwrap();
        prop_assert_eq!(view.header_len(), header_len);
        prop_assert_eq!(header_len % 4, 0);
        prop_assert_eq!((view.payload_type(), view.seq(), view.timestamp()), (PayloadType(pt), seq, timestamp));
        prop_assert_eq!((view.ssrc(), view.marker()), (Ssrc(ssrc), marker));
        prop_assert_eq!(view.payload(), &payload[..]);
        prop_assert_eq!(view.padding_len(), usize::from(padding));
        let read: Vec<_> = view.extensions().map(|(id, value)| (id, value.to_vec())).collect();
        prop_assert_eq!(read, extensions);
    }
}
