//! Taking connections from the kernel so that none waits for those of another address.
//!
//! The kernel has them in the order in which they came: who comes after thousands would wait until all of them have a seat.
//! So they are taken from it at once, which is cheap, and then seated one address after the other.

use super::connections::Connections;
use futures_util::FutureExt;
use sfu_rtc::net::Neighbourhood;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{unconstrained, yield_now};

/// After so many, those who have a seat have their turn at the processor.
const ROUND: u32 = 16;

/// Connections that are taken from the kernel for each that gets a seat.
const TAKEN_AT_ONCE: usize = 32;

/// A connection and whose it is.
type Arrival = (TcpStream, SocketAddr);

/// Those who have come and have no seat yet.
pub(crate) struct Reception {
    listener: TcpListener,
    connections: Arc<Connections>,
    waiting: HashMap<Neighbourhood, VecDeque<Arrival>>,
    /// Addresses of which somebody waits, the next first.
    order: VecDeque<Neighbourhood>,
    count: usize,
    in_round: u32,
}

impl Reception {
    /// As many may wait as have a seat: past that, who has come first would lose the seat at once.
    pub(crate) fn new(listener: TcpListener, connections: Arc<Connections>) -> Self {
        let (waiting, order) = (HashMap::new(), VecDeque::new());
        Self { listener, connections, waiting, order, count: 0, in_round: 0 }
    }

    /// The next connection. Whoever gives up waiting for it loses none.
    pub(crate) async fn accept(&mut self) -> io::Result<Arrival> {
        if self.in_round == ROUND {
            self.in_round = 0;
            yield_now().await;
        }
        self.in_round += 1;
        loop {
            let taken = self.take_in();
            if let Some(next) = self.next() {
                return Ok(next);
            }
            taken?;
            let arrival = self.listener.accept().await?;
            self.add(arrival);
        }
    }

    /// Takes in those who have come, or the first [`TAKEN_AT_ONCE`]: a flood's whole queue would hold up the core.
    fn take_in(&mut self) -> io::Result<()> {
        for _ in 0..TAKEN_AT_ONCE {
            match unconstrained(self.listener.accept()).now_or_never() {
                Some(arrival) => self.add(arrival?),
                None => break,
            }
        }
        Ok(())
    }

    /// Where too many wait, the first of the address with the most gives way.
    fn add(&mut self, arrival: Arrival) {
        let address = Neighbourhood::of(arrival.1.ip());
        let queue = self.waiting.entry(address).or_default();
        if queue.is_empty() {
            self.order.push_back(address);
        }
        queue.push_back(arrival);
        self.count += 1;
        if self.count > self.connections.most()
            && let Some(longest) = self.waiting.values_mut().max_by_key(|queue| queue.len())
            && longest.len() > 1
            && let Some((stream, _)) = longest.pop_front()
        {
            self.count -= 1;
            abort(&stream);
            self.connections.count_given_way();
        }
    }

    fn next(&mut self) -> Option<Arrival> {
        let address = self.order.pop_front()?;
        let queue = self.waiting.get_mut(&address)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&address);
        } else {
            self.order.push_back(address);
        }
        self.count -= 1;
        next
    }
}

/// Makes the end of a connection abrupt: a stranger's is not worth the states and timers that an orderly one keeps in the
/// kernel (RFC 9293 section 3.6), which take a core where thousands end per second.
pub(crate) fn abort(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "SO_LINGER");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HttpConfig, LimitsConfig};
    use socket2::{Domain, Socket, Type};
    use std::net::Ipv4Addr;

    const FLOODER: [u8; 4] = [127, 0, 0, 2];
    const NEWCOMER: [u8; 4] = [127, 0, 0, 3];

    fn connect(from: [u8; 4], to: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        socket
    }

    async fn reception(seats: usize) -> (Reception, SocketAddr) {
        let limits = LimitsConfig { unauthenticated_connections: seats, ..LimitsConfig::default() };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (Reception::new(listener, Connections::new(&HttpConfig::default(), &limits)), address)
    }

    /// Who comes next, for as long as somebody has come.
    fn all(reception: &mut Reception) -> Vec<[u8; 4]> {
        let mut order = Vec::new();
        while let Some(Ok((_, SocketAddr::V4(address)))) = unconstrained(reception.accept()).now_or_never() {
            reception.in_round = 0;
            order.push(address.ip().octets());
        }
        order
    }

    #[tokio::test]
    async fn whoever_comes_after_many_of_another_address_does_not_wait_for_them() {
        let (mut reception, address) = reception(1_000).await;
        let _flood: Vec<_> = (0..100).map(|_| connect(FLOODER, address)).collect();
        let _newcomer = connect(NEWCOMER, address);
        reception.listener.accept().await.map(|arrival| reception.add(arrival)).unwrap();
        let order = all(&mut reception);
        let place = order.iter().position(|address| *address == NEWCOMER);
        assert!(order.len() == 101 && place.is_some_and(|place| place < 8), "{place:?}");
        assert!(reception.waiting.is_empty() && reception.order.is_empty() && reception.count == 0);
    }

    #[tokio::test]
    async fn where_too_many_wait_those_of_the_address_with_the_most_give_way() {
        let (mut reception, address) = reception(10).await;
        let _newcomers: Vec<_> = (0..2).map(|_| connect(NEWCOMER, address)).collect();
        let _flood: Vec<_> = (0..100).map(|_| connect(FLOODER, address)).collect();
        reception.listener.accept().await.map(|arrival| reception.add(arrival)).unwrap();
        while let Some(arrival) = unconstrained(reception.listener.accept()).now_or_never() {
            reception.add(arrival.unwrap());
        }
        let order = all(&mut reception);
        let newcomers = order.iter().filter(|address| **address == NEWCOMER).count();
        assert_eq!((order.len(), newcomers), (10, 2));
    }
}
