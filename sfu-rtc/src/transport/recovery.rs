//! Parity of what the peer sends (Reed-Solomon as in `docs/fec-payload-format.md`, FlexFEC-03, or ULPFEC among the media):
//! what was lost on the way to us comes back once, before anybody can miss it.
//!
//! A decoder is made with the first parity and goes when none came for a while, so that who sends none costs nothing. What
//! the first block protects came before it and is not known.

use super::protect::MUTABLE;
use super::receive::Received;
use super::{ReceivedRtp, Transport};
use crate::fec::{Decoder, DecoderConfig, DecoderStats, MutableExtensions, Scheme};
use crate::ids::{PayloadType, Ssrc};
use crate::media::{Direction, FecStream, MediaSection};
use crate::rtp::RtpView;
use crate::time::{Duration, Instant};

/// Without parity for so long, what it would be computed with is forgotten: it takes up to 600 kB for each stream.
const LAPSE: Duration = Duration::from_secs(5);

/// What a section has for it.
#[derive(Debug)]
pub(super) struct Recovery {
    section: usize,
    parity: Parity,
    mutable: MutableExtensions,
    active: Option<Box<Active>>,
}

/// Where it comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Parity {
    /// On a source of its own.
    Beside(FecStream),
    /// ULPFEC, with the media's source and numbers.
    Among(PayloadType),
}

impl Parity {
    fn scheme(self) -> Scheme {
        match self {
            Self::Beside(stream) => stream.scheme,
            Self::Among(payload_type) => Scheme::Ulpfec { payload_type },
        }
    }
}

#[derive(Debug)]
struct Active {
    decoder: Decoder,
    /// When parity came last.
    heard: Instant,
}

impl Recovery {
    /// Sections were negotiated anew: one whose parity stays keeps what it has.
    pub(super) fn update(recoveries: &mut Vec<Self>, sections: &[MediaSection]) {
        let mut before = std::mem::take(recoveries);
        for (index, section) in sections.iter().enumerate() {
            let beside = section.remote_fec.map(Parity::Beside);
            let among = section.red.map(|red| Parity::Among(red.parity));
            let receives = section.direction == Direction::Receive;
            for parity in [beside, among].into_iter().flatten().filter(|_| receives) {
                let mutable: MutableExtensions =
                    MUTABLE.iter().filter_map(|kind| section.extensions.id(*kind)).collect();
                let same = |known: &Self| (known.section, known.parity, &known.mutable) == (index, parity, &mutable);
                let kept = before.iter().position(same).map(|at| before.swap_remove(at));
                recoveries.push(kept.unwrap_or(Self { section: index, parity, mutable, active: None }));
            }
        }
    }

    fn is_beside(&self, (ssrc, payload_type): (Ssrc, PayloadType)) -> bool {
        matches!(self.parity, Parity::Beside(stream) if (stream.ssrc, stream.payload_type) == (ssrc, payload_type))
    }

    fn on_parity(&mut self, now: Instant, view: &RtpView<'_>, media: impl Iterator<Item = Ssrc>) {
        let active = self.active.get_or_insert_with(|| {
            let mutable_extensions = self.mutable.clone();
            let mut decoder = Decoder::new(DecoderConfig { scheme: self.parity.scheme(), mutable_extensions });
            media.for_each(|ssrc| {
                decoder.add_stream(ssrc);
            });
            Box::new(Active { decoder, heard: now })
        });
        active.heard = now;
        // What came of it is in the decoder's figures.
        let _ = active.decoder.on_parity(view.ssrc(), view.payload());
    }

    fn on_media(&mut self, now: Instant, ssrc: Ssrc, packet: &[u8]) {
        let Some(active) = &mut self.active else { return };
        if now - active.heard > LAPSE {
            self.active = None;
            return;
        }
        // Of more streams than it takes, the others are not protected. Duplicates are refused by who takes the media.
        if active.decoder.add_stream(ssrc) {
            let _ = active.decoder.on_media(packet);
        }
    }

    fn stats(&self) -> DecoderStats {
        self.active.as_ref().map(|active| active.decoder.stats()).unwrap_or_default()
    }
}

impl Transport {
    /// Takes a packet of parity with a source of its own, if it is one.
    pub(super) fn receive_parity<'d>(&mut self, now: Instant, view: &RtpView<'_>) -> Option<Received<'d>> {
        let identity = (view.ssrc(), view.payload_type());
        let at = self.recoveries.iter().position(|recovery| recovery.is_beside(identity))?;
        let section = self.take_parity(now, at, view);
        Some(Received::Parity { section, completes: view.marker() })
    }

    /// Takes a packet of `section` that came among its media: media for the parity that may follow it, or parity. Whether
    /// it is parity.
    pub(super) fn recover_by(&mut self, now: Instant, section: usize, view: &RtpView<'_>, packet: &[u8]) -> bool {
        let among =
            |recovery: &Recovery| recovery.section == section && recovery.parity == Parity::Among(view.payload_type());
        if let Some(at) = self.recoveries.iter().position(among) {
            self.take_parity(now, at, view);
            return true;
        }
        for recovery in self.recoveries.iter_mut().filter(|recovery| recovery.section == section) {
            let before = recovery.stats().refused;
            recovery.on_media(now, view.ssrc(), packet);
            self.counters.fec_refused += recovery.stats().refused.saturating_sub(before);
        }
        false
    }

    /// Takes a packet of parity for the recovery at `at`; its section.
    fn take_parity(&mut self, now: Instant, at: usize, view: &RtpView<'_>) -> usize {
        let recovery = &mut self.recoveries[at];
        let before = recovery.stats().refused;
        recovery.on_parity(now, view, self.streams.media_of_section(recovery.section));
        self.counters.fec_in += 1;
        self.counters.fec_refused += recovery.stats().refused - before;
        recovery.section
    }

    /// The next packet that came back from parity, written into `buffer`, which is replaced. To be asked after each packet
    /// of media and of parity.
    pub fn take_recovered<'b>(&mut self, now: Instant, buffer: &'b mut Vec<u8>) -> Option<ReceivedRtp<'b>> {
        loop {
            let next = |recovery: &mut Recovery| {
                let ssrc = recovery.active.as_mut()?.decoder.poll_recovered(buffer)?;
                Some((recovery.section, ssrc))
            };
            let (section, ssrc) = self.recoveries.iter_mut().find_map(next)?;
            match self.describe_recovered(now, (section, ssrc), buffer) {
                Some(described) => {
                    self.counters.fec_recovered += 1;
                    return Some(ReceivedRtp { packet: buffer, ..described });
                }
                None => self.counters.fec_refused += 1,
            }
        }
    }

    /// What a recovered packet is. `None` for one that its stream could not have had.
    fn describe_recovered(
        &mut self,
        now: Instant,
        (section, ssrc): (usize, Ssrc),
        packet: &[u8],
    ) -> Option<ReceivedRtp<'static>> {
        let view = RtpView::parse(packet).ok()?;
        let extensions = self.extension_ids.read(&view);
        let seq = self.streams.highest_of(ssrc)?.extend(view.seq());
        // Parity does not protect parity, for which a section has no format of its own.
        self.sections.get(section)?.format(view.payload_type())?;
        let identity = (ssrc, view.payload_type(), seq);
        // Only what was sent so moves a source to another stream.
        let hints = Some(&extensions.hints).filter(|hints| self.streams.agrees(ssrc, hints))?;
        let (route, format) = self.streams.route(now, &self.sections, identity, hints).ok()?;
        let format = format.filter(|_| route.section == section && !route.rtx)?;
        Some(ReceivedRtp {
            packet: &[],
            payload: view.payload_range(),
            arrival: now,
            section,
            rid: route.rid,
            ssrc,
            seq,
            timestamp: view.timestamp(),
            marker: view.marker(),
            payload_type: format.payload_type,
            codec: format.codec,
            clock_rate: format.clock_rate,
            extensions: extensions.carried,
            rtx: None,
            from_parity: true,
        })
    }
}
