//! Arbitrary bytes as a payload of every codec; rewriting changes nothing but the ids.
#![no_main]

use arrayvec::ArrayVec;
use libfuzzer_sys::fuzz_target;
use sfu_rtc::codec::{av1, frame_facts, h264, h265, red, vp8, vp9};
use sfu_rtc::media::Codec;

const CODECS: [Codec; 7] = [Codec::Opus, Codec::OpusRed, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::H265, Codec::Av1];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, payload)) = data.split_first() else { return };
    let codec = CODECS[usize::from(choice >> 1) % CODECS.len()];
    if let Ok(facts) = frame_facts(codec, payload, choice & 1 != 0, None) {
        assert!(facts.temporal < 8 && facts.spatial < 8);
        rewrite(codec, payload);
    }
    match codec {
        Codec::OpusRed => drop(red::Red::parse(payload)),
        Codec::H264 => drop(h264::resolution(payload)),
        Codec::H265 => drop(h265::resolution(payload)),
        Codec::Av1 => read_av1(payload),
        Codec::Opus | Codec::Vp8 | Codec::Vp9 => {}
    }
});

fn read_av1(payload: &[u8]) {
    let halves = payload.split_at(payload.len() / 2);
    let unit = av1::temporal_unit(&[halves.0, halves.1]).or_else(|| av1::temporal_unit(&[payload]));
    for header in av1::sequence_headers(unit.as_deref().unwrap_or(payload)) {
        let read = av1::Configuration::read(header.content).map(|read| read.resolution);
        assert!(read.is_none() || read == av1::resolution(header.content));
    }
}

fn rewrite(codec: Codec, payload: &[u8]) {
    const PICTURE_ID: u16 = 0x1234;
    const TL0: u8 = 0x56;
    if !matches!(codec, Codec::Vp8 | Codec::Vp9) {
        return;
    }
    let patched = |tl0: Option<u8>| {
        let mut prefix = ArrayVec::new();
        let replaced = match codec {
            Codec::Vp8 => vp8::patch(payload, PICTURE_ID, tl0, &mut prefix),
            _ => vp9::patch(payload, PICTURE_ID, tl0.unwrap_or(0), &mut prefix),
        };
        let patched = [&prefix[..], &payload[usize::from(replaced)..]].concat();
        frame_facts(codec, &patched, false, None).expect("what we write is sound")
    };
    let before = frame_facts(codec, payload, false, None).expect("read before");
    // Given an index, VP8 without layers becomes a base layer.
    patched(Some(TL0));
    let mut after = patched(before.tl0_pic_idx.map(|_| TL0));
    assert_eq!(after.picture_id, before.picture_id.map(|_| PICTURE_ID));
    assert_eq!(after.tl0_pic_idx, before.tl0_pic_idx.map(|_| TL0));
    (after.picture_id, after.tl0_pic_idx) = (before.picture_id, before.tl0_pic_idx);
    assert_eq!(after, before);
}
