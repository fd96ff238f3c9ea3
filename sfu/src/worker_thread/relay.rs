//! Queues between worker threads, for what their workers relay to each other.
//!
//! A worker's messages are handed over once per round, whole, by swapping queues under a lock that is held for no
//! longer; nothing is allocated once the queues have grown, and no lock is held while packets are forwarded. A thread
//! that sleeps is woken; one that is awake looks by itself.

use super::WorkerHandle;
use crate::lock::lock;
use sfu_core::ids::WorkerId;
use sfu_core::relay::RelayMessage;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Most messages in one queue. What finds no room waits in the worker, which drops what waits for too much.
const QUEUE_LIMIT: usize = 4_096;

/// All queues between the worker threads of the process.
pub(crate) struct RelayHub {
    /// By the number of the receiving worker.
    inboxes: Vec<Inbox>,
}

struct Inbox {
    /// By the number of the sending worker.
    queues: Vec<Mutex<VecDeque<RelayMessage>>>,
    /// Something was put into a queue since its receiver looked.
    filled: AtomicBool,
    /// The receiver has to be woken.
    asleep: AtomicBool,
    receiver: OnceLock<WorkerHandle>,
}

impl RelayHub {
    /// Queues between so many workers.
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        let inbox = |_| Inbox {
            queues: (0..workers).map(|_| Mutex::default()).collect(),
            filled: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            receiver: OnceLock::new(),
        };
        Arc::new(Self { inboxes: (0..workers).map(inbox).collect() })
    }

    /// Knows from now on how the thread of a worker is woken.
    pub(super) fn join(&self, handle: &WorkerHandle) {
        if let Some(inbox) = self.inboxes.get(handle.index()) {
            // Each worker joins once.
            let _ = inbox.receiver.set(handle.clone());
        }
    }
}

/// A worker thread's end of the queues.
pub(super) struct RelayPort {
    hub: Arc<RelayHub>,
    index: usize,
    /// By the number of the sending worker: what was taken out of its queue.
    taken: Vec<VecDeque<RelayMessage>>,
    /// How many messages `taken` holds.
    waiting: usize,
    /// Whose turn it is.
    turn: usize,
}

impl RelayPort {
    pub(super) fn new(hub: &Arc<RelayHub>, index: usize) -> Self {
        let taken = hub.inboxes.iter().map(|_| VecDeque::new()).collect();
        Self { hub: Arc::clone(hub), index, taken, waiting: 0, turn: 0 }
    }

    /// Whether there is no other worker.
    pub(super) fn is_alone(&self) -> bool {
        self.taken.len() <= 1
    }

    /// The next message of another worker: in the order of each, all in turn.
    pub(super) fn next(&mut self) -> Option<(WorkerId, RelayMessage)> {
        if self.waiting == 0 {
            self.look();
        }
        if self.waiting == 0 {
            return None;
        }
        loop {
            self.turn = (self.turn + 1) % self.taken.len();
            if let Some(message) = self.taken[self.turn].pop_front() {
                self.waiting -= 1;
                return Some((WorkerId(self.turn as u16), message));
            }
        }
    }

    /// Whether [`Self::next`] has something.
    pub(super) fn is_ready(&self) -> bool {
        self.waiting > 0 || self.inbox().is_some_and(|inbox| inbox.filled.load(Ordering::SeqCst))
    }

    /// The thread is about to sleep, and is to be woken. False where it had better not.
    pub(super) fn fall_asleep(&self) -> bool {
        if let Some(inbox) = self.inbox() {
            // In this order: whoever fills the inbox after we looked sees that we sleep.
            inbox.asleep.store(true, Ordering::SeqCst);
        }
        !self.is_ready()
    }

    /// The thread is awake.
    pub(super) fn wake_up(&self) {
        if let Some(inbox) = self.inbox() {
            inbox.asleep.store(false, Ordering::Relaxed);
        }
    }

    /// Hands messages over, as far as the queue takes them.
    pub(super) fn hand_over(&self, to: WorkerId, messages: &mut VecDeque<RelayMessage>) {
        let Some(inbox) = self.hub.inboxes.get(usize::from(to.0)) else {
            tracing::error!(to = to.0, "messages for a worker that does not exist");
            return messages.clear();
        };
        let mut queue = lock(&inbox.queues[self.index]);
        if queue.is_empty() {
            std::mem::swap(&mut *queue, messages);
        } else {
            let room = QUEUE_LIMIT.saturating_sub(queue.len()).min(messages.len());
            queue.extend(messages.drain(..room));
        }
        drop(queue);
        inbox.filled.store(true, Ordering::SeqCst);
        if inbox.asleep.swap(false, Ordering::SeqCst)
            && let Some(receiver) = inbox.receiver.get()
        {
            receiver.wake();
        }
    }

    fn look(&mut self) {
        let Some(inbox) = self.hub.inboxes.get(self.index) else { return };
        if !inbox.filled.swap(false, Ordering::SeqCst) {
            return;
        }
        for (queue, taken) in inbox.queues.iter().zip(&mut self.taken) {
            std::mem::swap(&mut *lock(queue), taken);
            self.waiting += taken.len();
        }
    }

    fn inbox(&self) -> Option<&Inbox> {
        self.hub.inboxes.get(self.index)
    }
}
