//! Signalling messages of a few connections, as JSON or protobuf, through the control plane. What is refused changes
//! nothing, and there are never more rooms and participants than the limits say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu::fuzzing::ControlPlane;

/// More make one input slow, and nothing new.
const MAX_FRAMES: usize = 24;

// A line each: the connection, and JSON where that begins with a brace, protobuf in hexadecimal otherwise.
fuzz_target!(|data: &[u8]| {
    let mut control = ControlPlane::default();
    for line in data.split(|byte| *byte == b'\n').take(MAX_FRAMES) {
        let Some((&who, frame)) = line.split_first() else { continue };
        let who = usize::from(who);
        match frame.first() {
            None => control.lose(who),
            Some(b'{') => control.frame(who, frame, true),
            Some(_) => control.frame(who, &from_hex(frame), false),
        }
    }
});

fn from_hex(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
    text.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
