//! How much may be read of a connection, whether its answers are taken, and how it ends that has to make room.

use super::watched::Watch;
use crate::net::{self, Ticket};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;

/// Fails to read once the allowance is used up; the last read may pass it.
pub(super) struct Metered(pub(super) Ticket);

impl Watch<TcpStream> for Metered {
    fn before_read(&mut self) -> io::Result<()> {
        if self.0.is_exhausted() {
            return Err(io::Error::other("too many bytes before anybody joined"));
        }
        Ok(())
    }

    fn on_read(&mut self, bytes: &[u8], _stream: &mut TcpStream) -> io::Result<()> {
        spend(&self.0.allowance(), bytes.len());
        Ok(())
    }

    fn on_write(&mut self, bytes: usize) {
        self.0.wrote(bytes);
    }

    fn on_flush(&mut self) {
        self.0.wrote_all();
    }

    fn on_drop(&mut self, stream: &mut TcpStream) {
        // What the kernel still has of an answer would be lost.
        if self.0.gives_way() && self.0.is_new() {
            net::abort(stream);
        }
    }
}

/// Takes bytes from an allowance, unless it has no end.
pub(super) fn spend(allowance: &AtomicUsize, bytes: usize) {
    let left = |allowed: usize| (allowed != usize::MAX).then(|| allowed.saturating_sub(bytes));
    // Without an end nothing is taken.
    let _ = allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
}
