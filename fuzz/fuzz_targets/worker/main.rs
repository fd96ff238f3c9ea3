//! The worker as a whole, and another to relay to: three connected clients, whose packets are sealed around what the
//! input says, strangers, the control plane's orders in any sequence, and time.

#![no_main]

mod call;
mod client;
mod orders;
mod workers;

use call::Call;
use libfuzzer_sys::fuzz_target;
use sfu_rtc::time::Duration;

fuzz_target!(|data: &[u8]| {
    let mut call = Call::new();
    let mut rest = data;
    while let Some((&[kind, who, len], after)) = rest.split_first_chunk::<3>() {
        let (bytes, after) = after.split_at(usize::from(len).min(after.len()));
        rest = after;
        let who = usize::from(who);
        match kind % 10 {
            0 => call.give(who, bytes.to_vec()),
            1 => call.give_from_a_stranger(who, bytes.to_vec()),
            2..=4 => call.give_rtp(who, kind, bytes),
            5 => call.give_rtcp(who, bytes),
            6 => call.give_check(who, bytes),
            7 => call.pass(Duration::from_millis(u64::from(len) * 4)),
            8 => call.order(who, bytes),
            _ => call.give_damaged(who, bytes),
        }
        call.drain();
    }
    call.close();
});
