//! Encode, lose, damage, decode, compare: what is recovered is what was sent, as far as a scheme can tell.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_rtc::fec::{Decoder, DecoderConfig, Encoder, EncoderConfig, Scheme, Window};
use sfu_rtc::ids::{PayloadType, Ssrc};
use sfu_rtc::rtp::{HeaderWriter, RtpHeader, RtpView};
use std::collections::HashMap;

const ULPFEC: Scheme = Scheme::Ulpfec { payload_type: PayloadType(117) };
const SSRCS: [Ssrc; 2] = [Ssrc(0x1111), Ssrc(0x2222)];
/// Id of the header extension that is protected as zero.
const TRANSPORT_CC: u8 = 3;
/// Longest input of one step, so that inputs stay small.
const MAX_BYTES: usize = 64;

// A byte for scheme and window, then steps: what happens, how, a length, and as many bytes.
fuzz_target!(|data: &[u8]| {
    let Some((&which, mut rest)) = data.split_first() else { return };
    let mut call = Call::new(which);
    while let Some((&[step, how, len], after)) = rest.split_first_chunk() {
        let (bytes, after) = after.split_at(after.len().min(usize::from(len) % MAX_BYTES));
        rest = after;
        call.step(step, how, bytes);
    }
});

struct Call {
    scheme: Scheme,
    encoder: Encoder,
    decoder: Decoder,
    next: [u16; 2],
    sent: HashMap<(Ssrc, u16), Vec<u8>>,
    /// Whether the decoder was told what no encoder wrote; XOR believes that, our own format must not.
    is_deceived: bool,
    /// Whether the encoder protects packets that are not in `sent`.
    is_foreign: bool,
    packet: Vec<u8>,
    parity: Vec<u8>,
}

impl Call {
    fn new(which: u8) -> Self {
        let scheme = [Scheme::ReedSolomon, Scheme::FlexFec03, ULPFEC][usize::from(which % 3)];
        let frames = which >> 4;
        let window = if which & 8 == 0 { Window::Block(frames) } else { Window::Sliding(frames) };
        let mutable_extensions = [TRANSPORT_CC].into_iter().collect::<sfu_rtc::fec::MutableExtensions>();
        let streams = SSRCS.into_iter().collect();
        let config = EncoderConfig { scheme, window, streams, mutable_extensions: mutable_extensions.clone() };
        let mut decoder = Decoder::new(DecoderConfig { scheme, mutable_extensions });
        assert!(SSRCS.iter().all(|&ssrc| decoder.add_stream(ssrc)));
        Self {
            scheme,
            encoder: Encoder::new(config),
            decoder,
            next: [u16::from(which) << 8, 0xfff0],
            sent: HashMap::new(),
            is_deceived: false,
            is_foreign: false,
            packet: Vec::new(),
            parity: Vec::new(),
        }
    }

    fn step(&mut self, step: u8, how: u8, bytes: &[u8]) {
        match step % 6 {
            0 | 1 => self.send(usize::from(step & 1), how, bytes),
            2 => self.end_frame(how, bytes),
            3 => self.encoder.set_parity(usize::from(how)),
            4 => {
                self.is_deceived |= self.decoder.on_parity(SSRCS[0], bytes).is_ok();
            }
            _ => {
                self.is_foreign |= self.encoder.add(bytes).is_ok();
                self.is_deceived |= self.decoder.on_media(bytes).is_ok();
            }
        }
        self.drain();
    }

    /// A packet that arrives, arrives damaged or is lost.
    fn send(&mut self, place: usize, how: u8, bytes: &[u8]) {
        let seq = self.next[place];
        self.next[place] = seq.wrapping_add(1 + u16::from(how & 0x40 != 0) * 40);
        self.packet.clear();
        let header = RtpHeader {
            payload_type: PayloadType(96),
            seq,
            timestamp: u32::from(seq) << 8,
            ssrc: SSRCS[place],
            marker: how & 0x20 != 0,
        };
        let mut writer = HeaderWriter::new(&mut self.packet, header);
        if how & 0x10 != 0 {
            assert!(writer.extension(TRANSPORT_CC, &[0, 0]));
        }
        writer.finish();
        self.packet.extend_from_slice(bytes);
        if self.encoder.add(&self.packet).is_ok() {
            self.sent.insert((SSRCS[place], seq), self.packet.clone());
        }
        if how & 1 == 0 {
            if how & 0xe == 0xe {
                self.packet[1] ^= 1;
                self.is_deceived = true;
            }
            let _ = self.decoder.on_media(&self.packet);
        }
    }

    fn end_frame(&mut self, lost: u8, damage: &[u8]) {
        self.encoder.end_frame();
        let red = usize::from(self.scheme == ULPFEC);
        let mut parity = std::mem::take(&mut self.parity);
        let mut count = 0;
        while self.encoder.poll_parity(&mut parity).is_some() {
            count += 1;
            if lost >> (count % 8) & 1 == 1 {
                continue;
            }
            if let Some(&[at, flip]) = damage.get(2 * count..2 * count + 2) {
                let at = usize::from(at) % parity.len();
                parity[at] ^= flip;
                self.is_deceived |= flip != 0;
            }
            let _ = self.decoder.on_parity(SSRCS[0], &parity[red..]);
            self.drain();
        }
        self.parity = parity;
    }

    fn drain(&mut self) {
        while let Some(ssrc) = self.decoder.poll_recovered(&mut self.packet) {
            let view = RtpView::parse(&self.packet).expect("what is recovered is a packet");
            assert_eq!(view.ssrc(), ssrc);
            let is_sent = self.sent.get(&(ssrc, view.seq())) == Some(&self.packet);
            let may_differ = self.is_foreign || self.is_deceived && self.scheme != Scheme::ReedSolomon;
            assert!(is_sent || may_differ, "recovered what was not sent");
        }
    }
}
