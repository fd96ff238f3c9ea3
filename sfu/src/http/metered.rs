//! How much may be read of a connection.

use super::watched::Watch;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Fails to read once the allowance is used up; the last read may pass it.
pub(super) struct Metered(pub(super) Arc<AtomicUsize>);

impl<S> Watch<S> for Metered {
    fn before_read(&mut self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) == 0 {
            return Err(io::Error::other("too many bytes before anybody joined"));
        }
        Ok(())
    }

    fn on_read(&mut self, bytes: &[u8], _stream: &mut S) -> io::Result<()> {
        spend(&self.0, bytes.len());
        Ok(())
    }
}

/// Takes bytes from an allowance, unless it has no end.
pub(super) fn spend(allowance: &AtomicUsize, bytes: usize) {
    let left = |allowed: usize| (allowed != usize::MAX).then(|| allowed.saturating_sub(bytes));
    // Without an end nothing is taken.
    let _ = allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
}
