//! Forwards to as many subscribers as its argument says, for `scripts/instructions` to count what happens below
//! [`counted_forwarding`]: nothing else, so that handshakes and sealing by the publisher do not count. Prints
//! subscribers, packets received, packets forwarded.

mod room;

use room::{FRAME_PACKETS, Frame, Room};

/// Three seconds, so that reports and feedback are in.
const FRAMES: usize = 90;
/// What it does when it is run without a number, as by `cargo bench`.
const SUBSCRIBERS: usize = 10;

fn main() {
    let subscribers = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(SUBSCRIBERS);
    let mut room = Room::new(subscribers);
    let mut frames: Vec<Frame> = (0..FRAMES).map(|_| room.frame()).collect();
    let before = room.forwarded();
    let datagrams = counted_forwarding(&mut room, &mut frames);
    let (received, forwarded) = (FRAMES * FRAME_PACKETS, (room.forwarded() - before) as usize);
    assert_eq!(forwarded, received * subscribers, "not every packet was forwarded to everybody");
    assert!(datagrams >= forwarded);
    println!("{subscribers} {received} {forwarded}");
}

/// Named on callgrind's command line, so it must remain a function of its own.
#[inline(never)]
fn counted_forwarding(room: &mut Room, frames: &mut [Frame]) -> usize {
    frames.iter_mut().map(|frame| room.play(frame)).sum()
}
