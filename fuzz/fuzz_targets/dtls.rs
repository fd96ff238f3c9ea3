//! DTLS: datagrams out of nothing, records with a sound header, and a true handshake into which both are mixed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_rtc::dtls::{DtlsCertificate, DtlsEndpoint, DtlsOutput, DtlsRole};
use sfu_rtc::srtp::KeyingMaterial;
use sfu_rtc::time::{Duration, Instant};
use std::sync::OnceLock;

/// What one step may make an endpoint send: a flight, once more if it is asked for again.
const MAX_SENT: usize = 32;

struct Side {
    endpoint: DtlsEndpoint,
    keys: Option<KeyingMaterial>,
}

impl Side {
    /// A refusal is as good as anything, as long as nothing breaks.
    fn take(&mut self, now: Instant, datagram: &[u8]) {
        let _ = self.endpoint.handle_packet(now, datagram);
    }

    fn poll(&mut self, sent: &mut Vec<Vec<u8>>) {
        let (mut buf, before) = (Vec::new(), sent.len());
        while let Some(output) = self.endpoint.poll_output(&mut buf) {
            match output {
                DtlsOutput::Packet(packet) => sent.push(packet.to_vec()),
                DtlsOutput::Connected(keys) => assert!(self.keys.replace(keys).is_none()),
                DtlsOutput::Closed(_) => {}
            }
        }
        assert!(sent.len() - before <= MAX_SENT);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::from_millis(1_000);
    let [mut client, mut server] = sides(now);
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut rest = data;
    while let Some((&[kind, len], after)) = rest.split_first_chunk::<2>() {
        let (bytes, after) = after.split_at(usize::from(len).min(after.len()));
        rest = after;
        match kind % 8 {
            0 => server.take(now, bytes),
            1 => client.take(now, bytes),
            2 => server.take(now, &record(bytes)),
            3 => client.take(now, &record(bytes)),
            4 => {
                now += Duration::from_millis(u64::from(len) * 10);
                client.endpoint.handle_timeout(now);
                server.endpoint.handle_timeout(now);
            }
            5 => drop(to_server.pop()),
            // A true datagram that is damaged.
            6 => to_server.pop().into_iter().for_each(|datagram| server.take(now, &damage(datagram, bytes))),
            _ => {}
        }
        client.poll(&mut to_server);
        server.poll(&mut to_client);
        to_server.drain(..).for_each(|datagram| server.take(now, &datagram));
        to_client.drain(..).for_each(|datagram| client.take(now, &datagram));
        client.poll(&mut to_server);
        server.poll(&mut to_client);
    }
    if let (Some(client), Some(server)) = (client.keys, server.keys) {
        assert_eq!((client.local, client.remote), (server.remote, server.local));
    }
});

fn sides(now: Instant) -> [Side; 2] {
    static CERTIFICATES: OnceLock<[DtlsCertificate; 2]> = OnceLock::new();
    let [client, server] = CERTIFICATES.get_or_init(|| [DtlsCertificate::generate(), DtlsCertificate::generate()]);
    let side = |endpoint| Side { endpoint, keys: None };
    [
        side(DtlsEndpoint::new(DtlsRole::Client, client, vec![server.fingerprint().clone()], now)),
        side(DtlsEndpoint::new(DtlsRole::Server, server, vec![client.fingerprint().clone()], now)),
    ]
}

/// A record header whose length is right around `bytes`, whose first three are content type, epoch and number.
fn record(bytes: &[u8]) -> Vec<u8> {
    let Some((&[kind, epoch, number], body)) = bytes.split_first_chunk::<3>() else { return bytes.to_vec() };
    let [high, low] = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut record = vec![20 + kind % 4, 0xfe, 0xfd, 0, epoch % 3, 0, 0, 0, 0, 0, number, high, low];
    record.extend_from_slice(body);
    record
}

fn damage(mut datagram: Vec<u8>, how: &[u8]) -> Vec<u8> {
    for change in how.chunks_exact(2) {
        if let Some(byte) = datagram.get_mut(usize::from(change[0])) {
            *byte ^= change[1];
        }
    }
    datagram
}
