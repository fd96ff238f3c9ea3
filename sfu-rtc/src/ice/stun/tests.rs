//! The samples of RFC 5769, and properties.

use super::*;
use proptest::prelude::*;

/// Password of the samples of RFC 5769.
const SAMPLE_PWD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

/// RFC 5769 section 2.1: a request.
const REQUEST: &[u8] = &[
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf,
    0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73, 0x74, 0x20, 0x63, 0x6c, 0x69, 0x65,
    0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff, 0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51,
    0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20,
    0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2,
    0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
];

/// RFC 5769 section 2.2: a response with an IPv4 address.
const RESPONSE_V4: &[u8] = &[
    0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf,
    0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63, 0x74, 0x6f, 0x72, 0x20, 0x00, 0x20,
    0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43, 0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd,
    0x9e, 0x90, 0xc3, 0x8c, 0x74, 0x89, 0xf9, 0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7, 0x80, 0x28, 0x00, 0x04,
    0xc0, 0x7d, 0x4c, 0x96,
];

/// RFC 5769 section 2.3: a response with an IPv6 address.
const RESPONSE_V6: &[u8] = &[
    0x01, 0x01, 0x00, 0x48, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf,
    0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63, 0x74, 0x6f, 0x72, 0x20, 0x00, 0x20,
    0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe,
    0xd2, 0xb9, 0xd9, 0x00, 0x08, 0x00, 0x14, 0xa3, 0x82, 0x95, 0x4e, 0x4b, 0xe6, 0x7b, 0xf1, 0x17, 0x84, 0xc9, 0x7c,
    0x82, 0x92, 0xc2, 0x75, 0xbf, 0xe3, 0xed, 0x41, 0x80, 0x28, 0x00, 0x04, 0xc8, 0xfb, 0x0b, 0x4c,
];

#[test]
fn the_sample_request() {
    let message = StunMessage::parse(REQUEST).unwrap();
    assert_eq!(message.class, StunClass::Request);
    assert_eq!(message.username, Some("evtj:h6vY"));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(message.role, Some(IceRole::Controlled(0x932f_f9b1_5126_3b36)));
    assert!(message.fingerprint_fits());
    assert!(message.is_authentic(&StunKey::new(SAMPLE_PWD)));
    assert!(!message.is_authentic(&StunKey::new("another")));
    assert_eq!(ufrag_of(REQUEST), Some("evtj"));
}

#[test]
fn the_sample_responses() {
    let addresses = ["192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"];
    for (response, address) in [RESPONSE_V4, RESPONSE_V6].into_iter().zip(addresses) {
        let message = StunMessage::parse(response).unwrap();
        assert_eq!(message.class, StunClass::Success);
        assert_eq!(message.mapped, address.parse().ok());
        assert!(message.fingerprint_fits() && message.is_authentic(&StunKey::new(SAMPLE_PWD)));
    }
}

#[test]
fn what_follows_message_integrity_does_not_count() {
    let key = StunKey::new(SAMPLE_PWD);
    let mut message = StunWriter::new(StunClass::Request, &[1; 12]).username("a", "b").finish(&key);
    // FINGERPRINT gives way to a USE-CANDIDATE that nobody has authenticated.
    message.truncate(message.len() - 8);
    message.extend([0, 0x25, 0, 0]);
    let len = length_field(message.len());
    message[2..4].copy_from_slice(&len);
    let message = StunMessage::parse(&message).unwrap();
    assert!(message.is_authentic(&key) && !message.use_candidate);
}

#[test]
fn nothing_may_follow_the_fingerprint() {
    let mut message = StunWriter::new(StunClass::Request, &[1; 12]).finish(&StunKey::new(SAMPLE_PWD));
    message.extend([0, 0x25, 0, 0]);
    let len = length_field(message.len());
    message[2..4].copy_from_slice(&len);
    assert!(StunMessage::parse(&message).is_none());
}

#[test]
fn other_stun_methods_are_refused() {
    let mut allocate = REQUEST.to_vec();
    allocate[1] = 3;
    assert!(StunMessage::parse(&allocate).is_none());
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        transaction: TransactionId,
        checked in "[a-zA-Z0-9+/]{4,256}",
        checking in "[a-zA-Z0-9+/]{4,256}",
        priority: u32,
        tie_breaker: u64,
        controlling: bool,
        mapped in addresses(),
        code in 300u16..700,
        pwd in "[a-zA-Z0-9+/]{22,256}",
    ) {
        let role = if controlling { IceRole::Controlling(tie_breaker) } else { IceRole::Controlled(tie_breaker) };
        let writer = StunWriter::new(StunClass::Request, &transaction).username(&checked, &checking);
        let writer = writer.priority(priority).role(role).use_candidate().mapped(mapped).error(code, "why");
        let bytes = writer.finish(&StunKey::new(&pwd));
        let message = StunMessage::parse(&bytes).unwrap();
        prop_assert!(message.fingerprint_fits() && message.is_authentic(&StunKey::new(&pwd)));
        prop_assert_eq!(message.transaction, transaction);
        let username = format!("{checked}:{checking}");
        prop_assert_eq!(message.username, Some(username.as_str()));
        prop_assert_eq!((message.priority, message.role), (Some(priority), Some(role)));
        prop_assert_eq!((message.mapped, message.error), (Some(mapped), Some(code)));
        prop_assert!(message.use_candidate && message.unknown.is_empty());
        prop_assert_eq!(ufrag_of(&bytes), Some(checked.as_str()));
    }

    #[test]
    fn arbitrary_bytes_are_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), framed: bool) {
        if framed && bytes.len() >= HEADER {
            bytes.truncate(bytes.len() / 4 * 4);
            let len = length_field(bytes.len());
            bytes[2..4].copy_from_slice(&len);
            bytes[..2].copy_from_slice(&[0, 1]);
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        }
        if let Some(message) = StunMessage::parse(&bytes) {
            message.fingerprint_fits();
            message.is_authentic(&StunKey::new("any"));
        }
        let _ = ufrag_of(&bytes);
    }

    /// Attributes in any order and of any length, cut anywhere.
    #[test]
    fn samples_cut_and_damaged_are_read_without_panic(
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        for sample in [REQUEST, RESPONSE_V4, RESPONSE_V6] {
            let mut bytes = sample[..cut.index(sample.len()) / 4 * 4].to_vec();
            if bytes.len() > HEADER {
                let len = length_field(bytes.len());
                bytes[2..4].copy_from_slice(&len);
                let at = HEADER + at.index(bytes.len() - HEADER);
                bytes[at] = byte;
            }
            if let Some(message) = StunMessage::parse(&bytes) {
                message.fingerprint_fits();
                message.is_authentic(&StunKey::new(SAMPLE_PWD));
            }
        }
    }
}
