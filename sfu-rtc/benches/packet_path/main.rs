//! What single steps of the packet's path cost: `cargo bench -p sfu-rtc`.

mod fec;
mod feedback;
mod pacing;
mod rtp;
mod srtp;

fn main() {
    divan::main();
}

/// Payload of a usual packet of video: 1.5 Mbit/s at 30 frames per second in six packets each.
const PAYLOAD: [u8; 1_060] = [0xab; 1_060];
