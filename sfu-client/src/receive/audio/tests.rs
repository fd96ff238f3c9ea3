//! What is heard where packets were lost.

use super::*;
use crate::capture::voice::{Voice, rms};
use crate::capture::{AudioSource, WavReader};
use crate::encode::{FRAME_SAMPLES, OpusConfig, OpusEncoder};
use crate::peer::MediaKind;
use crate::record::{Outlets, RecordSettings};
use bytes::Bytes;

const PACKETS: usize = 150;
const SPEECH: f64 = 2000.0;

/// A voice of RMS `level`, coded.
fn coded(level: f64, config: &OpusConfig) -> Vec<Bytes> {
    let (mut voice, mut encoder) = (Voice::new(level), OpusEncoder::new(config).unwrap());
    let mut samples = [0; FRAME_SAMPLES];
    (0..PACKETS)
        .map(|_| {
            voice.fill(&mut samples).unwrap();
            encoder.encode(&samples).unwrap()
        })
        .collect()
}

fn voice(bitrate: u32) -> Vec<Bytes> {
    coded(SPEECH, &OpusConfig { bitrate, fec: false, ..Default::default() })
}

/// What is played of `packets` when those that `lost` names do not come, by way of the playout buffer and a recording.
fn heard(name: &str, packets: &[Bytes], lost: impl Fn(usize) -> bool) -> Vec<i16> {
    let folder = std::env::temp_dir().join(format!("sfu-client-audio-{}", std::process::id()));
    let settings = RecordSettings { folder: folder.clone(), coded: false, frame_rate: 0.0 };
    settings.prepare().unwrap();
    let stats = Arc::new(StreamStats::new("0".to_owned(), MediaKind::Audio));
    let mut receiver =
        Receiver::new(stats, None, Some(AudioRecorder::new(Some(&settings), name, Outlets::default()).unwrap()))
            .unwrap();
    let start = Instant::now();
    // The first packet waits for the time of one.
    for number in 0..packets.len() + 1 {
        let now = start + Duration::from_millis(20) * number as u32;
        if let Some(payload) = packets.get(number).filter(|_| !lost(number)) {
            let timestamp = (number * FRAME_SAMPLES) as u32;
            let header = rtp::Header { sequence_number: number as u16, timestamp, ..Default::default() };
            let packet = rtp::Packet { header, payload: payload.clone() };
            receiver.on_packet(now, packet, Some(TrackFormat::Opus));
        }
        receiver.play(now).unwrap();
        receiver.play(now + STEP).unwrap();
    }
    receiver.recorder.unwrap().finish().unwrap();
    let mut samples = vec![0; (packets.len() + 1) * FRAME_SAMPLES];
    let file = folder.join(format!("{name}.wav"));
    WavReader::open(&file).unwrap().fill(&mut samples).unwrap();
    std::fs::remove_file(file).unwrap();
    assert_eq!(samples[..FRAME_SAMPLES], [0; FRAME_SAMPLES]);
    samples.split_off(FRAME_SAMPLES)
}

fn packet(samples: &[i16], number: usize) -> &[i16] {
    &samples[number * FRAME_SAMPLES..][..FRAME_SAMPLES]
}

/// Every 25th packet begins a burst of `length` losses; the first ones let the codec settle.
fn burst(length: usize) -> impl Fn(usize) -> bool + Copy {
    move |number| number >= 20 && number % 25 < length
}

/// Asserts of what is heard with losses, beside what would be heard without: nothing that was made up is louder than
/// its neighbours, and what is decoded after it is soon as loud as it should be.
fn assert_concealed(name: &str, packets: &[Bytes], length: usize) {
    let lost = burst(length);
    let whole = heard(name, packets, |_| false);
    let gappy = heard(name, packets, lost);
    for number in 20..PACKETS - 2 {
        let loudness = rms(packet(&gappy, number));
        if lost(number) {
            let begin = (0..number).rev().find(|number| !lost(*number)).unwrap();
            let end = (number..PACKETS).find(|number| !lost(*number)).unwrap();
            let bound = 1.3 * rms(packet(&whole, begin)).max(rms(packet(&whole, end)));
            assert!(loudness <= bound, "{name}: packet {number} was lost and is heard at {loudness:.0} of {bound:.0}");
        } else if lost(number - 1) {
            // A codec that predicts from what it got last is off for a while.
            let bound = 2.0 * rms(packet(&whole, number)).max(rms(packet(&gappy, number - 1)));
            assert!(
                loudness <= bound,
                "{name}: packet {number}, after a loss, is heard at {loudness:.0} of {bound:.0}"
            );
        }
    }
}

#[test]
fn a_lost_packet_of_a_voice_is_no_louder_than_its_neighbours() {
    for bitrate in [12_000, 16_000, 24_000, 32_000] {
        let packets = voice(bitrate);
        let silk = packets.iter().filter(|packet| packet[0] < 0x80).count();
        assert!(silk > PACKETS / 3, "{silk} packets of a voice at {bitrate} have a SILK layer");
        assert_concealed(&format!("voice-{bitrate}"), &packets, 1);
    }
}

#[test]
fn a_burst_of_lost_packets_is_no_louder_than_its_neighbours() {
    for bitrate in [16_000, 24_000, 32_000] {
        assert_concealed(&format!("burst-{bitrate}"), &voice(bitrate), 5);
    }
}

#[test]
fn losses_in_a_quiet_voice_are_quiet() {
    let packets = coded(179.0, &OpusConfig { bitrate: 24_000, fec: false, ..Default::default() });
    assert_concealed("quiet", &packets, 1);
}

#[test]
fn losses_of_celt_are_concealed_too() {
    let packets = coded(SPEECH, &OpusConfig { bitrate: 128_000, fec: false, ..Default::default() });
    assert!(packets.iter().all(|packet| packet[0] >= 0x80), "CELT alone");
    for length in [1, 5] {
        assert_concealed(&format!("celt-{length}"), &packets, length);
    }
}

#[test]
fn a_pause_without_packets_to_fill_it_is_quiet() {
    let config = OpusConfig { bitrate: 24_000, dtx: true, ..Default::default() };
    let mut encoder = OpusEncoder::new(&config).unwrap();
    let (mut voice, mut samples) = (Voice::new(SPEECH), [0; FRAME_SAMPLES]);
    let mut packets = Vec::new();
    for number in 0..PACKETS {
        voice.fill(&mut samples).unwrap();
        if number >= 50 {
            samples.fill(0);
        }
        packets.push(encoder.encode(&samples).unwrap());
    }
    let empty = (0..PACKETS).filter(|number| packets[*number].len() <= 2).count();
    assert!(empty > 50, "{empty} packets of a pause are empty");
    let samples = heard("pause", &packets, |_| false);
    assert!(rms(packet(&samples, 40)) > 500.0);
    assert!((60..PACKETS).all(|number| rms(packet(&samples, number)) < 10.0));
}
