//! Opus in Ogg (RFC 7845, RFC 3533): a page with `OpusHead`, one with `OpusTags`, then one page per packet.
//!
//! ```text
//! page: "OggS" version(1) flags(1) granule(8) serial(4) number(4) crc(4) segments(1) segment table, body
//! ```

use crate::capture::SAMPLE_RATE;
use std::io::{Result, Write};

/// First page of the stream.
const FIRST: u8 = 2;
/// Last page of the stream.
const LAST: u8 = 4;
/// Polynomial of the page's checksum (RFC 3533 section 6).
const POLYNOMIAL: u32 = 0x04c1_1db7;
/// What a packet lasts when nothing follows that would tell: 20 ms.
const PACKET_SAMPLES: u32 = SAMPLE_RATE / 50;

#[derive(Debug)]
pub(super) struct OggWriter<W> {
    out: W,
    serial: u32,
    page: u32,
    granule: u64,
    last_timestamp: Option<u32>,
    /// Written once the next one tells whether it is the last.
    held: Option<Vec<u8>>,
}

impl<W: Write> OggWriter<W> {
    pub(super) fn new(out: W) -> Result<Self> {
        let serial = crate::peer::random_u32();
        let mut writer = Self { out, serial, page: 0, granule: 0, last_timestamp: None, held: None };
        // Version 1, mono, no pre-skip, original rate, no gain, mapping family 0.
        let mut head = b"OpusHead\x01\x01\0\0".to_vec();
        head.extend(SAMPLE_RATE.to_le_bytes());
        head.extend([0, 0, 0]);
        writer.write_page(FIRST, 0, &head)?;
        let vendor = b"sfu-client";
        let mut tags = b"OpusTags".to_vec();
        tags.extend(10u32.to_le_bytes());
        tags.extend(vendor);
        tags.extend(0u32.to_le_bytes());
        writer.write_page(0, 0, &tags)?;
        Ok(writer)
    }

    /// Writes the packet before this one: only now its end is known.
    pub(super) fn write(&mut self, timestamp: u32, packet: &[u8]) -> Result<()> {
        if let Some(last) = self.last_timestamp {
            let step = timestamp.wrapping_sub(last);
            // A step back or a jump is a new source: the file goes on without a gap.
            let step = if (1..SAMPLE_RATE).contains(&step) { step } else { PACKET_SAMPLES };
            self.flush_held(0, step)?;
        }
        self.last_timestamp = Some(timestamp);
        self.held = Some(packet.to_vec());
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.flush_held(LAST, PACKET_SAMPLES)?;
        self.out.flush()
    }

    fn flush_held(&mut self, flags: u8, samples: u32) -> Result<()> {
        let Some(packet) = self.held.take() else { return Ok(()) };
        self.granule += u64::from(samples);
        self.write_page(flags, self.granule, &packet)
    }

    fn write_page(&mut self, flags: u8, granule: u64, packet: &[u8]) -> Result<()> {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend(granule.to_le_bytes());
        page.extend(self.serial.to_le_bytes());
        page.extend(self.page.to_le_bytes());
        page.extend([0; 4]);
        // An Opus packet has at most 1276 bytes for each of at most 48 frames; a page takes 255 segments of 255 bytes.
        let packet = &packet[..packet.len().min(255 * 254)];
        let (whole, rest) = (packet.len() / 255, packet.len() % 255);
        page.push(whole as u8 + 1);
        page.extend(std::iter::repeat_n(255, whole));
        page.push(rest as u8);
        page.extend(packet);
        let crc = checksum(&page);
        page[22..26].copy_from_slice(&crc.to_le_bytes());
        self.page += 1;
        self.out.write_all(&page)
    }
}

fn checksum(page: &[u8]) -> u32 {
    page.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte) << 24,
            |crc, _| {
                if crc & 0x8000_0000 != 0 { crc << 1 ^ POLYNOMIAL } else { crc << 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_chain_and_check() {
        let mut file = Vec::new();
        let mut writer = OggWriter::new(&mut file).unwrap();
        for (timestamp, length) in [(u32::MAX - 959, 3), (0, 600), (960, 255)] {
            writer.write(timestamp, &vec![7; length]).unwrap();
        }
        writer.finish().unwrap();
        let (mut at, mut pages) = (0, Vec::new());
        while at < file.len() {
            assert_eq!(&file[at..at + 4], b"OggS");
            let segments = usize::from(file[at + 26]);
            let body: usize = file[at + 27..at + 27 + segments].iter().map(|length| usize::from(*length)).sum();
            let end = at + 27 + segments + body;
            let mut page = file[at..end].to_vec();
            page[22..26].fill(0);
            assert_eq!(checksum(&page).to_le_bytes(), file[at + 22..at + 26]);
            let granule = u64::from_le_bytes(file[at + 6..at + 14].try_into().unwrap());
            pages.push((file[at + 5], granule, body));
            at = end;
        }
        assert_eq!(pages, [(2, 0, 19), (0, 0, 26), (0, 960, 3), (0, 1920, 600), (4, 2880, 255)]);
    }
}
