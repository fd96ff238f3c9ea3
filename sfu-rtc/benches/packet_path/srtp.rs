//! Sealing and opening.

use crate::PAYLOAD;
use crate::rtp::{SSRC, write_header};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use sfu_rtc::ids::SeqNo;
use sfu_rtc::rtp::SealedHeader;
use sfu_rtc::srtp::{MasterKey, SrtpProfile, SrtpReceiver, SrtpSender};
use std::cell::Cell;

const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmHmacSha1_80];

fn master(profile: SrtpProfile) -> MasterKey {
    MasterKey::new(profile, &vec![7; profile.key_len()], &vec![9; profile.salt_len()]).unwrap()
}

/// The next number; none is sealed twice.
fn next(seq: &Cell<u64>) -> SeqNo {
    seq.set(seq.get() + 1);
    SeqNo(seq.get())
}

/// A sealed packet, its payload copied, then encrypted in place.
fn sealed_in_place(sender: &mut SrtpSender, out: &mut Vec<u8>, seq: SeqNo) {
    out.clear();
    let header_len = write_header(out, seq);
    out.extend_from_slice(black_box(&PAYLOAD));
    sender.seal_rtp(out, 0, header_len, seq).unwrap();
}

#[divan::bench(args = PROFILES, sample_size = 200, counters = [BytesCount::of_slice(&PAYLOAD)])]
fn header_copy_and_seal(bencher: Bencher<'_, '_>, profile: SrtpProfile) {
    let mut sender = SrtpSender::new(&master(profile));
    let (mut out, seq) = (Vec::with_capacity(2_000), Cell::new(0));
    bencher.bench_local(|| sealed_in_place(&mut sender, &mut out, next(&seq)));
}

#[divan::bench(args = PROFILES, sample_size = 200, counters = [BytesCount::of_slice(&PAYLOAD)])]
fn open(bencher: Bencher<'_, '_>, profile: SrtpProfile) {
    let (mut sender, mut receiver) = (SrtpSender::new(&master(profile)), SrtpReceiver::new(&master(profile), 1));
    let seq = Cell::new(0);
    bencher
        .with_inputs(|| {
            let mut packet = Vec::new();
            sealed_in_place(&mut sender, &mut packet, next(&seq));
            packet
        })
        .bench_local_refs(|packet| {
            let header = SealedHeader::parse(packet).unwrap();
            let opened = receiver.open_rtp(packet, header.header_len, SSRC, header.seq).unwrap();
            assert_eq!(opened.len, header.header_len + PAYLOAD.len());
        });
}
