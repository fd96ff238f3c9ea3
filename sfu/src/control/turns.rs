//! Turns at work that costs the processor and that anybody may ask for, such as TLS handshakes and joins: one address after the
//! other, however many connections each has, so that a newcomer waits for one step of somebody else's and not for all.

use super::lock;
use crate::net::Neighbourhood;
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::sync::oneshot;

/// Whose turn it is, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    taken: bool,
    /// Those of whom somebody waits, the next first.
    order: VecDeque<Neighbourhood>,
    waiting: HashMap<Neighbourhood, VecDeque<oneshot::Sender<Turn>>>,
}

impl State {
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let address = self.order.pop_front()?;
        let queue = self.waiting.get_mut(&address)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&address);
        } else {
            self.order.push_back(address);
        }
        next
    }
}

/// A turn; the next begins when it is dropped.
#[derive(Debug)]
struct Turn(Option<Arc<Turns>>);

impl Turns {
    async fn turn(self: &Arc<Self>, address: Neighbourhood) -> Turn {
        let waits = {
            let mut state = lock(&self.0);
            if !std::mem::replace(&mut state.taken, true) {
                return Turn(Some(Arc::clone(self)));
            }
            let (sender, receiver) = oneshot::channel();
            let queue = state.waiting.entry(address).or_default();
            queue.push_back(sender);
            if queue.len() == 1 {
                state.order.push_back(address);
            }
            receiver
        };
        // A sender is dropped only with the turn that it hands over.
        waits.await.unwrap_or(Turn(None))
    }

    /// Drives `work`, each step of which is a turn of `address`.
    pub(crate) async fn drive<F: Future>(self: &Arc<Self>, address: Neighbourhood, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            let turn = self.turn(address).await;
            let step = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
            drop(turn);
            match step {
                Poll::Ready(output) => return output,
                Poll::Pending => woken().await,
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        loop {
            let next = {
                let mut state = lock(&turns.0);
                let next = state.next();
                state.taken = next.is_some();
                next
            };
            let Some(next) = next else { return };
            match next.send(Turn(Some(Arc::clone(&turns)))) {
                Ok(()) => return,
                // Nobody waits there any more.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

/// Waits until the task is woken by what its last step waits for.
async fn woken() {
    let mut woken = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::yield_now;

    fn address(host: u8) -> Neighbourhood {
        Neighbourhood::of([192, 0, 2, host].into())
    }

    #[tokio::test]
    async fn a_newcomer_waits_for_one_of_many() {
        let turns = Arc::new(Turns::default());
        let done = Arc::new(Mutex::new(Vec::new()));
        let held = turns.turn(address(1)).await;
        let mut tasks = Vec::new();
        for host in [1, 1, 1, 1, 2, 1] {
            let (turns, done) = (Arc::clone(&turns), Arc::clone(&done));
            tasks.push(tokio::spawn(async move {
                turns.drive(address(host), async { lock(&done).push(host) }).await;
            }));
            yield_now().await;
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*lock(&done), [1, 2, 1, 1, 1, 1]);
        let state = lock(&turns.0);
        assert!(!state.taken && state.order.is_empty() && state.waiting.is_empty(), "nothing is left of them");
    }

    #[tokio::test]
    async fn whoever_waits_for_something_else_holds_no_turn() {
        let turns = Arc::new(Turns::default());
        let (sender, receiver) = oneshot::channel();
        let silent = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.drive(address(1), receiver).await }
        });
        yield_now().await;
        assert_eq!(turns.drive(address(1), async { 7 }).await, 7);
        sender.send(8).unwrap();
        assert_eq!(silent.await.unwrap(), Ok(8));
    }

    #[tokio::test]
    async fn those_who_gave_up_are_left_out() {
        let turns = Arc::new(Turns::default());
        let held = turns.turn(address(1)).await;
        for _ in 0..3 {
            let waiting = tokio::spawn({
                let turns = Arc::clone(&turns);
                async move { drop(turns.turn(address(2)).await) }
            });
            yield_now().await;
            waiting.abort();
            assert!(waiting.await.is_err());
        }
        drop(held);
        drop(turns.turn(address(3)).await);
        assert!(!lock(&turns.0).taken);
    }
}
