//! Who takes part: a scenario's participants, one by one.

use super::Group;

/// One participant to come.
#[derive(Clone, PartialEq, Debug)]
pub struct ParticipantPlan {
    /// Its room.
    pub room: String,
    /// Its name, unique in the room.
    pub name: String,
    /// Sends.
    pub publishes: bool,
    /// Looks at what it gets.
    pub reads: bool,
    /// Slots for video.
    pub video_slots: usize,
    /// Slots for sound.
    pub audio_slots: usize,
    /// Over WHEP: the publisher to whom it listens.
    pub stream: Option<String>,
    /// What kind of room it is in.
    pub group: usize,
    /// Which of the room's publishers it is.
    pub turn: usize,
    /// Counts all participants; seeds what is random about this one.
    pub number: u64,
}

/// Everybody of one room, publishers before subscribers.
pub(super) fn room(group: &Group, index: usize, room: &str, per_stream: bool, all: &mut Vec<ParticipantPlan>) {
    let plan = |name: String, publishes: bool, sources: usize, stream: Option<String>| ParticipantPlan {
        room: room.to_owned(),
        name,
        publishes,
        reads: true,
        video_slots: if group.video { sources.min(group.video_slots) } else { 0 },
        audio_slots: if group.audio { sources.min(group.audio_slots) } else { 0 },
        stream,
        group: index,
        turn: 0,
        number: 0,
    };
    let publisher = |n: usize| format!("p{n}");
    let first = all.len();
    for n in 0..group.publishers {
        let sources = if group.mesh && !per_stream { group.publishers - 1 } else { 0 };
        all.push(ParticipantPlan { turn: n, ..plan(publisher(n), true, sources, None) });
    }
    // Names count within the room, so that a room with more subscribers has the same ones and others.
    let listeners = if group.mesh { (0..group.publishers).map(Some).collect() } else { Vec::new() };
    let subscribers = (0..group.subscribers).map(|n| (None, group.readers == 0 || n < group.readers));
    for (own, reads) in listeners.into_iter().map(|own| (own, true)).chain(subscribers) {
        if !per_stream {
            if own.is_none() {
                // Somebody idle has a slot all the same, as an offer has to have something in it.
                let sources = group.publishers.max(1);
                all.push(ParticipantPlan { reads, ..plan(format!("s{}", all.len() - first), false, sources, None) });
            }
            continue;
        }
        for n in (0..group.publishers).filter(|n| Some(*n) != own) {
            let listener = plan(format!("s{}", all.len() - first), false, 1, Some(publisher(n)));
            all.push(ParticipantPlan { reads, ..listener });
        }
    }
    for (number, plan) in all.iter_mut().enumerate().skip(first) {
        plan.number = number as u64;
    }
}
