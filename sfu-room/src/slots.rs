//! Which publication goes into which slot of one subscriber: a pure function, run again whenever anything changes.
//!
//! Rules, in order: what the subscriber pinned; then by rank, as [`Candidates`] puts them. A publication that stays
//! wanted keeps its slot, so that nothing moves without need. Slots of audio and video with one ordinal share a
//! media stream (and so are kept lip-synchronous by the browser): a publisher's two go into one pair where possible.

use crate::ParticipantId;
use sfu_core::ids::PublicationId;
use sfu_rtc::media::MediaKind;
use std::collections::HashMap;
use std::sync::Arc;

/// What a subscriber wants in a slot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Subscription {
    /// Whatever the server finds best.
    #[default]
    Auto,
    /// Nothing.
    Nothing,
    /// This publication, nothing else.
    Publication(PublicationId),
    /// Whatever the participant with this identity publishes, nothing else.
    Identity(String),
}

/// A slot as the planner sees it.
#[derive(Clone, Debug)]
pub(crate) struct SlotView<'a> {
    pub(crate) kind: MediaKind,
    /// Number among the slots of its kind.
    pub(crate) ordinal: usize,
    pub(crate) subscription: &'a Subscription,
    pub(crate) current: Option<PublicationId>,
}

/// A publication that may go into slots.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) publication: PublicationId,
    pub(crate) publisher: ParticipantId,
    pub(crate) identity: Arc<str>,
    pub(crate) kind: MediaKind,
    /// Lower comes first; equal ranks by order of publishing.
    pub(crate) rank: Rank,
}

/// What decides who gets a slot where slots are short.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Rank {
    /// Muted ones come last.
    pub(crate) muted: bool,
    /// Screens come first.
    pub(crate) not_screen: bool,
    /// Place among those who spoke last; those who never did share the last place.
    pub(crate) spoke: usize,
}

/// All publications of a room, best first, per kind.
#[derive(Default, Debug)]
pub struct Candidates {
    audio: Vec<Candidate>,
    video: Vec<Candidate>,
    /// Where each stands in its list.
    places: HashMap<PublicationId, (MediaKind, usize)>,
}

impl Candidates {
    /// Puts `all` in order.
    pub(crate) fn new(all: impl IntoIterator<Item = Candidate>) -> Self {
        let (mut audio, mut video): (Vec<_>, Vec<_>) = all.into_iter().partition(|c| c.kind == MediaKind::Audio);
        audio.sort_by_key(|c| (c.rank, c.publication));
        video.sort_by_key(|c| (c.rank, c.publication));
        let place = |(i, c): (usize, &Candidate)| (c.publication, (c.kind, i));
        let places = audio.iter().enumerate().map(place).chain(video.iter().enumerate().map(place)).collect();
        Self { audio, video, places }
    }

    fn of(&self, kind: MediaKind) -> &[Candidate] {
        match kind {
            MediaKind::Audio => &self.audio,
            MediaKind::Video => &self.video,
        }
    }

    fn find(&self, publication: PublicationId) -> Option<&Candidate> {
        let (kind, place) = *self.places.get(&publication)?;
        self.of(kind).get(place)
    }

    /// Whether this shows a screen, or is its sound.
    pub fn is_screen(&self, publication: PublicationId) -> bool {
        self.find(publication).is_some_and(|candidate| !candidate.rank.not_screen)
    }

    /// Whose publication this is.
    pub fn publisher(&self, publication: PublicationId) -> Option<ParticipantId> {
        Some(self.find(publication)?.publisher)
    }
}

/// What each slot of the subscriber `me` shall carry.
pub(crate) fn plan(me: ParticipantId, slots: &[SlotView<'_>], candidates: &Candidates) -> Vec<Option<PublicationId>> {
    let mut planned = vec![None; slots.len()];
    fill_pinned(slots, candidates, &mut planned);
    // Video first: audio then looks for its video's pair.
    for kind in [MediaKind::Video, MediaKind::Audio] {
        fill_automatic(me, kind, slots, candidates, &mut planned);
    }
    planned
}

fn fill_pinned(slots: &[SlotView<'_>], candidates: &Candidates, planned: &mut [Option<PublicationId>]) {
    for (i, slot) in slots.iter().enumerate() {
        let of_slot = candidates.of(slot.kind);
        let found = match slot.subscription {
            Subscription::Auto | Subscription::Nothing => None,
            Subscription::Publication(id) => {
                candidates.find(*id).filter(|c| c.kind == slot.kind).map(|c| c.publication)
            }
            Subscription::Identity(identity) => of_slot
                .iter()
                .filter(|c| *c.identity == **identity)
                .map(|c| c.publication)
                .find(|id| !planned[..i].contains(&Some(*id))),
        };
        planned[i] = found;
    }
}

fn fill_automatic(
    me: ParticipantId,
    kind: MediaKind,
    slots: &[SlotView<'_>],
    candidates: &Candidates,
    planned: &mut [Option<PublicationId>],
) {
    let mut free: Vec<usize> =
        (0..slots.len()).filter(|&i| slots[i].kind == kind && *slots[i].subscription == Subscription::Auto).collect();
    let mut wanted: Vec<&Candidate> = candidates
        .of(kind)
        .iter()
        .filter(|c| c.publisher != me && !planned.contains(&Some(c.publication)))
        .take(free.len())
        .collect();
    // Who stays wanted stays where it is.
    free.retain(|&i| {
        let Some(at) = wanted.iter().position(|c| Some(c.publication) == slots[i].current) else { return true };
        planned[i] = Some(wanted.remove(at).publication);
        false
    });
    for candidate in wanted {
        let pair_of = |i: usize| pair(i, slots, planned).and_then(|p| candidates.publisher(p));
        let best = free
            .iter()
            .position(|&i| pair_of(i) == Some(candidate.publisher))
            .or_else(|| free.iter().position(|&i| pair_of(i).is_none()));
        let i = free.remove(best.unwrap_or(0));
        planned[i] = Some(candidate.publication);
    }
}

/// What the slot of the other kind with the same ordinal carries, or will carry.
fn pair(i: usize, slots: &[SlotView<'_>], planned: &[Option<PublicationId>]) -> Option<PublicationId> {
    let other = slots.iter().position(|s| s.kind != slots[i].kind && s.ordinal == slots[i].ordinal)?;
    // Audio is planned after video, so video looks at where the audio is now.
    planned[other].or(if slots[i].kind == MediaKind::Video { slots[other].current } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use MediaKind::{Audio, Video};

    const ME: ParticipantId = ParticipantId(0);

    /// Participant n publishes audio 10 n and video 10 n + 1.
    fn room(n: u64, spoke: &[u64]) -> Candidates {
        let make = |p: u64, kind| Candidate {
            publication: PublicationId(p * 10 + u64::from(kind == Video)),
            publisher: ParticipantId(p),
            identity: format!("p{p}").into(),
            kind,
            rank: Rank {
                muted: false,
                not_screen: true,
                spoke: spoke.iter().position(|&s| s == p).unwrap_or(usize::MAX),
            },
        };
        Candidates::new((0..=n).flat_map(|p| [make(p, Audio), make(p, Video)]))
    }

    struct Subscriber(Vec<(MediaKind, usize, Subscription, Option<PublicationId>)>);

    impl Subscriber {
        fn new(audio: usize, video: usize) -> Self {
            let slots = |kind, n| (0..n).map(move |i| (kind, i, Subscription::Auto, None));
            Self(slots(Audio, audio).chain(slots(Video, video)).collect())
        }

        /// Plans, takes the plan over, and tells it as numbers.
        fn plan(&mut self, candidates: &Candidates) -> Vec<u64> {
            let views: Vec<_> = self
                .0
                .iter()
                .map(|(kind, ordinal, subscription, current)| SlotView {
                    kind: *kind,
                    ordinal: *ordinal,
                    subscription,
                    current: *current,
                })
                .collect();
            let planned = plan(ME, &views, candidates);
            self.0.iter_mut().zip(&planned).for_each(|(slot, p)| slot.3 = *p);
            planned.iter().map(|p| p.map_or(0, |id| id.0)).collect()
        }
    }

    #[test]
    fn everybody_but_oneself_by_join_order_in_pairs() {
        assert_eq!(Subscriber::new(3, 3).plan(&room(2, &[])), [10, 20, 0, 11, 21, 0]);
    }

    #[test]
    fn who_speaks_gets_a_slot_and_nobody_else_moves() {
        let mut subscriber = Subscriber::new(2, 2);
        assert_eq!(subscriber.plan(&room(4, &[])), [10, 20, 11, 21]);
        assert_eq!(subscriber.plan(&room(4, &[4])), [10, 40, 11, 41], "4 speaks; 1 stays where it was");
        assert_eq!(subscriber.plan(&room(4, &[3, 4])), [30, 40, 31, 41]);
        assert_eq!(subscriber.plan(&room(4, &[4, 3])), [30, 40, 31, 41], "order alone moves nothing");
    }

    #[test]
    fn one_slot_follows_the_speaker() {
        let mut whep = Subscriber::new(1, 1);
        assert_eq!(whep.plan(&room(3, &[2])), [20, 21]);
        assert_eq!(whep.plan(&room(3, &[3, 2])), [30, 31]);
    }

    #[test]
    fn pins_hold_and_are_not_shown_twice() {
        let mut subscriber = Subscriber::new(0, 2);
        subscriber.0[1].2 = Subscription::Publication(PublicationId(11));
        assert_eq!(subscriber.plan(&room(3, &[2])), [21, 11]);
        subscriber.0[1].2 = Subscription::Publication(PublicationId(10));
        assert_eq!(subscriber.plan(&room(3, &[2])), [21, 0], "audio does not go into a slot for video");
        subscriber.0[1].2 = Subscription::Publication(PublicationId(999));
        assert_eq!(subscriber.plan(&room(3, &[2])), [21, 0]);
        subscriber.0[1].2 = Subscription::Nothing;
        assert_eq!(subscriber.plan(&room(3, &[2])), [21, 0]);
    }

    #[test]
    fn an_identity_is_followed_whatever_it_publishes() {
        let mut whep = Subscriber::new(1, 1);
        whep.0.iter_mut().for_each(|slot| slot.2 = Subscription::Identity("p2".into()));
        assert_eq!(whep.plan(&room(1, &[])), [0, 0]);
        assert_eq!(whep.plan(&room(3, &[3])), [20, 21]);
    }

    #[test]
    fn screens_come_first_and_the_muted_last() {
        let mut all = room(3, &[1]);
        let mut list = std::mem::take(&mut all.video);
        list.iter_mut().find(|c| c.publication.0 == 31).unwrap().rank.not_screen = false;
        list.iter_mut().find(|c| c.publication.0 == 11).unwrap().rank.muted = true;
        assert_eq!(Subscriber::new(0, 3).plan(&Candidates::new(list)), [31, 21, 11]);
    }

    #[test]
    fn audio_goes_where_its_video_is() {
        let mut subscriber = Subscriber::new(3, 3);
        subscriber.0[5].2 = Subscription::Publication(PublicationId(11));
        assert_eq!(subscriber.plan(&room(2, &[])), [20, 0, 10, 21, 0, 11]);
    }

    #[test]
    fn those_who_left_fall_out() {
        let mut subscriber = Subscriber::new(2, 2);
        subscriber.plan(&room(2, &[]));
        assert_eq!(subscriber.plan(&room(1, &[])), [10, 0, 11, 0]);
    }
}
