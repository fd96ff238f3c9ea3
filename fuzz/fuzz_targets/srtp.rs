//! SRTP and SRTCP from somebody without the keys, and sealed packets that are cut, changed and disordered.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::{SeqNo, Ssrc};
use sfu_rtc::rtp::SealedHeader;
use sfu_rtc::srtp::{MasterKey, SrtpProfile, SrtpReceiver, SrtpSender};
use std::collections::{HashMap, HashSet};

const MAX_STREAMS: usize = 4;

fuzz_target!(|data: &[u8]| {
    for profile in [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmHmacSha1_80] {
        let bytes = [7; 32];
        let Some(key) = MasterKey::new(profile, &bytes[..profile.key_len()], &bytes[..profile.salt_len()]) else {
            panic!("the lengths are the profile's own");
        };
        forged(&mut SrtpReceiver::new(&key, MAX_STREAMS), data);
        disordered(&mut SrtpSender::new(&key), &mut SrtpReceiver::new(&key, MAX_STREAMS), data);
    }
});

fn forged(receiver: &mut SrtpReceiver, data: &[u8]) {
    if let Ok(header) = SealedHeader::parse(data) {
        let opened = receiver.open_rtp(&mut data.to_vec(), header.header_len, header.ssrc, header.seq);
        assert!(opened.is_err());
    }
    assert!(receiver.open_rtcp(&mut data.to_vec()).is_err());
    assert_eq!(receiver.streams(), 0);
}

/// Six bytes say of a packet: source, distance to the one before, length, whether it is damaged, and how.
fn disordered(sender: &mut SrtpSender, receiver: &mut SrtpReceiver, data: &[u8]) {
    let mut seq = 40_000u64;
    let mut seen = HashSet::new();
    let mut sealed = HashMap::new();
    for step in data.chunks_exact(6) {
        let ssrc = Ssrc(u32::from(step[0] % 8));
        seq = seq.saturating_add_signed(i64::from(i16::from_be_bytes([step[1], step[2]]) / 4));
        let mut packet = vec![0x80, 96];
        packet.extend(SeqNo(seq).wire().to_be_bytes());
        packet.extend([0; 4]);
        packet.extend(ssrc.0.to_be_bytes());
        packet.resize(12 + usize::from(step[3]), 5);
        let plain = packet.clone();
        match sender.seal_rtp(&mut packet, 0, 12, SeqNo(seq)) {
            Ok(()) => assert!(sealed.insert((ssrc, seq), (plain.clone(), packet.clone())).is_none(), "sealed twice"),
            // No number is sealed twice: what was sealed with it comes again, whatever is to be sent now.
            Err(reason) => assert_eq!(reason, DropReason::SrtpIndexReused),
        }
        let Some((plain, packet)) = sealed.get(&(ssrc, seq)) else { continue };
        let (plain, mut packet) = (plain.clone(), packet.clone());
        let damage = step[5];
        let at = 12 + usize::from(step[4]) % (packet.len() - 12);
        packet[at] ^= damage;
        if let Ok(opened) = receiver.open_rtp(&mut packet, 12, ssrc, SeqNo(seq).wire()) {
            assert_eq!((damage, opened.seq), (0, SeqNo(seq)));
            assert_eq!(packet[..opened.len], plain);
            assert!(seen.insert((ssrc, seq)), "replayed");
        }
        assert!(receiver.streams() <= MAX_STREAMS);
    }
}
