//! Ways into the server for the fuzz targets.

use crate::config::AuthConfig;
use crate::control::auth::{Authenticator, Permit};
use crate::control::shown::{AFTER_RESTART, BEFORE_RESTART, PLAYER, SIMULCAST, small, state, with_names};
use crate::control::{Control, ControlError, Session};
use crate::http::{ClientAddr, join_request};
use crate::net::{Connection, Drained};
use crate::worker_thread::WorkerHandle;
use prost::Message as _;
use sfu_proto::v1::client_message::Body as Request;
use sfu_proto::v1::{ClientMessage, Offer};
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::time::Instant;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// One ICE-TCP connection over a stream of the caller's.
pub struct TcpFrames<S>(Connection<S>);

impl<S: Read + Write> TcpFrames<S> {
    /// Over this stream.
    pub fn new(stream: S) -> Self {
        Self(Connection::over(stream))
    }

    /// Gives every whole frame that the stream has to `handle`.
    ///
    /// # Errors
    /// Where the connection is over.
    pub fn receive(&mut self, mut handle: impl FnMut(&[u8])) -> io::Result<()> {
        let mut handle = |_: &_, frame: &mut [u8]| {
            handle(frame);
            true
        };
        while let Drained::Part = self.0.receive(Instant::ZERO, &mut handle)? {}
        Ok(())
    }

    /// Sends one frame; false where it was dropped.
    ///
    /// # Errors
    /// Where the connection is over.
    pub fn send(&mut self, datagram: &[u8]) -> io::Result<bool> {
        self.0.send(datagram)
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// Where the connection is over.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    /// The stream, and how many bytes wait to be whole and to be written.
    pub fn shown(&mut self) -> (&mut S, usize, usize) {
        self.0.shown()
    }
}

/// What a token gives its bearer.
pub struct Admitted {
    /// The identity.
    pub identity: String,
    /// To publish, subscribe, send data, moderate, and administer.
    pub grants: [bool; 5],
}

/// Checks tokens.
pub struct Tokens(Authenticator);

impl Tokens {
    /// With one API key, for a server that is not open.
    pub fn new(key: &str, secret: &str) -> Self {
        let keys = [(key.to_owned(), secret.to_owned())].into();
        Self(Authenticator::new(&AuthConfig { keys, open: false }))
    }

    /// Admits to a room.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, token: &str, room: &str) -> Result<Admitted, String> {
        let Permit { identity, grants, .. } = self.0.admit(token, room, None).map_err(|error| error.message)?;
        let grants = [grants.publish, grants.subscribe, grants.data, grants.moderate, grants.admin];
        Ok(Admitted { identity, grants })
    }

    /// Admits to the admin API.
    ///
    /// # Errors
    /// Why not.
    pub fn admit_admin(&self, token: &str) -> Result<(), String> {
        self.0.admit_admin(token).map_err(|error| error.message)
    }
}

/// The control plane with a few connections, each of which may have joined.
pub struct ControlPlane {
    control: Arc<Control>,
    connections: [Option<Session>; 4],
    /// Of the session that each had last; nobody could guess it.
    secrets: [String; 4],
}

impl Default for ControlPlane {
    fn default() -> Self {
        static CERTIFICATE: OnceLock<DtlsCertificate> = OnceLock::new();
        let certificate = CERTIFICATE.get_or_init(DtlsCertificate::generate);
        Self { control: small(certificate), connections: Default::default(), secrets: Default::default() }
    }
}

impl ControlPlane {
    /// One frame on a connection: proto3 JSON or binary protobuf. Nothing changes where it is refused.
    pub fn frame(&mut self, who: usize, frame: &[u8], json: bool) {
        let message = if json { serde_json::from_slice(frame).ok() } else { ClientMessage::decode(frame).ok() };
        let Some(mut message) = message else { return };
        fill_in_offers(&mut message);
        let who = who % self.connections.len();
        let before = state(&self.control);
        if let Err(error) = self.carry_out(who, message) {
            assert_eq!(before, state(&self.control), "refused with `{}`", error.message);
            assert!(!error.message.is_empty());
        }
        self.control.workers.iter().for_each(WorkerHandle::forget_waiting);
        self.check();
    }

    /// The connection breaks.
    pub fn lose(&mut self, who: usize) {
        if let Some(session) = self.connections[who % 4].take() {
            self.control.detach(&session);
        }
    }

    fn carry_out(&mut self, who: usize, mut message: ClientMessage) -> Result<(), ControlError> {
        if let Some(session) = &self.connections[who] {
            message.body = message.body.map(|body| with_names(body, session));
            let body = message.body.as_ref().ok_or_else(|| ControlError::bad_message("The message has no body."))?;
            return session.handle(body).map(drop);
        }
        let session = match &message.body {
            Some(Request::Join(join)) => {
                let permit = self.control.auth.admit(&join.token, &join.room, None)?;
                let client = ClientAddr(IpAddr::from([127, 0, 0, 1]));
                self.control.join(&permit, join_request(join.clone(), client))?.session
            }
            Some(Request::Resume(resume)) => self.control.resume(self.secret(&resume.session), None)?.0,
            _ => return Err(ControlError::bad_message("The first message must be Join or Resume.")),
        };
        if let Some(participant) = session.room.lock().participants.get(&session.id) {
            self.secrets[who].clone_from(&participant.secret);
        }
        self.connections[who] = Some(session);
        Ok(())
    }

    /// `{0}` names the secret of the first connection, and so on.
    fn secret<'a>(&'a self, text: &'a str) -> &'a str {
        let named = (0..4).find(|n| text == format!("{{{n}}}"));
        named.map_or(text, |n| &self.secrets[n])
    }

    /// What bounds memory.
    fn check(&self) {
        let limits = &self.control.config.limits;
        let rooms = self.control.all_rooms();
        assert!(rooms.len() <= limits.rooms);
        let participants: usize = rooms.iter().map(|room| room.lock().participants.len()).sum();
        assert!(participants <= limits.participants);
    }
}

/// Offers are long: `{0}` to `{3}` stand for those of browsers.
fn fill_in_offers(message: &mut ClientMessage) {
    let fill = |offer: &mut Offer| {
        for (n, sdp) in [SIMULCAST, BEFORE_RESTART, AFTER_RESTART, PLAYER].iter().enumerate() {
            // Once each, so that an input cannot grow a thousandfold.
            offer.sdp = offer.sdp.replacen(&format!("{{{n}}}"), sdp, 1);
        }
    };
    match &mut message.body {
        Some(Request::Join(join)) => join.offer.iter_mut().for_each(fill),
        Some(Request::Offer(offer)) => fill(offer),
        _ => {}
    }
}
