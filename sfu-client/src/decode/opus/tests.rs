//! The decoder against our encoder, libopus itself, losses and garbage.

use super::*;
use crate::capture::voice::{Voice, rms};
use crate::capture::{AudioSource, Tone};
use crate::encode::{FRAME_SAMPLES, OpusConfig, OpusEncoder};
use unsafe_libopus::{
    OPUS_APPLICATION_RESTRICTED_LOWDELAY, OPUS_APPLICATION_VOIP, OPUS_SET_BITRATE_REQUEST, OPUS_SET_SIGNAL_REQUEST,
    OPUS_SIGNAL_VOICE, opus_encode, opus_encoder_create, opus_encoder_ctl, opus_encoder_destroy,
};

/// A voice coded as our own encoder does not: for another application, in stereo, in packets of other lengths.
fn coded(application: i32, channels: i32, bitrate: i32, samples: usize) -> Vec<Vec<u8>> {
    let mut voice = Voice::new(2000.0);
    let mut packets = vec![vec![0; 4000]; 60];
    // SAFETY: the encoder is destroyed after its last use, and each buffer has the length given.
    unsafe {
        let raw = opus_encoder_create(SAMPLE_RATE.cast_signed(), channels, application, null_mut());
        assert_eq!(opus_encoder_ctl!(raw, OPUS_SET_BITRATE_REQUEST, bitrate), 0);
        assert_eq!(opus_encoder_ctl!(raw, OPUS_SET_SIGNAL_REQUEST, OPUS_SIGNAL_VOICE), 0);
        for packet in &mut packets {
            let mut mono = vec![0; samples];
            voice.fill(&mut mono).unwrap();
            // Two channels that differ, else the encoder codes one.
            let sound: Vec<i16> = if channels == 1 { mono } else { mono.iter().flat_map(|s| [*s, *s / 2]).collect() };
            let length = opus_encode(raw, sound.as_ptr(), samples as i32, packet.as_mut_ptr(), packet.len() as i32);
            packet.truncate(usize::try_from(length).unwrap());
        }
        opus_encoder_destroy(raw);
    }
    packets
}

/// The largest RMS of 2.5 ms.
fn loudest(samples: &[i16]) -> f64 {
    samples.chunks(120).map(rms).fold(0.0, f64::max)
}

#[test]
fn a_tone_comes_through() {
    let mut tone = Tone::new(440.0);
    let mut encoder = OpusEncoder::new(&OpusConfig::default()).unwrap();
    let mut decoder = OpusDecoder::new().unwrap();
    let mut samples = [0; FRAME_SAMPLES];
    let mut crossings = 0;
    for packet in 0..30 {
        tone.fill(&mut samples).unwrap();
        let decoded = decoder.decode(&encoder.encode(&samples).unwrap()).unwrap();
        assert_eq!(decoded.len(), FRAME_SAMPLES);
        if packet >= 10 {
            crossings += decoded.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        }
    }
    // 20 packets are 0.4 s: 176 periods of 440 Hz.
    assert!((170..=182).contains(&crossings), "{crossings} periods");
    assert_eq!(decoder.conceal(FRAME_SAMPLES).unwrap().len(), FRAME_SAMPLES);
}

#[test]
fn garbage_is_an_error_or_sound() {
    let mut decoder = OpusDecoder::new().unwrap();
    assert!(decoder.decode(&[]).is_err());
    for seed in 0..500u32 {
        let bytes: Vec<u8> =
            (0..60).map(|i: u32| (i.wrapping_mul(747_796_405).wrapping_add(seed * 31) >> 11) as u8).collect();
        let _ = decoder.decode(&bytes);
    }
}

#[test]
fn packets_of_several_frames_are_decoded_as_libopus_does() {
    for (application, samples) in [
        (OPUS_APPLICATION_VOIP, 480),
        (OPUS_APPLICATION_VOIP, 2880),
        (OPUS_APPLICATION_VOIP, 5760),
        (OPUS_APPLICATION_RESTRICTED_LOWDELAY, 120),
        (OPUS_APPLICATION_RESTRICTED_LOWDELAY, 2880),
    ] {
        let (mut decoder, libopus) = (OpusDecoder::new().unwrap(), OpusDecoder::new().unwrap());
        for packet in coded(application, 1, 24_000, samples) {
            let mut expected = vec![0; MAX_SAMPLES];
            let (length, room) = (packet.len() as i32, MAX_SAMPLES as i32);
            // SAFETY: both buffers have the lengths given.
            let count =
                unsafe { opus_decode(libopus.raw.as_ptr(), packet.as_ptr(), length, expected.as_mut_ptr(), room, 0) };
            assert_eq!(decoder.decode(&packet).unwrap(), &expected[..usize::try_from(count).unwrap()]);
        }
    }
}

#[test]
fn losses_in_stereo_are_concealed() {
    for bitrate in [40_000, 128_000] {
        let packets = coded(OPUS_APPLICATION_VOIP, 2, bitrate, FRAME_SAMPLES);
        assert!(packets[10..].iter().all(|packet| packet[0] & 4 != 0), "the packets have two channels");
        let mut decoder = OpusDecoder::new().unwrap();
        let mut before = 0.0;
        for (number, packet) in packets.iter().enumerate() {
            let lost = number % 12 > 8;
            let samples = if lost { decoder.conceal(FRAME_SAMPLES) } else { decoder.decode(packet) }.unwrap();
            let loudness = rms(samples);
            assert!(!lost || loudness <= 1.3 * before, "packet {number} at {bitrate}: {loudness} after {before}");
            assert!(loudness < 5000.0, "packet {number} at {bitrate}: {loudness}");
            before = loudness.max(rms(&samples[FRAME_SAMPLES / 2..]));
        }
    }
}

#[test]
fn a_change_from_silk_to_celt_that_nobody_prepared_is_quiet() {
    let voice = coded(OPUS_APPLICATION_VOIP, 1, 16_000, FRAME_SAMPLES);
    let other = coded(OPUS_APPLICATION_RESTRICTED_LOWDELAY, 1, 64_000, FRAME_SAMPLES);
    assert!(voice[20][0] < CELT_ONLY && other[20][0] >= CELT_ONLY);
    for change in 20..40 {
        let mut decoder = OpusDecoder::new().unwrap();
        let mut around = 0.0_f64;
        for packet in &voice[..change] {
            around = around.max(loudest(decoder.decode(packet).unwrap()));
        }
        let loudness = loudest(decoder.decode(&other[change]).unwrap());
        assert!(loudness <= 1.5 * around, "packet {change} is heard at {loudness}, those before at {around} or less");
    }
}

#[test]
fn an_empty_frame_is_concealed_wherever_it_is() {
    let packets = coded(OPUS_APPLICATION_VOIP, 1, 16_000, FRAME_SAMPLES);
    let mut decoder = OpusDecoder::new().unwrap();
    let mut before = 0.0_f64;
    for packet in &packets[..30] {
        before = rms(decoder.decode(packet).unwrap());
    }
    // Two frames of different length (code 2), the first of no bytes.
    let mixed = [&[packets[30][0] & !3 | 2, 0], &packets[30][1..]].concat();
    let samples = decoder.decode(&mixed).unwrap();
    assert_eq!(samples.len(), 2 * FRAME_SAMPLES);
    assert!(samples.chunks(FRAME_SAMPLES).all(|frame| rms(frame) <= 1.5 * before));
    assert_eq!(decoder.decode(&packets[31][..1]).unwrap().len(), FRAME_SAMPLES);
}

#[test]
fn fec_brings_back_a_lost_packet_better_than_concealment() {
    let config = OpusConfig { bitrate: 32_000, fec: true, expected_loss: 20, ..Default::default() };
    let (mut voice, mut encoder) = (Voice::new(2000.0), OpusEncoder::new(&config).unwrap());
    let (mut whole, mut with, mut without) =
        (OpusDecoder::new().unwrap(), OpusDecoder::new().unwrap(), OpusDecoder::new().unwrap());
    let mut samples = [0; FRAME_SAMPLES];
    let packets: Vec<_> = (0..200)
        .map(|_| {
            voice.fill(&mut samples).unwrap();
            encoder.encode(&samples).unwrap()
        })
        .collect();
    let error = |a: &[i16], b: &[i16]| {
        let difference: Vec<i16> = a.iter().zip(b).map(|(a, b)| a.saturating_sub(*b)).collect();
        rms(&difference).powi(2)
    };
    let (mut restored, mut fec_error, mut concealed_error) = (0, 0.0, 0.0);
    for (number, packet) in packets.iter().enumerate() {
        let true_sound = whole.decode(packet).unwrap().to_vec();
        let next = packets.get(number + 1).filter(|next| number % 8 == 7 && with.fec(next) == Some(FRAME_SAMPLES));
        if let Some(next) = next {
            restored += 1;
            fec_error += error(&true_sound, with.decode_fec(next).unwrap());
            concealed_error += error(&true_sound, without.conceal(FRAME_SAMPLES).unwrap());
        } else {
            with.decode(packet).unwrap();
            without.decode(packet).unwrap();
        }
    }
    assert!(restored > 12, "{restored} packets were restored");
    assert!(fec_error < 0.5 * concealed_error, "{fec_error} of {concealed_error}");
}

#[test]
fn where_there_is_no_fec_none_is_decoded() {
    let plain = coded(OPUS_APPLICATION_VOIP, 1, 16_000, FRAME_SAMPLES);
    let celt = coded(OPUS_APPLICATION_RESTRICTED_LOWDELAY, 1, 64_000, FRAME_SAMPLES);
    let mut decoder = OpusDecoder::new().unwrap();
    for packet in &plain {
        assert_eq!(decoder.fec(packet), None);
        assert!(decoder.decode_fec(packet).is_err());
        decoder.decode(packet).unwrap();
    }
    assert!(celt.iter().all(|packet| decoder.fec(packet).is_none()));
    for bytes in [&[][..], &[0], &[0, 0xff], &[0x18, 0xff], &[3, 0xff], &[0xff; 70]] {
        let _ = decoder.fec(bytes);
        let _ = decoder.decode_fec(bytes);
        assert!(duration(bytes).is_none_or(|samples| samples <= MAX_SAMPLES));
    }
    assert_eq!((duration(&[]), duration(&plain[20])), (None, Some(FRAME_SAMPLES)));
}
