//! Tests of the map and of the small header extensions.

use super::*;
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
    assert_eq!(parse_mid(b"0"), Mid::new("0"));
    assert_eq!(parse_rid(b"hi\0\0"), Rid::new("hi"));
    assert_eq!(parse_mid(b"\0"), None);
    assert_eq!(parse_rid(&[0xff]), None);
}

#[test]
fn transport_wide_numbers_have_two_bytes() {
    assert_eq!(parse_transport_cc(&[0x12, 0x34]), Some(0x1234));
    assert_eq!(parse_transport_cc(&[0x12, 0x34, 0x80, 0x01]), Some(0x1234));
    assert_eq!(parse_transport_cc(&[0x12]), None);
}

#[test]
fn send_times_wrap_after_64_seconds() {
    let time = |millis| abs_send_time(Instant::from_millis(millis));
    assert_eq!(time(500), [0x02, 0, 0]);
    assert_eq!(time(64_500), time(500));
    assert_eq!(time(63_750), [0xff, 0, 0]);
}

proptest! {
    #[test]
    fn arbitrary_values_never_panic(value in vec(any::<u8>(), 0..100)) {
        let _ = (parse_mid(&value), parse_rid(&value), parse_transport_cc(&value));
    }
}

#[test]
fn limits_of_the_playout_delay_have_twelve_bits_each() {
    let delay = PlayoutDelay { min: Duration::from_millis(150), max: MAX_PLAYOUT_DELAY };
    assert_eq!(delay.to_bytes(), [0x00, 0xff, 0xff]);
    assert_eq!(PlayoutDelay::parse(&[0x00, 0xff, 0xff]), Some(delay));
    let long = PlayoutDelay { min: Duration::from_secs(60), max: Duration::from_millis(11) };
    assert_eq!(long.to_bytes(), [0xff, 0xf0, 0x02]);
    assert_eq!(PlayoutDelay::parse(&[0, 0]), None);
}
