//! Tests of the small header extensions.

use super::abs_capture_time::AbsCaptureTime;
use super::abs_send_time::AbsSendTime;
use super::audio_level::AudioLevel;
use super::playout_delay::PlayoutDelay;
use super::video_layers_allocation::VideoLayersAllocation;
use super::video_orientation::VideoOrientation;
use super::*;
use crate::ids::{Mid, Rid};
use crate::time::{Duration, Instant, NtpTime};
use crate::units::Bitrate;
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn a_map_refuses_reserved_ids() {
    let mut map = ExtensionMap::default();
    assert!(map.set(ExtensionKind::Mid, 4) && map.set(ExtensionKind::Rid, 200));
    assert!(!map.set(ExtensionKind::AudioLevel, 0) && !map.set(ExtensionKind::AudioLevel, 15));
    assert_eq!((map.id(ExtensionKind::Mid), map.kind(200)), (Some(4), Some(ExtensionKind::Rid)));
    assert_eq!(map.iter().collect::<Vec<_>>(), [(ExtensionKind::Mid, 4), (ExtensionKind::Rid, 200)]);
}

#[test]
fn every_kind_is_found_by_its_uri() {
    assert!(ExtensionKind::ALL.into_iter().all(|kind| ExtensionKind::from_uri(kind.uri()) == Some(kind)));
    assert_eq!(ExtensionKind::from_uri("urn:x"), None);
}

#[test]
fn text_ends_at_a_zero() {
    assert_eq!(sdes::mid(b"0"), Mid::new("0"));
    assert_eq!(sdes::rid(b"hi\0\0"), Rid::new("hi"));
    assert_eq!(sdes::mid(b"\0"), None);
    assert_eq!(sdes::rid(&[0xff]), None);
}

#[test]
fn send_times_wrap_after_64_seconds() {
    let time = |millis| AbsSendTime::from_instant(Instant::from_millis(millis));
    assert_eq!(time(500), AbsSendTime(1 << 17));
    assert_eq!(time(64_500), time(500));
    assert_eq!(time(64_250).since(time(63_750)), Duration::from_millis(500));
}

#[test]
fn playout_delays_are_cut_to_twelve_bits() {
    let delay = PlayoutDelay { min: Duration::from_millis(409), max: Duration::from_secs(100) };
    assert_eq!(delay.to_bytes(), [0x02, 0x8f, 0xff]);
    let read = PlayoutDelay { min: Duration::from_millis(400), max: Duration::from_millis(40_950) };
    assert_eq!(PlayoutDelay::parse(&[0x02, 0x8f, 0xff]), Some(read));
}

#[test]
fn reads_layers_of_simulcast() {
    // Stream 1 of 3; two streams with one spatial layer, one with none; three, then two temporal layers.
    let bytes = [0x60, 0x11, 0x00, 0x90, 100, 0xfa, 0x01, 0xac, 0x02, 0xf4, 0x03, 0xe8, 0x07];
    let sizes = [0x01, 0x3f, 0x00, 0xb3, 15, 0x02, 0x7f, 0x01, 0x67, 30];
    let allocation = VideoLayersAllocation::parse(&[&bytes[..], &sizes[..]].concat()).unwrap();
    assert_eq!((allocation.stream, allocation.layers.len()), (1, 2));
    let [low, high] = &allocation.layers[..] else { panic!() };
    assert_eq!((low.stream, low.spatial, high.stream, high.spatial), (0, 0, 1, 0));
    assert_eq!(low.bitrates[..], [100, 250, 300].map(Bitrate::from_kbps));
    assert_eq!(high.bitrates[..], [500, 1_000].map(Bitrate::from_kbps));
    assert_eq!((low.resolution, low.frame_rate), (Some((320, 180)), Some(15)));
    assert_eq!((high.resolution, high.frame_rate), (Some((640, 360)), Some(30)));
    let without_sizes = VideoLayersAllocation::parse(&bytes).unwrap();
    assert_eq!(without_sizes.layers[0].resolution, None);
    assert!(VideoLayersAllocation::parse(&[&bytes[..], &sizes[..7]].concat()).is_none());
}

#[test]
fn reads_layers_of_svc_and_of_nothing() {
    // One stream, three spatial layers of one temporal layer each.
    let allocation = VideoLayersAllocation::parse(&[0x07, 0x00, 10, 20, 30]).unwrap();
    assert_eq!(allocation.layers.iter().map(|layer| layer.spatial).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(allocation.layers[2].bitrates[..], [Bitrate::from_kbps(30)]);
    assert!(VideoLayersAllocation::parse(&[0]).unwrap().layers.is_empty());
    assert!(VideoLayersAllocation::parse(&[]).is_none());
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        byte: u8, seq: u16, send_time in 0..1u32 << 24, delays in any::<[u16; 2]>(), ntp: u64,
        clock_offset: Option<i64>,
    ) {
        prop_assert_eq!(AudioLevel::parse(&[byte]).map(AudioLevel::to_byte), Some(byte));
        prop_assert_eq!(VideoOrientation::parse(&[byte]).map(VideoOrientation::to_byte), Some(byte & 0x0f));
        prop_assert_eq!(transport_cc::parse(&transport_cc::to_bytes(seq)), Some(seq));
        let time = AbsSendTime(send_time);
        prop_assert_eq!(AbsSendTime::parse(&time.to_bytes()), Some(time));
        let [min, max] = delays.map(|delay| Duration::from_millis(u64::from(delay & 0xfff) * 10));
        let delay = PlayoutDelay { min, max };
        prop_assert_eq!(PlayoutDelay::parse(&delay.to_bytes()), Some(delay));
        let capture = AbsCaptureTime { captured: NtpTime(ntp), clock_offset };
        let (bytes, len) = capture.to_bytes();
        prop_assert_eq!(AbsCaptureTime::parse(&bytes[..len]), Some(capture));
    }

    #[test]
    fn arbitrary_values_never_panic(value in vec(any::<u8>(), 0..100)) {
        let _ = (AudioLevel::parse(&value), VideoOrientation::parse(&value), transport_cc::parse(&value));
        let _ = (AbsSendTime::parse(&value), PlayoutDelay::parse(&value), AbsCaptureTime::parse(&value));
        let _ = (sdes::mid(&value), sdes::rid(&value), VideoLayersAllocation::parse(&value));
    }
}
