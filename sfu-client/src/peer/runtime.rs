//! The tokio runtime for the `webrtc` crate, with one change in how sockets are read.
//!
//! The crate's driver reads up to 64 datagrams before it looks at what they have done. A server that has a keyframe
//! ready sends it right behind its last DTLS flight, if the sizes fit even in the same segmented send; read in one go,
//! the keyframe is met before the SRTP keys are in place and is dropped, and the join waits for another one. So a DTLS
//! datagram is handed out alone, and the socket pretends to be empty once after it, which makes the driver finish the
//! handshake first.

use sfu_rtc::net::DatagramKind;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

#[derive(Debug)]
pub(super) struct HandshakeFirst(TokioRuntime);

impl HandshakeFirst {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(TokioRuntime))
    }
}

impl Runtime for HandshakeFirst {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.0.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let inner = self.0.wrap_udp_socket(socket)?;
        Ok(Arc::new(Socket { inner, state: Mutex::default() }))
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.0.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.0.connect_tcp(remote)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.0.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.0.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.0.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.0.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.0.yield_now()
    }
}

#[derive(Debug)]
struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last datagram was DTLS: be empty once.
    pause: bool,
    /// Datagrams that were read together with it, and what was said about them.
    rest: Option<(Vec<u8>, RecvMeta)>,
}

impl State {
    /// Hands out what was kept back.
    fn take_rest(&mut self, buffer: &mut [u8], meta: &mut RecvMeta) -> bool {
        let Some((rest, rest_meta)) = self.rest.take() else { return false };
        buffer[..rest.len()].copy_from_slice(&rest);
        *meta = rest_meta;
        true
    }

    /// Keeps back what follows a DTLS datagram.
    fn split(&mut self, buffer: &[u8], meta: &mut RecvMeta) {
        if DatagramKind::of(buffer) != Some(DatagramKind::Dtls) {
            return;
        }
        self.pause = true;
        if meta.len > meta.stride {
            let rest = buffer[meta.stride..meta.len].to_vec();
            let mut rest_meta = *meta;
            rest_meta.len = rest.len();
            rest_meta.stride = meta.stride.min(rest.len());
            self.rest = Some((rest, rest_meta));
            meta.len = meta.stride;
        }
    }
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.inner.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.pause) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (Some(buffer), Some(first_meta)) = (bufs.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        if state.take_rest(buffer, first_meta) {
            return Poll::Ready(Ok(1));
        }
        // One message at a time, which is all that the driver asks for.
        let result = ready!(self.inner.poll_recv(cx, &mut bufs[..1], &mut meta[..1]));
        if result.is_ok() {
            state.split(&bufs[0], &mut meta[0]);
        }
        Poll::Ready(result)
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::task::Waker;

    #[tokio::test]
    async fn a_socket_is_empty_once_after_a_handshake_datagram() {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (sender, receiver) = (bind(), bind());
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let socket = HandshakeFirst::new().wrap_udp_socket(receiver).unwrap();
        for first in [22, 128, 128] {
            sender.send(&[first, 0]).unwrap();
        }
        let mut buffer = vec![0; socket.max_gro_segments() * 2048];
        socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(buffer[0], 22);
        let mut read = || {
            let mut meta = [RecvMeta::default()];
            let mut context = Context::from_waker(Waker::noop());
            let read = socket.poll_recv(&mut context, &mut [IoSliceMut::new(&mut buffer)], &mut meta);
            (read.is_ready(), buffer[0], meta[0].len)
        };
        assert!(!read().0);
        // The two equal ones may come as one, or one after the other.
        let (ready, first, _) = read();
        assert!(ready && first == 128);
    }

    #[test]
    fn what_comes_with_a_handshake_datagram_is_kept_back() {
        let mut state = State::default();
        let mut meta = RecvMeta::default();
        (meta.len, meta.stride) = (8, 3);
        state.split(&[22, 1, 2, 128, 3, 4, 129, 5], &mut meta);
        assert_eq!((meta.len, meta.stride, state.pause), (3, 3, true));
        let mut buffer = [0; 16];
        assert!(state.take_rest(&mut buffer, &mut meta));
        assert_eq!((&buffer[..5], meta.len, meta.stride), ([128, 3, 4, 129, 5].as_slice(), 5, 3));
        assert!(!state.take_rest(&mut buffer, &mut meta));
        state = State::default();
        state.split(&[128, 1, 2, 22], &mut meta);
        assert!(!state.pause && state.rest.is_none());
    }
}
