//! Framing of ICE-TCP (RFC 4571) over a stream that gives and takes what the input says: bytes in pieces, interruptions,
//! no room to write.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu::fuzzing::TcpFrames;
use std::io::{self, ErrorKind, Read, Write};

const HEADER: usize = 2;
/// Longest frame that is taken.
const MAX_FRAME: usize = 2_048;
/// Most bytes that wait to be written.
const MAX_WAITING: usize = 256 * 1024;

#[derive(Default)]
struct Stream<'a> {
    incoming: &'a [u8],
    /// How many of the incoming bytes are there already, and how many may be written.
    readable: usize,
    writable: usize,
    interrupted: bool,
    written: Vec<u8>,
}

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        let count = buf.len().min(self.readable).min(self.incoming.len());
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let (now, later) = self.incoming.split_at(count);
        buf[..count].copy_from_slice(now);
        self.incoming = later;
        self.readable -= count;
        Ok(count)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        let count = buf.len().min(self.writable);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.writable -= count;
        self.written.extend_from_slice(&buf[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// A byte: so many steps of two bytes, and the rest comes in.
fuzz_target!(|data: &[u8]| {
    let Some((&steps, rest)) = data.split_first() else { return };
    let (steps, incoming) = rest.split_at((2 * usize::from(steps)).min(rest.len()));
    let mut connection = TcpFrames::new(Stream { incoming, ..Stream::default() });
    let (mut received, mut sent) = (Vec::new(), Vec::new());
    let mut over = false;
    for step in steps.chunks_exact(2).chain([&[0, 255][..]]) {
        let amount = usize::from(step[1]);
        let stream = connection.shown().0;
        match step[0] % 4 {
            0 => {
                stream.readable += amount * (1 + usize::from(step[0] / 4));
                over = connection.receive(|frame| received.push(frame.to_vec())).is_err();
            }
            1 => stream.interrupted = true,
            2 => {
                let datagram = vec![step[1]; amount * usize::from(step[0])];
                if connection.send(&datagram).expect("the stream lives") {
                    sent.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
                    sent.extend_from_slice(&datagram);
                }
            }
            _ => {
                stream.writable += amount * usize::from(step[0]);
                connection.flush().expect("the stream lives");
            }
        }
        let (stream, inbound, outbound) = connection.shown();
        assert!(inbound < HEADER + MAX_FRAME || over, "{inbound} bytes wait for a frame to be whole");
        assert!(outbound <= MAX_WAITING);
        assert_eq!(stream.written.len() + outbound, sent.len(), "nothing is lost");
        if over {
            break;
        }
    }
    assert!(sent.starts_with(&connection.shown().0.written));
    let consumed = incoming.len() - connection.shown().0.incoming.len();
    let (frames, too_long) = frames(&incoming[..consumed]);
    assert!(received == frames && over == too_long);
});

/// The whole frames in `bytes`, empty ones left out, and whether one was too long.
fn frames(mut bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut frames = Vec::new();
    while let [high, low, rest @ ..] = bytes {
        let len = usize::from(*high) << 8 | usize::from(*low);
        if len > MAX_FRAME {
            return (frames, true);
        }
        let Some((frame, rest)) = rest.split_at_checked(len) else { break };
        frames.extend((!frame.is_empty()).then(|| frame.to_vec()));
        bytes = rest;
    }
    (frames, false)
}
