//! The system calls of the media path, under the address sanitizer: what the kernel could say of a received message, and
//! datagrams of any sizes over real sockets, which all arrive.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_net::{RecvBatch, UdpConfig, UdpSocket};
use sfu_rtc::net::{NetworkPath, Protocol, TransmitBatch};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;

/// One input in so many goes over the sockets, which is slow.
const SOCKETS_EVERY: u8 = 16;
/// Bytes of an address of either family.
const NAME: usize = 28;

struct Sockets {
    sender: UdpSocket,
    receiver: UdpSocket,
    batch: RecvBatch,
}

thread_local! {
    static SOCKETS: RefCell<Sockets> = RefCell::new(Sockets {
        sender: bind(),
        receiver: bind(),
        batch: RecvBatch::default(),
    });
}

/// On all addresses, so that control messages go both ways.
fn bind() -> UdpSocket {
    let config = UdpConfig { timestamps: true, ..UdpConfig::default() };
    UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0)), &config).expect("a socket")
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else { return };
    SOCKETS.with_borrow_mut(|sockets| if kind % SOCKETS_EVERY == 0 { sockets.carry(data) } else { sockets.take(data) });
});

impl Sockets {
    /// Length, address and control messages of one message.
    fn take(&mut self, data: &[u8]) {
        let Some((len, rest)) = data.split_first_chunk() else { return };
        let (name, control) = rest.split_at(rest.len().min(NAME));
        let len = u16::from_ne_bytes(*len);
        self.batch.take(len, name, control);
        self.batch.age();
        let paths: Vec<NetworkPath> = self.batch.firsts().map(|(path, _)| *path).collect();
        let (mut total, mut longest) = (0, usize::MAX);
        for (path, datagram) in self.batch.iter_mut() {
            assert_eq!(paths, [*path]);
            assert!(!datagram.is_empty() && datagram.len() <= longest, "only the last is shorter");
            (total, longest) = (total + datagram.len(), datagram.len());
        }
        assert_eq!(total, usize::from(len));
    }

    /// Two bytes per datagram: its size, and a run of such.
    fn carry(&mut self, data: &[u8]) {
        let to = SocketAddr::from(([127, 0, 0, 1], self.receiver.local_addr().port()));
        let path = NetworkPath { remote: to, local: to.ip(), protocol: Protocol::Udp };
        let mut batch = TransmitBatch::default();
        let mut sent = Vec::new();
        for run in data.chunks_exact(2).take(32) {
            for _ in 0..=run[1] % 8 {
                let datagram = vec![sent.len() as u8; 1 + usize::from(run[0]) * 5];
                let write = |buf: &mut Vec<u8>| -> Result<(), Infallible> {
                    buf.extend_from_slice(&datagram);
                    Ok(())
                };
                let Ok(()) = batch.push(path, write);
                sent.push(datagram);
            }
        }
        let progress = self.sender.send(&batch, 0);
        assert!(!progress.blocked, "the buffers hold all");
        let mut got = Vec::new();
        loop {
            match self.receiver.recv(&mut self.batch) {
                Ok(()) => got.extend(self.batch.iter_mut().map(|(path, datagram)| {
                    assert_eq!((path.local, path.remote.port()), (to.ip(), self.sender.local_addr().port()));
                    datagram.to_vec()
                })),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        // What looks like RTP of several sources may overtake; here every datagram is of another source.
        got.sort_unstable();
        sent.sort_unstable();
        assert!(got == sent, "{} of {} datagrams came as sent", got.len(), sent.len());
    }
}
