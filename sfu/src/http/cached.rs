//! An answer that is made at most so often, however many ask for it.

use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

/// The newest answer, and when it was made.
#[derive(Debug)]
pub(super) struct Cached<T> {
    newest: Mutex<Option<(Instant, T)>>,
    life: Duration,
}

impl<T: Clone> Cached<T> {
    pub(super) fn new(life: Duration) -> Self {
        Self { newest: Mutex::new(None), life }
    }

    /// The newest answer, or a new one from `make`, for which everybody waits who asks meanwhile.
    pub(super) async fn get(&self, make: impl Future<Output = T>) -> T {
        let mut newest = self.newest.lock().await;
        if let Some((made, answer)) = &*newest
            && made.elapsed() < self.life
        {
            return answer.clone();
        }
        let answer = make.await;
        *newest = Some((Instant::now(), answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn made_once_per_life() {
        let cached = Cached::new(Duration::from_secs(1));
        assert_eq!(cached.get(async { 1 }).await, 1);
        assert_eq!(cached.get(async { 2 }).await, 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cached.get(async { 3 }).await, 3);
    }
}
