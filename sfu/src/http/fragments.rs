//! What a WebSocket message in fragments may cost (RFC 6455 section 5.4).
//!
//! The library gathers a fragmented message in a second buffer, and tells of it only once it is whole. So fragments are
//! counted here, by their frames' headers, on the way to the library.

use super::metered::spend;
use super::watched::Watch;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Frames of one message. Messages have a rate; so frames have one, empty ones too.
const MAX_FRAGMENTS: u32 = 1024;
/// Two bytes, a length of up to eight more, and the mask.
const LONGEST_HEADER: usize = 14;

/// Watches a WebSocket's stream and fails with `InvalidData` where a message has more than [`MAX_FRAGMENTS`]. What
/// fragments carry is taken from the allowance of who has not joined, where it counts three times: for the frame, which was
/// read, and twice for the message that it becomes a part of, whose room doubles as it grows.
pub(super) struct Fragments {
    headers: Headers,
    allowance: Arc<AtomicUsize>,
    of_this_message: u32,
}

impl Fragments {
    pub(super) fn new(allowance: Arc<AtomicUsize>) -> Self {
        Self { headers: Headers::default(), allowance, of_this_message: 0 }
    }

    /// Looks at the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while let Some(frame) = self.headers.next(&mut rest) {
            if !frame.is_fragment() {
                continue;
            }
            self.of_this_message += 1;
            if self.of_this_message > MAX_FRAGMENTS {
                let text = format!("a message of more than {MAX_FRAGMENTS} frames");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            if frame.is_final {
                self.of_this_message = 0;
            }
            spend(&self.allowance, frame.payload.saturating_mul(2));
        }
        Ok(())
    }
}

impl<S> Watch<S> for Fragments {
    fn on_read(&mut self, bytes: &[u8], _stream: &mut S) -> io::Result<()> {
        self.push(bytes)
    }
}

/// What a frame's header says.
struct Frame {
    is_final: bool,
    opcode: u8,
    payload: usize,
}

impl Frame {
    /// Whether a message has more frames than this one. Those of control are never split.
    fn is_fragment(&self) -> bool {
        let (is_control, continues) = (self.opcode & 0x8 != 0, self.opcode == 0);
        !is_control && (continues || !self.is_final)
    }
}

/// Finds the headers in a client's stream of frames, which comes in pieces of any size.
#[derive(Default)]
struct Headers {
    header: [u8; LONGEST_HEADER],
    have: usize,
    payload_left: usize,
}

impl Headers {
    /// The next header that is whole; takes what it has looked at from `bytes`.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        loop {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            *bytes = &bytes[skipped..];
            let (&first, rest) = bytes.split_first()?;
            *bytes = rest;
            self.header[self.have] = first;
            self.have += 1;
            if self.have == self.header_len() {
                self.have = 0;
                self.payload_left = self.payload_len();
                let opcode = self.header[0] & 0x0f;
                let is_final = self.header[0] & 0x80 != 0;
                return Some(Frame { is_final, opcode, payload: self.payload_left });
            }
        }
    }

    /// Bytes of this header, as far as they are known.
    fn header_len(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.header[1] & 0x80 != 0 { 4 } else { 0 };
        2 + mask + self.length_bytes()
    }

    /// Bytes of the extended length.
    fn length_bytes(&self) -> usize {
        match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn payload_len(&self) -> usize {
        match self.length_bytes() {
            0 => usize::from(self.header[1] & 0x7f),
            bytes => self.header[2..2 + bytes].iter().fold(0_usize, |len, byte| (len << 8) | usize::from(*byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    const ALLOWANCE: usize = 10_000;

    fn fragments() -> Fragments {
        Fragments::new(Arc::new(AtomicUsize::new(ALLOWANCE)))
    }

    /// A masked frame, with its length written in the shortest form that holds it.
    fn frame(is_final: bool, opcode: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![u8::from(is_final) << 7 | opcode];
        match payload {
            0..126 => frame.push(0x80 | u8::try_from(payload).unwrap()),
            126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend([0xff; 4]);
        frame.resize(frame.len() + payload, 0xff);
        frame
    }

    #[test]
    fn only_fragments_are_charged_in_pieces_of_any_size() {
        let stream: Vec<u8> = [
            frame(true, 1, 70_000),
            frame(false, 1, 200),
            frame(true, 9, 5),
            frame(false, 0, 0),
            frame(true, 0, 30),
            frame(true, 2, 125),
        ]
        .concat();
        for size in [1, 2, 3, 7, 500, stream.len()] {
            let mut fragments = fragments();
            for piece in stream.chunks(size) {
                fragments.push(piece).unwrap();
            }
            assert_eq!(fragments.allowance.load(Ordering::Relaxed), ALLOWANCE - 2 * 230, "pieces of {size}");
            assert_eq!(fragments.of_this_message, 0);
        }
    }

    #[test]
    fn one_who_has_joined_pays_nothing_but_has_no_message_of_endless_frames() {
        let mut fragments = fragments();
        fragments.allowance.store(usize::MAX, Ordering::Relaxed);
        fragments.push(&frame(false, 1, 100)).unwrap();
        for _ in 1..MAX_FRAGMENTS {
            fragments.push(&frame(false, 0, 0)).unwrap();
        }
        let error = fragments.push(&frame(false, 0, 0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(fragments.allowance.load(Ordering::Relaxed), usize::MAX);
    }

    #[test]
    fn lengths_that_nothing_has_are_survived() {
        let mut fragments = fragments();
        let mut header = vec![0x01, 0x80 | 127];
        header.extend([0xff; 12]);
        fragments.push(&header).unwrap();
        fragments.push(&[0; 5_000]).unwrap();
        assert_eq!(fragments.allowance.load(Ordering::Relaxed), 0);
    }
}
