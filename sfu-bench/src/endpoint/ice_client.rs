//! The checking side of ICE towards one address (RFC 8445): a load tester knows where its server is. It answers the
//! server's checks too, as browsers do.

use sfu_rtc::ice::stun::{IceRole, PEER_REFLEXIVE, StunClass, StunKey, StunMessage, StunWriter, answer_to};
use sfu_rtc::ice::{IceCredentials, is_answer};
use sfu_rtc::time::{Duration, Instant};
use std::net::SocketAddr;

/// Time between checks until one is answered; RFC 8445 section 14.3 has 500 ms, but most of what we test is near.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Time between consent checks (RFC 7675 section 5.1).
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);

/// Checks one path, nominates it, and keeps consent.
pub(super) struct IceClient {
    local: IceCredentials,
    remote: IceCredentials,
    key: StunKey,
    /// Of our password, for answers.
    own_key: StunKey,
    /// The answer to the server's latest check.
    answer: Option<Vec<u8>>,
    transaction: [u8; 12],
    next_check: Instant,
    nominated: bool,
}

impl IceClient {
    pub(super) fn new(local: IceCredentials, remote: IceCredentials, now: Instant) -> Self {
        let (key, own_key) = (StunKey::new(&remote.pwd), StunKey::new(&local.pwd));
        Self { local, remote, key, own_key, answer: None, transaction: [0; 12], next_check: now, nominated: false }
    }

    pub(super) fn is_nominated(&self) -> bool {
        self.nominated
    }

    /// The next check, if one is due.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        if now < self.next_check {
            return None;
        }
        self.next_check = now + if self.nominated { CONSENT_INTERVAL } else { CHECK_INTERVAL };
        // Sent again it is the same request (RFC 8489 section 6.2.1), so that a slow answer is one to it.
        if self.nominated || self.transaction == [0; 12] {
            self.transaction[..8].copy_from_slice(&now.as_nanos().to_be_bytes());
        }
        let request = StunWriter::new(StunClass::Request, &self.transaction)
            .username(&self.remote.ufrag, &self.local.ufrag)
            .priority(PEER_REFLEXIVE)
            .role(IceRole::Controlling(1))
            .use_candidate();
        Some(request.finish(&self.key))
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.next_check
    }

    /// The answer to a check of the server, which waits to leave.
    pub(super) fn take_answer(&mut self) -> Option<Vec<u8>> {
        self.answer.take()
    }

    pub(super) fn has_answer(&self) -> bool {
        self.answer.is_some()
    }

    /// Takes a check or an answer of the server at `server`. A refusal shows as a check that is never answered.
    pub(super) fn handle(&mut self, server: SocketAddr, datagram: &[u8]) {
        if !is_answer(datagram) {
            self.answer = answer_to(datagram, server, &self.own_key);
            return;
        }
        let Some(message) = StunMessage::parse(datagram) else { return };
        let ours = message.transaction == self.transaction && message.is_authentic(&self.key);
        self.nominated |= ours && message.class == StunClass::Success;
    }
}
