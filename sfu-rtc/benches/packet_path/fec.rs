//! Forward error correction, per window of 20 packets of 1,200 bytes: divide by 20 for the cost of a media packet.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sfu_rtc::fec::{Decoder, DecoderConfig, Encoder, EncoderConfig, MutableExtensions, Scheme, Window};
use sfu_rtc::ids::{PayloadType, Ssrc};
use sfu_rtc::rtp::{HeaderWriter, RtpHeader};

const SSRC: Ssrc = Ssrc(0x1122_3344);
/// Packets of a window, and their length.
const MEDIA: u16 = 20;
const LEN: usize = 1_200;
/// Parity packets of a window.
const PARITY: [usize; 3] = [1, 4, 8];

fn packet(seq: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(LEN);
    let header = RtpHeader { payload_type: PayloadType(96), seq, timestamp: 90_000, ssrc: SSRC, marker: false };
    let mut writer = HeaderWriter::new(&mut out, header);
    assert!(writer.extension(2, &[1, 2, 3]));
    writer.finish();
    out.resize_with(LEN, || (seq ^ 0x5a) as u8);
    out
}

fn encoder(scheme: Scheme, parity: usize) -> Encoder {
    let mutable_extensions = [2].into_iter().collect::<MutableExtensions>();
    let streams = [SSRC].into_iter().collect();
    let mut encoder = Encoder::new(EncoderConfig { scheme, window: Window::Block(1), streams, mutable_extensions });
    encoder.set_parity(parity);
    encoder
}

fn encode(bencher: Bencher<'_, '_>, scheme: Scheme, parity: usize) {
    let mut encoder = encoder(scheme, parity);
    let mut packets: Vec<_> = (0..MEDIA).map(packet).collect();
    let mut seq = 0u16;
    let mut out = Vec::with_capacity(2 * LEN);
    bencher.counter(ItemsCount::new(MEDIA)).bench_local(|| {
        for packet in &mut packets {
            packet[2..4].copy_from_slice(&seq.to_be_bytes());
            encoder.add(black_box(packet)).unwrap();
            seq = seq.wrapping_add(1);
        }
        encoder.end_frame();
        while encoder.poll_parity(&mut out).is_some() {
            black_box(&out);
        }
    });
}

#[divan::bench(args = PARITY)]
fn encode_reed_solomon(bencher: Bencher<'_, '_>, parity: usize) {
    encode(bencher, Scheme::ReedSolomon, parity);
}

#[divan::bench(args = PARITY)]
fn encode_flexfec(bencher: Bencher<'_, '_>, parity: usize) {
    encode(bencher, Scheme::FlexFec03, parity);
}

/// A window of which as many packets were lost as there are parity packets; all of it, arrivals included.
#[divan::bench(args = PARITY)]
fn decode_reed_solomon(bencher: Bencher<'_, '_>, parity: usize) {
    let mut encoder = encoder(Scheme::ReedSolomon, parity);
    let packets: Vec<_> = (0..MEDIA).map(packet).collect();
    packets.iter().for_each(|packet| encoder.add(packet).unwrap());
    encoder.end_frame();
    let mut sums = vec![Vec::new(); parity];
    sums.iter_mut().for_each(|sum| assert!(encoder.poll_parity(sum).is_some()));
    let config = DecoderConfig { scheme: Scheme::ReedSolomon, mutable_extensions: [2].into_iter().collect() };
    let fresh = || {
        let mut decoder = Decoder::new(config.clone());
        assert!(decoder.add_stream(SSRC));
        decoder
    };
    let mut out = Vec::with_capacity(2 * LEN);
    bencher.counter(ItemsCount::new(MEDIA)).with_inputs(fresh).bench_local_refs(|decoder| {
        packets[parity..].iter().for_each(|packet| decoder.on_media(packet).unwrap());
        sums.iter().for_each(|sum| decoder.on_parity(SSRC, sum).unwrap());
        while decoder.poll_recovered(&mut out).is_some() {
            black_box(&out);
        }
    });
}
