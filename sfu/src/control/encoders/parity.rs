//! Parity that senders are asked for: as the workers plan it, more at once and less after a while.

use super::snapshot::Figures;
use sfu_core::frame_class::{CLASSES, FrameClass};
use sfu_core::ids::PublicationId;
use sfu_proto::v1::{self, ParityDirective};
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::transport::Protection;
use std::collections::HashMap;

/// Less is asked for once it has been enough for so long: loss comes and goes, and a plan that follows it is always late.
const HOLD: Duration = Duration::from_secs(5);

/// By publication.
#[derive(Debug, Default)]
pub(super) struct Parity(HashMap<PublicationId, Held>);

#[derive(Debug)]
struct Held {
    classes: [Protection; CLASSES],
    /// When that much was last needed.
    needed: Instant,
}

impl Parity {
    /// The workers' figures of now.
    pub(super) fn update(&mut self, now: Instant, figures: &Figures<'_>) {
        let received = figures.values().flat_map(|stats| &stats.received);
        for (publication, wanted) in received.filter_map(|stream| Some((stream.publication, stream.parity?))) {
            let held = self.0.entry(publication).or_insert(Held { classes: wanted, needed: now });
            let grows = held.classes.iter().zip(&wanted).any(|(held, wanted)| wanted.parity > held.parity);
            let is_enough = held.classes.iter().zip(&wanted).all(|(held, wanted)| held.parity == wanted.parity);
            if grows {
                for (held, wanted) in held.classes.iter_mut().zip(wanted) {
                    let parity = held.parity.max(wanted.parity);
                    *held = Protection { parity, ..wanted };
                }
            }
            if grows || is_enough {
                held.needed = now;
            } else if now - held.needed >= HOLD {
                *held = Held { classes: wanted, needed: now };
            }
        }
    }

    /// Forgets publications that are not there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&PublicationId) -> bool) {
        self.0.retain(|publication, _| is_there(publication));
    }

    /// What the sender of a publication is to be asked for.
    pub(super) fn directive(&self, publication: PublicationId) -> Vec<ParityDirective> {
        let Some(held) = self.0.get(&publication) else { return Vec::new() };
        let classes = FrameClass::ALL.into_iter().zip(held.classes).filter(|(_, wanted)| wanted.parity > 0);
        let entry = |(class, wanted): (FrameClass, Protection)| ParityDirective {
            frame_class: name(class).into(),
            packets: wanted.parity.into(),
            frames: wanted.frames.into(),
        };
        classes.map(entry).collect()
    }
}

fn name(class: FrameClass) -> v1::FrameClass {
    match class {
        FrameClass::Key => v1::FrameClass::Key,
        FrameClass::Base => v1::FrameClass::Base,
        FrameClass::Enhancement => v1::FrameClass::Enhancement,
        FrameClass::Discardable => v1::FrameClass::Discardable,
    }
}
