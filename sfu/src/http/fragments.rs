//! What a WebSocket message in fragments may cost (RFC 6455 section 5.4).
//!
//! The library gathers a fragmented message in a second buffer, and tells of it only once it is whole. So fragments are
//! counted here, by their frames' headers, on the way to the library.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Frames of one message. Messages have a rate; so frames have one, empty ones too.
const MAX_FRAGMENTS: u32 = 1024;
/// Two bytes, a length of up to eight more, and the mask.
const LONGEST_HEADER: usize = 14;

/// Reads from a WebSocket's stream and fails with `InvalidData` where a message has more than [`MAX_FRAGMENTS`]. What
/// fragments carry is taken from the allowance of who has not joined, where it counts twice: for the frame, which was
/// read, and for the message that it becomes a part of.
pub(super) struct Fragments<S> {
    stream: S,
    headers: Headers,
    allowance: Arc<AtomicUsize>,
    of_this_message: u32,
}

impl<S> Fragments<S> {
    pub(super) fn new(stream: S, allowance: Arc<AtomicUsize>) -> Self {
        Self { stream, headers: Headers::default(), allowance, of_this_message: 0 }
    }

    fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while let Some(frame) = self.headers.next(&mut rest) {
            if frame.is_control() || (frame.is_final && !frame.continues) {
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
            let charged = |allowed: usize| (allowed != usize::MAX).then(|| allowed.saturating_sub(frame.payload));
            // Who has joined has no such bound.
            let _ = self.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charged);
        }
        Ok(())
    }
}

/// What a frame's header says.
struct Frame {
    is_final: bool,
    opcode: u8,
    continues: bool,
    payload: usize,
}

impl Frame {
    fn is_control(&self) -> bool {
        self.opcode & 0x8 != 0
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
                return Some(Frame { is_final, opcode, continues: opcode == 0, payload: self.payload_left });
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

impl<S: AsyncRead + Unpin> AsyncRead for Fragments<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.count(&buf.filled()[before..])?;
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Fragments<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: usize = 10_000;

    fn fragments() -> Fragments<()> {
        Fragments::new((), Arc::new(AtomicUsize::new(ALLOWANCE)))
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
                fragments.count(piece).unwrap();
            }
            assert_eq!(fragments.allowance.load(Ordering::Relaxed), ALLOWANCE - 230, "pieces of {size}");
            assert_eq!(fragments.of_this_message, 0);
        }
    }

    #[test]
    fn one_who_has_joined_pays_nothing_but_has_no_message_of_endless_frames() {
        let mut fragments = fragments();
        fragments.allowance.store(usize::MAX, Ordering::Relaxed);
        fragments.count(&frame(false, 1, 100)).unwrap();
        for _ in 1..MAX_FRAGMENTS {
            fragments.count(&frame(false, 0, 0)).unwrap();
        }
        let error = fragments.count(&frame(false, 0, 0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(fragments.allowance.load(Ordering::Relaxed), usize::MAX);
    }

    #[test]
    fn lengths_that_nothing_has_are_survived() {
        let mut fragments = fragments();
        let mut header = vec![0x01, 0x80 | 127];
        header.extend([0xff; 12]);
        fragments.count(&header).unwrap();
        fragments.count(&[0; 5_000]).unwrap();
        assert_eq!(fragments.allowance.load(Ordering::Relaxed), 0);
    }
}
