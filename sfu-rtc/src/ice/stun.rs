//! STUN binding messages (RFC 8489 section 5) with the attributes of ICE (RFC 8445 section 16).
//!
//! ```text
//!  0               1               2               3
//! |0 0| type (method and class)   | length of the attributes      |
//! | magic cookie 0x2112A442                                       |
//! | transaction id, 12 bytes                                      |
//! then attributes: type (2), length (2), value, padded to four bytes
//! ```
//!
//! Hand-written because it answers hostile input: nothing is allocated for what comes in, and only the few
//! attributes that ICE needs are read.

use arrayvec::ArrayVec;
use aws_lc_rs::hmac;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Priority of a peer-reflexive candidate (RFC 8445 section 5.1.2), which a check announces: type preference 110,
/// component 1.
pub const PEER_REFLEXIVE: u32 = (110 << 24) | (0xffff << 8) | 255;

const HEADER: usize = 20;
const MAGIC_COOKIE: u32 = 0x2112_a442;
/// Attribute type and length.
const ATTRIBUTE_HEADER: usize = 4;
/// HMAC-SHA1.
const INTEGRITY_LEN: usize = 20;
/// What the CRC-32 of a FINGERPRINT is combined with (RFC 8489 section 14.7): "STUN".
const FINGERPRINT_XOR: u32 = 0x5354_554e;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;
/// Below this a receiver must understand an attribute or refuse the request.
const COMPREHENSION_OPTIONAL: u16 = 0x8000;

/// Most unknown attributes that a refusal names.
const MAX_UNKNOWN: usize = 8;

/// Names one request and its response.
pub type TransactionId = [u8; 12];

/// What a binding message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StunClass {
    /// A connectivity check.
    Request,
    /// A keep-alive that wants no response.
    Indication,
    /// A positive response.
    Success,
    /// A negative response.
    Error,
}

/// Role that the sender of a check takes (RFC 8445 section 6.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IceRole {
    /// It nominates; with its tie-breaker.
    Controlling(u64),
    /// It follows; with its tie-breaker.
    Controlled(u64),
}

/// A binding message; its bounds were checked by [`StunMessage::parse`], its authenticity was not.
#[derive(Clone, Debug)]
pub struct StunMessage<'a> {
    buf: &'a [u8],
    /// Request, indication or response.
    pub class: StunClass,
    /// Transaction.
    pub transaction: TransactionId,
    /// USERNAME.
    pub username: Option<&'a str>,
    /// PRIORITY that a candidate learned from this check would have.
    pub priority: Option<u32>,
    /// Whether USE-CANDIDATE is present.
    pub use_candidate: bool,
    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub role: Option<IceRole>,
    /// XOR-MAPPED-ADDRESS.
    pub mapped: Option<SocketAddr>,
    /// ERROR-CODE.
    pub error: Option<u16>,
    /// Attributes that must be understood and are not.
    pub unknown: ArrayVec<u16, MAX_UNKNOWN>,
    integrity_at: Option<usize>,
    fingerprint_at: Option<usize>,
}

impl<'a> StunMessage<'a> {
    /// Reads a message. `None` where it is malformed or no binding message.
    pub fn parse(buf: &'a [u8]) -> Option<Self> {
        let (class, transaction) = parse_header(buf)?;
        let mut message = Self {
            buf,
            class,
            transaction,
            username: None,
            priority: None,
            use_candidate: false,
            role: None,
            mapped: None,
            error: None,
            unknown: ArrayVec::new(),
            integrity_at: None,
            fingerprint_at: None,
        };
        for attribute in Attributes::of(buf) {
            message.take(attribute?)?;
        }
        Some(message)
    }

    /// Whether MESSAGE-INTEGRITY is present and made with `key`.
    pub fn is_authentic(&self, key: &StunKey) -> bool {
        let Some(at) = self.integrity_at else { return false };
        let tag = key.tag(self.buf, at);
        let given = &self.buf[at + ATTRIBUTE_HEADER..at + ATTRIBUTE_HEADER + INTEGRITY_LEN];
        aws_lc_rs::constant_time::verify_slices_are_equal(&tag, given).is_ok()
    }

    /// Whether FINGERPRINT is absent or right.
    pub fn fingerprint_fits(&self) -> bool {
        self.fingerprint_at.is_none_or(|at| {
            let given = &self.buf[at + ATTRIBUTE_HEADER..at + ATTRIBUTE_HEADER + 4];
            (crc32fast::hash(&self.buf[..at]) ^ FINGERPRINT_XOR).to_be_bytes() == given
        })
    }

    fn take(&mut self, attribute: Attribute<'a>) -> Option<()> {
        let Attribute { kind, value, at } = attribute;
        // Nothing may follow FINGERPRINT, and nothing but it counts after MESSAGE-INTEGRITY (section 14.5).
        if self.fingerprint_at.is_some() {
            return None;
        }
        if self.integrity_at.is_some() && kind != FINGERPRINT {
            return Some(());
        }
        match kind {
            USERNAME => self.username = Some(std::str::from_utf8(value).ok()?),
            PRIORITY => self.priority = Some(u32::from_be_bytes(value.try_into().ok()?)),
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLED => self.role = Some(IceRole::Controlled(u64::from_be_bytes(value.try_into().ok()?))),
            ICE_CONTROLLING => self.role = Some(IceRole::Controlling(u64::from_be_bytes(value.try_into().ok()?))),
            XOR_MAPPED_ADDRESS => self.mapped = Some(unmap(value, &self.transaction)?),
            ERROR_CODE => {
                let (class, number) = (*value.get(2)?, *value.get(3)?);
                self.error = Some(u16::from(class & 7) * 100 + u16::from(number));
            }
            MESSAGE_INTEGRITY if value.len() == INTEGRITY_LEN => self.integrity_at = Some(at),
            FINGERPRINT if value.len() == 4 => self.fingerprint_at = Some(at),
            MESSAGE_INTEGRITY | FINGERPRINT => return None,
            UNKNOWN_ATTRIBUTES | COMPREHENSION_OPTIONAL.. => {}
            // More than the list holds are refused as well by those that it does hold.
            unknown => _ = self.unknown.try_push(unknown),
        }
        Some(())
    }
}

/// The positive response to a check that came from `from`.
pub(super) fn response(transaction: &TransactionId, from: SocketAddr, key: &StunKey) -> Vec<u8> {
    StunWriter::new(StunClass::Success, transaction).mapped(from).finish(key)
}

/// What a full agent whose password is that of `key` answers to a datagram from `from`: `None` where that is no check of
/// somebody who knows it.
pub fn answer_to(datagram: &[u8], from: SocketAddr, key: &StunKey) -> Option<Vec<u8>> {
    let check = StunMessage::parse(datagram).filter(|message| message.class == StunClass::Request)?;
    check.is_authentic(key).then(|| response(&check.transaction, from, key))
}

/// Whether a STUN message is a response, which names no user and is found by its path.
pub fn is_answer(stun: &[u8]) -> bool {
    matches!(parse_header(stun), Some((StunClass::Success | StunClass::Error, _)))
}

/// The user name fragment of the agent that a binding request is for: what stands before the colon of USERNAME.
pub fn ufrag_of(stun: &[u8]) -> Option<&str> {
    let (StunClass::Request, _) = parse_header(stun)? else { return None };
    let username = Attributes::of(stun).map_while(|a| a).find(|a| a.kind == USERNAME)?;
    let (ufrag, _) = std::str::from_utf8(username.value).ok()?.split_once(':')?;
    Some(ufrag)
}

/// Key of MESSAGE-INTEGRITY with short-term credentials (RFC 8489 section 9.1): the password of the side that is
/// checked.
#[derive(Clone, Debug)]
pub struct StunKey(hmac::Key);

impl StunKey {
    /// From an ICE password.
    pub fn new(pwd: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.as_bytes()))
    }

    /// The tag of a message whose MESSAGE-INTEGRITY stands at `at`: over what precedes it, with a length in the
    /// header as if it were the last attribute.
    fn tag(&self, buf: &[u8], at: usize) -> [u8; INTEGRITY_LEN] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&buf[..2]);
        context.update(&length_field(at + ATTRIBUTE_HEADER + INTEGRITY_LEN));
        context.update(&buf[4..at]);
        let mut tag = [0; INTEGRITY_LEN];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

/// Writes a binding message.
#[derive(Debug)]
pub struct StunWriter {
    buf: Vec<u8>,
}

impl StunWriter {
    /// Begins a message.
    pub fn new(class: StunClass, transaction: &TransactionId) -> Self {
        let kind = match class {
            StunClass::Request => BINDING_REQUEST,
            StunClass::Indication => BINDING_INDICATION,
            StunClass::Success => BINDING_SUCCESS,
            StunClass::Error => BINDING_ERROR,
        };
        // Room for any response of ours, and for a check whose user name is not absurdly long.
        let mut buf = Vec::with_capacity(128);
        buf.extend_from_slice(&kind.to_be_bytes());
        buf.extend_from_slice(&[0, 0]);
        buf.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        buf.extend_from_slice(transaction);
        Self { buf }
    }

    /// USERNAME of a check: the fragment of the side that is checked comes first.
    pub fn username(self, checked: &str, checking: &str) -> Self {
        let username = [checked, ":", checking].concat();
        self.attribute(USERNAME, username.as_bytes())
    }

    /// PRIORITY.
    pub fn priority(self, priority: u32) -> Self {
        self.attribute(PRIORITY, &priority.to_be_bytes())
    }

    /// USE-CANDIDATE.
    pub fn use_candidate(self) -> Self {
        self.attribute(USE_CANDIDATE, &[])
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn role(self, role: IceRole) -> Self {
        match role {
            IceRole::Controlling(tie_breaker) => self.attribute(ICE_CONTROLLING, &tie_breaker.to_be_bytes()),
            IceRole::Controlled(tie_breaker) => self.attribute(ICE_CONTROLLED, &tie_breaker.to_be_bytes()),
        }
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn mapped(self, address: SocketAddr) -> Self {
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&self.buf[8..HEADER]);
        let value = map(address, &transaction);
        self.attribute(XOR_MAPPED_ADDRESS, &value)
    }

    /// ERROR-CODE.
    pub fn error(self, code: u16, reason: &str) -> Self {
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend_from_slice(reason.as_bytes());
        self.attribute(ERROR_CODE, &value)
    }

    /// UNKNOWN-ATTRIBUTES.
    pub fn unknown(self, kinds: &[u16]) -> Self {
        let value: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.attribute(UNKNOWN_ATTRIBUTES, &value)
    }

    /// Closes the message with MESSAGE-INTEGRITY and FINGERPRINT.
    pub fn finish(self, key: &StunKey) -> Vec<u8> {
        let tag = key.tag(&self.buf, self.buf.len());
        let mut this = self.attribute(MESSAGE_INTEGRITY, &tag);
        let end = this.buf.len() + ATTRIBUTE_HEADER + 4;
        this.buf[2..4].copy_from_slice(&length_field(end));
        let crc = crc32fast::hash(&this.buf) ^ FINGERPRINT_XOR;
        this.attribute(FINGERPRINT, &crc.to_be_bytes()).buf
    }

    /// Appends an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.buf.extend_from_slice(&kind.to_be_bytes());
        self.buf.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.buf.extend_from_slice(value);
        self.buf.resize(self.buf.len().next_multiple_of(4), 0);
        let length = length_field(self.buf.len());
        self.buf[2..4].copy_from_slice(&length);
        self
    }
}

/// Length field of a message of `end` bytes.
fn length_field(end: usize) -> [u8; 2] {
    ((end - HEADER) as u16).to_be_bytes()
}

fn parse_header(buf: &[u8]) -> Option<(StunClass, TransactionId)> {
    let (header, attributes) = buf.split_at_checked(HEADER)?;
    let kind = u16::from_be_bytes([header[0], header[1]]);
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if len != attributes.len() || !len.is_multiple_of(4) || header[4..8] != MAGIC_COOKIE.to_be_bytes() {
        return None;
    }
    let class = match kind {
        BINDING_REQUEST => StunClass::Request,
        BINDING_INDICATION => StunClass::Indication,
        BINDING_SUCCESS => StunClass::Success,
        BINDING_ERROR => StunClass::Error,
        _ => return None,
    };
    Some((class, header[8..].try_into().ok()?))
}

struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
    /// Where it begins in the message.
    at: usize,
}

/// Walks the attributes; `None` inside where one reaches beyond the message.
struct Attributes<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Attributes<'a> {
    fn of(message: &'a [u8]) -> Self {
        Self { buf: message, at: HEADER }
    }

    fn read(&mut self) -> Option<Attribute<'a>> {
        let at = self.at;
        let header = self.buf.get(at..at + ATTRIBUTE_HEADER)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let start = at + ATTRIBUTE_HEADER;
        let value = self.buf.get(start..start + len)?;
        self.at = start + len.next_multiple_of(4);
        Some(Attribute { kind, value, at })
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Option<Attribute<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.buf.len() {
            return None;
        }
        let attribute = self.read();
        if attribute.is_none() {
            self.at = self.buf.len();
        }
        Some(attribute)
    }
}

/// XOR-MAPPED-ADDRESS (section 14.2): a zero byte, family, port, address; XORed with cookie and transaction.
fn map(address: SocketAddr, transaction: &TransactionId) -> ArrayVec<u8, 20> {
    let mask = mask(transaction);
    let mut value = ArrayVec::new();
    value.extend([0, if address.is_ipv4() { 1 } else { 2 }]);
    value.extend(address.port().to_be_bytes().into_iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    match address.ip() {
        IpAddr::V4(ip) => value.extend(ip.octets().into_iter().zip(mask).map(|(byte, mask)| byte ^ mask)),
        IpAddr::V6(ip) => value.extend(ip.octets().into_iter().zip(mask).map(|(byte, mask)| byte ^ mask)),
    }
    value
}

fn unmap(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let mask = mask(transaction);
    let (head, address) = value.split_at_checked(4)?;
    let port = u16::from_be_bytes([head[2] ^ mask[0], head[3] ^ mask[1]]);
    let mut octets = [0; 16];
    octets.iter_mut().zip(address).zip(mask).for_each(|((octet, byte), mask)| *octet = byte ^ mask);
    let ip = match (head[1], address.len()) {
        (1, 4) => Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into(),
        (2, 16) => Ipv6Addr::from(octets).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn mask(transaction: &TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(transaction);
    mask
}

#[cfg(test)]
mod tests;
