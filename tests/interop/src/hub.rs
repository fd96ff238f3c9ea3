//! Owns the sessions and the UDP port: hands datagrams to sessions, and media from publishers to players.

use crate::session::{Happening, Role, Session};
use anyhow::{Context, Result};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::change::SdpOffer;
use str0m::net::{Protocol, Receive};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

/// Beyond this nobody is let in: the server looks at every session for each datagram of an unknown address.
const MAX_SESSIONS: usize = 500;
/// Largest datagram; WebRTC keeps below 1,500.
const MAX_DATAGRAM: usize = 2_000;
/// Datagrams taken in a row before requests and timers have their turn.
const IN_A_ROW: usize = 100;
/// Longest sleep.
const IDLE: Duration = Duration::from_secs(1);

/// What the HTTP side asks for.
pub(crate) enum Request {
    Open {
        role: Role,
        stream: (String, String),
        offer: String,
        reply: oneshot::Sender<Result<Opened, Refusal>>,
    },
    Close {
        id: u64,
        /// Whether there was such a session.
        reply: oneshot::Sender<bool>,
    },
}

/// A session that has begun.
pub(crate) struct Opened {
    pub(crate) id: u64,
    pub(crate) answer: String,
}

/// Why a session did not begin.
pub(crate) enum Refusal {
    BadOffer(String),
    Taken,
    Full,
}

pub(crate) struct Hub {
    socket: UdpSocket,
    address: SocketAddr,
    inbox: mpsc::Receiver<Request>,
    sessions: Vec<Session>,
}

impl Hub {
    pub(crate) fn new(socket: UdpSocket, inbox: mpsc::Receiver<Request>) -> Result<Self> {
        let address = socket.local_addr().context("the media socket has no address")?;
        Ok(Self { socket, address, inbox, sessions: Vec::new() })
    }

    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            let wake = self.sessions.iter().map(Session::timeout).min();
            let wake = wake.unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                request = self.inbox.recv() => match request {
                    Some(request) => self.handle_request(request),
                    None => return Ok(()),
                },
                readable = self.socket.readable() => {
                    readable.context("the media socket failed")?;
                    self.receive()?;
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            self.fire_timers();
            self.sessions.retain(Session::is_alive);
        }
    }

    fn handle_request(&mut self, request: Request) {
        // Who asked may have gone away meanwhile; then nobody reads the reply.
        match request {
            Request::Open { role, stream, offer, reply } => {
                let _ = reply.send(self.open(role, stream, &offer));
            }
            Request::Close { id, reply } => {
                let before = self.sessions.len();
                self.sessions.retain(|session| session.id != id);
                let _ = reply.send(self.sessions.len() < before);
            }
        }
    }

    fn open(&mut self, role: Role, stream: (String, String), offer: &str) -> Result<Opened, Refusal> {
        let publishes = |session: &Session| session.role == Role::Publisher && session.stream == stream;
        if role == Role::Publisher && self.sessions.iter().any(publishes) {
            return Err(Refusal::Taken);
        }
        if self.sessions.len() >= MAX_SESSIONS {
            return Err(Refusal::Full);
        }
        let bad = |error: &dyn std::fmt::Display| Refusal::BadOffer(error.to_string());
        let offer = SdpOffer::from_sdp_string(offer).map_err(|error| bad(&error))?;
        let id = fastrand::u64(..);
        let (session, answer) = Session::accept(id, role, stream, self.address, offer).map_err(|error| bad(&error))?;
        self.sessions.push(session);
        Ok(Opened { id, answer })
    }

    fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; MAX_DATAGRAM];
        for _ in 0..IN_A_ROW {
            let (len, from) = match self.socket.try_recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // A player that has gone shows as a refused port; the others go on.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error).context("the media socket failed"),
            };
            let Ok(received) = Receive::new(Protocol::Udp, from, self.address, &buffer[..len]) else { continue };
            let input = str0m::Input::Receive(Instant::now(), received);
            if let Some(index) = self.sessions.iter().position(|session| session.accepts(&input)) {
                self.sessions[index].handle(input);
                self.drive(index);
            }
        }
        Ok(())
    }

    fn fire_timers(&mut self) {
        let now = Instant::now();
        for index in 0..self.sessions.len() {
            if self.sessions[index].timeout() <= now {
                self.sessions[index].handle(str0m::Input::Timeout(now));
                self.drive(index);
            }
        }
    }

    /// Sends what a session has to send and passes on what it has to say, until all is quiet.
    fn drive(&mut self, index: usize) {
        let mut busy = vec![index];
        while let Some(index) = busy.pop() {
            let (happenings, datagrams) = self.sessions[index].poll();
            for (to, datagram) in datagrams {
                // A full socket buffer loses the datagram, as a network would.
                let _ = self.socket.try_send_to(&datagram, to);
            }
            let (id, stream) = (self.sessions[index].id, self.sessions[index].stream.clone());
            for happening in happenings {
                for (other, session) in self.sessions.iter_mut().enumerate() {
                    if session.stream != stream {
                        continue;
                    }
                    let touched = match (&happening, session.role) {
                        (Happening::Media(media), Role::Player) => session.send(id, media),
                        (Happening::WantsKeyframe, Role::Publisher) => session.request_keyframe(),
                        _ => false,
                    };
                    if touched && !busy.contains(&other) {
                        busy.push(other);
                    }
                }
            }
        }
    }
}
