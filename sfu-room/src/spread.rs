//! The workers that a room is on.
//!
//! A room begins on one worker, its home. When more come than one worker shall carry, the next go to another, and the
//! room with them: each worker then gets what is published on the others. A worker that the last participant has left
//! is left by the room, too, unless it is the last.

use sfu_core::ids::PublicationId;

/// Who speaks, as a worker hears it: the loudest first.
pub(crate) type Heard = Vec<(PublicationId, f32)>;

/// Where one room is.
#[derive(Debug)]
pub(crate) struct Spread {
    /// The home first; never empty.
    workers: Vec<OnWorker>,
}

/// A room on one worker.
#[derive(Debug)]
struct OnWorker {
    worker: usize,
    participants: usize,
    heard: Heard,
}

impl Spread {
    pub(crate) fn new(home: usize) -> Self {
        Self { workers: vec![OnWorker::new(home)] }
    }

    /// The worker that the room has been on for longest.
    pub(crate) fn home(&self) -> usize {
        self.workers[0].worker
    }

    /// All workers with how many participants each has, the home first.
    pub(crate) fn workers(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.workers.iter().map(|on| (on.worker, on.participants))
    }

    /// All workers but one.
    pub(crate) fn others(&self, than: usize) -> impl Iterator<Item = usize> + '_ {
        self.workers.iter().map(|on| on.worker).filter(move |worker| *worker != than)
    }

    /// A participant comes to a worker. True where the room comes there with it.
    pub(crate) fn enter(&mut self, worker: usize) -> bool {
        let is_new = self.on(worker).is_none();
        if is_new {
            self.workers.push(OnWorker::new(worker));
        }
        if let Some(on) = self.on(worker) {
            on.participants += 1;
        }
        is_new
    }

    /// A participant leaves a worker. True where the room leaves it too.
    pub(crate) fn leave(&mut self, worker: usize) -> bool {
        let Some(on) = self.on(worker) else { return false };
        on.participants -= 1;
        if on.participants > 0 || self.workers.len() == 1 {
            return false;
        }
        self.workers.retain(|on| on.worker != worker);
        true
    }

    /// Nobody is left anywhere.
    pub(crate) fn clear(&mut self) {
        self.workers.iter_mut().for_each(|on| on.participants = 0);
    }

    /// Keeps who speaks as a worker hears it.
    pub(crate) fn set_heard(&mut self, worker: usize, heard: &[(PublicationId, f32)]) {
        if let Some(on) = self.on(worker) {
            on.heard.clear();
            on.heard.extend_from_slice(heard);
        }
    }

    /// Who speaks as the home hears it. All workers hear the same, and one has to be believed.
    pub(crate) fn heard_at_home(&self) -> &[(PublicationId, f32)] {
        &self.workers[0].heard
    }

    fn on(&mut self, worker: usize) -> Option<&mut OnWorker> {
        self.workers.iter_mut().find(|on| on.worker == worker)
    }
}

impl OnWorker {
    fn new(worker: usize) -> Self {
        Self { worker, participants: 0, heard: Heard::new() }
    }
}
