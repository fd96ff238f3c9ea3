//! STUN as it comes, and as a peer that knows our password could make it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_rtc::ice::stun::{IceRole, StunClass, StunKey, StunMessage, StunWriter, answer_to};
use sfu_rtc::ice::{IceAgent, IceConfig, IceCredentials, IceSecret, is_answer, ufrag_of};
use sfu_rtc::net::{NetworkPath, Protocol};
use sfu_rtc::time::{Duration, Instant};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

fuzz_target!(|data: &[u8]| {
    let credentials = IceCredentials { ufrag: "local".into(), pwd: "a password of 22 chars".into() };
    let key = StunKey::new(&credentials.pwd);
    let remote = IceCredentials { ufrag: "remote".into(), pwd: "another one, also of 22".into() };
    let remote_key = StunKey::new(&remote.pwd);
    let mut agent = IceAgent::new(IceConfig::default(), credentials, &IceSecret::from_seed(1), Instant::ZERO);
    agent.set_remote(remote);
    // What went where and was not answered there.
    let mut asked: HashMap<NetworkPath, Vec<u8>> = HashMap::new();
    let mut answered = HashSet::new();
    let mut now = Instant::from_millis(1);

    let _ = (ufrag_of(data), is_answer(data), answer_to(data, path(1, 0).remote, &key));
    if let Some(message) = StunMessage::parse(data) {
        message.fingerprint_fits();
        message.is_authentic(&key);
    }
    agent.handle_stun(now, &path(1, 0), data);
    assert!(agent.selected().is_none(), "nobody could know the password");

    for step in data.chunks_exact(8) {
        let path = path(u16::from(step[0]), u32::from(step[1] % 4));
        now += Duration::from_millis(u64::from(step[2]) * 100);
        let mut check = StunWriter::new(StunClass::Request, &[step[3]; 12]).username("local", "remote");
        if step[4] & 1 == 1 {
            check = check.use_candidate();
        }
        if step[4] & 2 == 2 {
            let tie_breaker = u64::from(step[5]);
            let controlling = step[4] & 4 == 4;
            let role = if controlling { IceRole::Controlling(tie_breaker) } else { IceRole::Controlled(tie_breaker) };
            check = check.role(role);
        }
        let mut check = check.mapped(path.remote).finish(&key);
        if step[6] != 0 {
            let at = usize::from(step[6]) % check.len();
            check[at] ^= step[7];
        }
        match step[4] >> 5 {
            0 => agent.on_path_closed(now, &path),
            1 => agent.handle_timeout(now),
            2 => {
                if let Some(answer) = asked.get(&path).and_then(|check| answer_to(check, path.remote, &remote_key)) {
                    agent.handle_stun(now, &path, &answer);
                    answered.insert(path);
                }
            }
            _ => drop(agent.handle_stun(now, &path, &check)),
        }
        while let Some((path, check)) = agent.poll_check(now) {
            asked.insert(path, check);
        }
        assert!(agent.selected().is_none_or(|path| agent.is_known(&path) && answered.contains(&path)));
        while agent.poll_event().is_some() {}
    }
});

fn path(port: u16, connection: u32) -> NetworkPath {
    let protocol = if connection == 0 { Protocol::Udp } else { Protocol::Tcp(connection) };
    let local = IpAddr::from([127, 0, 0, 1]);
    NetworkPath { remote: SocketAddr::new(local, port), local, protocol }
}
