//! A sender and a receiver against each other, and against forgers.

use super::*;
use crate::drop_reason::DropReason;
use crate::ids::{SeqNo, Ssrc};
use proptest::prelude::*;

const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmHmacSha1_80];
const SSRC: Ssrc = Ssrc(0x1122_3344);
const MAX_STREAMS: usize = 4;

fn master(profile: SrtpProfile, seed: u8) -> MasterKey {
    let bytes: Vec<u8> = (0..64).map(|i| seed.wrapping_mul(31).wrapping_add(i)).collect();
    MasterKey::new(profile, &bytes[..profile.key_len()], &bytes[40..40 + profile.salt_len()]).unwrap()
}

fn pair(profile: SrtpProfile) -> (SrtpSender, SrtpReceiver) {
    let master = master(profile, 7);
    (SrtpSender::new(&master), SrtpReceiver::new(&master, MAX_STREAMS))
}

/// A packet without extensions.
fn rtp(ssrc: Ssrc, seq: SeqNo, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(seq.wire().to_be_bytes());
    packet.extend(90_000u32.to_be_bytes());
    packet.extend(ssrc.0.to_be_bytes());
    packet.extend(payload);
    packet
}

fn sealed(sender: &mut SrtpSender, ssrc: Ssrc, seq: SeqNo) -> Vec<u8> {
    let mut packet = rtp(ssrc, seq, b"some payload");
    if sender.seal_rtp(&mut packet, 0, 12, seq).is_err() {
        // One who uses a number twice, or goes far back; a receiver has to cope.
        SrtpSender::new(&master(sender.profile(), 7)).seal_rtp(&mut packet, 0, 12, seq).unwrap();
    }
    packet
}

fn open(receiver: &mut SrtpReceiver, mut packet: Vec<u8>) -> Result<SeqNo, DropReason> {
    let seq = u16::from_be_bytes([packet[2], packet[3]]);
    let ssrc = Ssrc(word(&packet, 8));
    let opened = receiver.open_rtp(&mut packet, 12, ssrc, seq)?;
    assert_eq!(&packet[12..opened.len], b"some payload");
    Ok(opened.seq)
}

fn report(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(b"some more words!");
    packet
}

#[test]
fn no_index_is_used_twice_under_one_key() {
    fn seal(sender: &mut SrtpSender, ssrc: u32, seq: u64) -> Result<(), DropReason> {
        let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 0];
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend_from_slice(&[seq as u8; 20]);
        sender.seal_rtp(&mut packet, 0, 12, SeqNo(seq))
    }
    let mut sender = SrtpSender::new(&master(SrtpProfile::AeadAes128Gcm, 7));
    let reused = Err(DropReason::SrtpIndexReused);
    for seq in [70_000, 70_002, 70_001] {
        assert_eq!(seal(&mut sender, 1, seq), Ok(()), "{seq}: what comes late is sent for the first time");
    }
    assert_eq!(seal(&mut sender, 1, 70_001), reused);
    assert_eq!(seal(&mut sender, 1, 70_001 - 65_536), reused, "an older rollover: too old to tell");
    assert_eq!(seal(&mut sender, 2, 70_001), Ok(()), "another source has numbers of its own");
    sender.retire(Ssrc(1));
    sender.retire(Ssrc(3));
    assert_eq!(seal(&mut sender, 1, 90_000), reused, "a source that is over stays so");
    assert_eq!(seal(&mut sender, 3, 1), Ok(()), "it had not begun");
}

#[test]
fn what_is_sealed_opens_once() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let packet = sealed(&mut sender, SSRC, SeqNo(17));
        assert_eq!(packet.len(), 24 + sender.profile().tag_len());
        assert_eq!(open(&mut receiver, packet.clone()), Ok(SeqNo(17)));
        assert_eq!(open(&mut receiver, packet), Err(DropReason::SrtpReplay), "{profile:?}");
    }
}

#[test]
fn the_rollover_counter_follows_the_stream_over_loss_and_reordering() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        for seq in [65_000, 65_535, 65_537, 65_536, 65_530, 90_000, 120_000, 131_071, 131_072, 131_070] {
            let packet = sealed(&mut sender, SSRC, SeqNo(seq));
            assert_eq!(open(&mut receiver, packet), Ok(SeqNo(seq)), "{profile:?}");
        }
        let old = sealed(&mut sender, SSRC, SeqNo(65_533));
        assert!(open(&mut receiver, old).is_err());
    }
}

#[test]
fn packets_older_than_the_window_are_taken_for_replayed() {
    let (mut sender, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    open(&mut receiver, sealed(&mut sender, SSRC, SeqNo(5_000))).unwrap();
    assert_eq!(open(&mut receiver, sealed(&mut sender, SSRC, SeqNo(5_000 - 1_023))), Ok(SeqNo(3_977)));
    assert_eq!(open(&mut receiver, sealed(&mut sender, SSRC, SeqNo(5_000 - 1_024))), Err(DropReason::SrtpReplay));
}

#[test]
fn forged_packets_leave_no_trace() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let mut stranger = SrtpSender::new(&master(profile, 8));
        open(&mut receiver, sealed(&mut sender, SSRC, SeqNo(100))).unwrap();
        for i in 0..1_000 {
            let new_source = sealed(&mut stranger, Ssrc(i), SeqNo(i.into()));
            assert_eq!(open(&mut receiver, new_source), Err(DropReason::SrtpAuth));
            let known_source = sealed(&mut stranger, SSRC, SeqNo(101 + 32 * u64::from(i)));
            assert_eq!(open(&mut receiver, known_source), Err(DropReason::SrtpAuth));
        }
        assert_eq!(receiver.streams(), 1);
        assert_eq!(open(&mut receiver, sealed(&mut sender, SSRC, SeqNo(101))), Ok(SeqNo(101)));
    }
}

#[test]
fn streams_are_bounded() {
    let (mut sender, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    for ssrc in 0..MAX_STREAMS as u32 {
        open(&mut receiver, sealed(&mut sender, Ssrc(ssrc), SeqNo(1))).unwrap();
    }
    assert_eq!(open(&mut receiver, sealed(&mut sender, Ssrc(99), SeqNo(1))), Err(DropReason::TooManyStreams));
    assert_eq!(open(&mut receiver, sealed(&mut sender, Ssrc(0), SeqNo(2))), Ok(SeqNo(2)));
}

#[test]
fn a_packet_without_room_for_its_tag_is_too_short() {
    for profile in PROFILES {
        let (_, mut receiver) = pair(profile);
        let mut packet = rtp(SSRC, SeqNo(1), &[0; 9]);
        let outcome = receiver.open_rtp(&mut packet, 12, SSRC, 1);
        assert_eq!(outcome, Err(DropReason::SrtpTooShort), "{profile:?}");
        assert_eq!(receiver.open_rtcp(&mut [0x80, 201, 0, 1, 0, 0, 0, 1, 0, 0]), Err(DropReason::SrtpTooShort));
    }
}

#[test]
fn control_packets_are_sealed_and_open_once() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let plain = report(9);
        for _ in 0..3 {
            let mut out = b"before".to_vec();
            out.extend(&plain);
            sender.seal_rtcp(&mut out, 6).unwrap();
            let packet = out.split_off(6);
            assert_eq!(packet.len(), plain.len() + sender.rtcp_overhead());
            let mut opened = packet.clone();
            assert_eq!(receiver.open_rtcp(&mut opened), Ok(plain.len()), "{profile:?}");
            assert_eq!(opened[..plain.len()], plain);
            assert_eq!(receiver.open_rtcp(&mut packet.clone()), Err(DropReason::SrtpReplay));
        }
        for ssrc in 10..9 + MAX_STREAMS as u32 {
            let mut packet = report(ssrc);
            sender.seal_rtcp(&mut packet, 0).unwrap();
            receiver.open_rtcp(&mut packet).unwrap();
        }
        let mut packet = report(99);
        sender.seal_rtcp(&mut packet, 0).unwrap();
        assert_eq!(receiver.open_rtcp(&mut packet), Err(DropReason::TooManyStreams));
    }
}

#[test]
fn control_packets_in_clear_are_refused() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let mut packet = report(9);
        sender.seal_rtcp(&mut packet, 0).unwrap();
        let from_end = if profile == SrtpProfile::Aes128CmHmacSha1_80 { 14 } else { 4 };
        let flag = packet.len() - from_end;
        packet[flag] &= 0x7f;
        assert_eq!(receiver.open_rtcp(&mut packet), Err(DropReason::SrtpAuth));
    }
}

#[test]
fn senders_refuse_what_is_no_packet() {
    let (mut sender, _) = pair(SrtpProfile::AeadAes128Gcm);
    let malformed = Err(DropReason::RtpMalformed);
    assert_eq!(sender.seal_rtp(&mut vec![0; 20], 0, 11, SeqNo(0)), malformed);
    assert_eq!(sender.seal_rtp(&mut vec![0; 20], 0, 21, SeqNo(0)), malformed);
    assert_eq!(sender.seal_rtp(&mut vec![0; 20], 21, 12, SeqNo(0)), malformed);
    assert_eq!(sender.seal_rtp(&mut vec![0; 20], 0, 12, SeqNo(1 << 48)), malformed);
    assert_eq!(sender.seal_rtcp(&mut vec![0; 20], 13), Err(DropReason::RtcpMalformed));
}

fn profiles() -> impl Strategy<Value = SrtpProfile> {
    prop::sample::select(PROFILES.to_vec())
}

/// Sources come and go all call long. What one has sent is not taken again, also after it gave its window back.
#[test]
fn sources_that_ended_give_their_windows_back_and_are_not_replayed() {
    for profile in [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmHmacSha1_80] {
        let (mut sender, mut receiver) = pair(profile);
        let mut old = Vec::new();
        for ssrc in (0..1_000).map(Ssrc) {
            let packets: Vec<_> = [65_534, 65_535, 65_537].map(|seq| sealed(&mut sender, ssrc, SeqNo(seq))).into();
            for packet in [&packets[0], &packets[2]] {
                open(&mut receiver, packet.clone()).unwrap();
            }
            receiver.retire(ssrc);
            assert_eq!(receiver.streams(), 0);
            old.extend(packets);
        }
        for packet in old {
            assert_eq!(open(&mut receiver, packet), Err(DropReason::SrtpReplay), "even one that never came");
        }
        // One that goes on after all does so with its rollover counter, and its past stays closed.
        let again = sealed(&mut sender, Ssrc(7), SeqNo(65_540));
        assert_eq!(open(&mut receiver, again.clone()), Ok(SeqNo(65_540)));
        assert_eq!(open(&mut receiver, again), Err(DropReason::SrtpReplay));
        let between = [65_536, 65_538].map(|seq| sealed(&mut sender, Ssrc(7), SeqNo(seq)));
        assert_eq!(between.map(|packet| open(&mut receiver, packet)), [Err(DropReason::SrtpReplay), Ok(SeqNo(65_538))]);
        assert_eq!(receiver.streams(), 1);
    }
}

proptest! {
    /// A packet opens to what was sealed, and what precedes it in the buffer stays.
    #[test]
    fn what_is_sealed_opens(
        profile in profiles(),
        extension in prop::collection::vec(any::<u8>(), 0..40),
        payload in prop::collection::vec(any::<u8>(), 0..1_200),
        seq in 0u64..1 << 48,
    ) {
        let (mut sender, mut receiver) = pair(profile);
        let seq = SeqNo(seq);
        let header = rtp(SSRC, seq, &extension);
        let mut whole = [b"before".as_slice(), &header, &payload].concat();
        sender.seal_rtp(&mut whole, 6, header.len(), seq).unwrap();
        prop_assert_eq!(&whole[..6], b"before");

        let mut packet = whole.split_off(6);
        let opened = receiver.open_rtp(&mut packet, header.len(), SSRC, seq.wire());
        // A stream whose first packet is past the first rollover cannot be followed.
        prop_assert_eq!(opened.is_ok(), seq.0 >> 16 == 0);
        if let Ok(opened) = opened {
            prop_assert_eq!(opened.seq, seq);
            prop_assert_eq!(&packet[..opened.len], [header, payload].concat());
        }
    }

    /// Whatever single bit of a packet is changed, it does not open.
    #[test]
    fn a_damaged_packet_is_refused(
        profile in profiles(),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        bit in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut sender, mut receiver) = pair(profile);
        let mut packet = rtp(SSRC, SeqNo(1), &payload);
        sender.seal_rtp(&mut packet, 0, 12, SeqNo(1)).unwrap();
        let mut damaged = packet.clone();
        let bit = bit.index(packet.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (ssrc, seq) = (Ssrc(word(&damaged, 8)), u16::from_be_bytes([damaged[2], damaged[3]]));
        prop_assert_eq!(receiver.open_rtp(&mut damaged, 12, ssrc, seq), Err(DropReason::SrtpAuth));
        packet.truncate(12 + cut.index(packet.len() - 12));
        prop_assert!(receiver.open_rtp(&mut packet, 12, SSRC, 1).is_err());

        let mut control = report(9);
        sender.seal_rtcp(&mut control, 0).unwrap();
        let bit = bit % (control.len() * 8);
        control[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(receiver.open_rtcp(&mut control), Err(DropReason::SrtpAuth));
        prop_assert_eq!(receiver.streams(), 0);
    }

    /// Arbitrary bytes neither open nor panic, whatever is claimed of them.
    #[test]
    fn arbitrary_bytes_are_refused(
        profile in profiles(),
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        header_len in 0usize..120,
        ssrc: u32,
        seq: u16,
    ) {
        let (_, mut receiver) = pair(profile);
        prop_assert!(receiver.open_rtp(&mut bytes.clone(), header_len, Ssrc(ssrc), seq).is_err());
        prop_assert!(receiver.open_rtcp(&mut bytes.clone()).is_err());
        prop_assert_eq!(receiver.streams(), 0);
    }

    /// Packets that are lost, reordered within the window and repeated get the numbers they were sent with, once.
    #[test]
    fn a_disordered_stream_is_followed(
        profile in profiles(),
        first in 0u64..60_000,
        sent in prop::collection::vec((0i64..400, -100i64..100), 1..80),
    ) {
        let (mut sender, mut receiver) = pair(profile);
        let mut seen = std::collections::HashSet::new();
        let mut base = first;
        for (i, (forward, offset)) in sent.into_iter().enumerate() {
            base += forward.unsigned_abs();
            let seq = if i == 0 { first } else { base.saturating_add_signed(offset) };
            let outcome = open(&mut receiver, sealed(&mut sender, SSRC, SeqNo(seq)));
            let expected = if seen.insert(seq) { Ok(SeqNo(seq)) } else { Err(DropReason::SrtpReplay) };
            prop_assert_eq!(outcome, expected);
        }
    }
}
