//! Which packets of one stream are protected together: groups apart from each other, each in blocks of some frames.

use super::encoder::is_ahead;
use super::{Encoder, EncoderConfig, MutableExtensions, ParityInfo, Scheme, Window};
use crate::ids::Ssrc;
use arrayvec::ArrayVec;

/// Groups of packets that a stream protects apart from each other.
pub const PROTECTION_GROUPS: usize = 4;

/// How much parity a group gets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Protection {
    /// Parity packets per block; none for no protection.
    pub parity: u8,
    /// A block ends with the frame by which so many frames, of whatever group, were sent since it began: at least one.
    pub frames: u8,
}

/// Makes the parity of one stream.
#[derive(Debug)]
pub struct ProtectedGroups {
    scheme: Scheme,
    media: Ssrc,
    mutable: MutableExtensions,
    /// Each is made when it is first needed.
    groups: [Option<Box<Group>>; PROTECTION_GROUPS],
    /// The frame that is being sent.
    frame: Option<u32>,
    /// The number of the last packet that came in order.
    newest: Option<u16>,
}

#[derive(Debug)]
struct Group {
    encoder: Encoder,
    wanted: Protection,
    /// Frames since the block began; `None` while there is none.
    frames: Option<u8>,
}

impl ProtectedGroups {
    /// For the stream `media`, of which nothing is protected yet. `mutable` are the header extensions that are protected as
    /// zero.
    pub fn new(scheme: Scheme, media: Ssrc, mutable: MutableExtensions) -> Self {
        Self { scheme, media, mutable, groups: Default::default(), frame: None, newest: None }
    }

    /// Whether what it makes is the same as what `other` makes.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.scheme, self.media, &self.mutable) == (other.scheme, other.media, &other.mutable)
    }

    /// Sets how blocks are protected that begin from now on.
    pub fn protect(&mut self, wanted: &[Protection; PROTECTION_GROUPS]) {
        for (group, wanted) in self.groups.iter_mut().zip(wanted) {
            match group {
                Some(group) => group.set(*wanted),
                None if wanted.parity == 0 => {}
                None => {
                    let config = EncoderConfig {
                        scheme: self.scheme,
                        // Blocks are ended here, since frames of other groups count too.
                        window: Window::Block(u8::MAX),
                        streams: ArrayVec::from_iter([self.media]),
                        mutable_extensions: self.mutable.clone(),
                    };
                    let mut fresh = Group { encoder: Encoder::new(config), wanted: *wanted, frames: None };
                    fresh.set(*wanted);
                    *group = Some(Box::new(fresh));
                }
            }
        }
    }

    /// Whether packets of `group` are protected now.
    pub fn protects(&self, group: Option<u8>) -> bool {
        let group = group.and_then(|group| self.groups.get(usize::from(group))?.as_ref());
        group.is_some_and(|group| group.is_active())
    }

    /// A packet of media leaves, of the frame with `timestamp`, which it ends if it has the `marker`. One that comes late,
    /// behind those that followed it, is not protected, and begins and ends no frame. Whether parity is ready after it.
    pub fn on_media(&mut self, packet: &[u8], (timestamp, marker): (u32, bool), group: Option<u8>) -> bool {
        if self.is_in_order(packet) {
            self.add(packet, timestamp, group);
            if marker {
                self.end_frame();
            }
        }
        self.groups.iter().flatten().any(|group| group.encoder.has_parity())
    }

    fn is_in_order(&mut self, packet: &[u8]) -> bool {
        let Some(&[high, low]) = packet.get(2..4) else { return false };
        let seq = u16::from_be_bytes([high, low]);
        let is_late = self.newest.is_some_and(|newest| !is_ahead(seq, newest));
        if !is_late {
            self.newest = Some(seq);
        }
        !is_late
    }

    fn add(&mut self, packet: &[u8], timestamp: u32, group: Option<u8>) {
        if self.frame.is_some_and(|frame| frame != timestamp) {
            self.end_frame();
        }
        self.frame = Some(timestamp);
        let group = group.and_then(|group| self.groups.get_mut(usize::from(group))?.as_mut());
        if let Some(group) = group.filter(|group| group.is_active())
            && group.encoder.add(packet).is_ok()
        {
            group.frames.get_or_insert(0);
        }
    }

    fn end_frame(&mut self) {
        self.frame = None;
        for group in self.groups.iter_mut().flatten() {
            let Some(frames) = &mut group.frames else { continue };
            *frames += 1;
            if *frames >= group.wanted.frames {
                group.frames = None;
                group.encoder.end_window();
            }
        }
    }

    /// Writes the payload of the next parity packet to `out`, which is replaced.
    pub fn poll_parity(&mut self, out: &mut Vec<u8>) -> Option<ParityInfo> {
        self.groups.iter_mut().flatten().find_map(|group| group.encoder.poll_parity(out))
    }
}

impl Group {
    fn set(&mut self, wanted: Protection) {
        self.wanted = wanted;
        self.encoder.set_parity(wanted.parity.into());
    }

    /// Whether its packets are protected, or a block that was begun goes on.
    fn is_active(&self) -> bool {
        self.wanted.parity > 0 || self.frames.is_some()
    }
}
