//! Locking what a panic cannot spoil.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere does not spoil what the lock guards, since every change is made whole or not at all.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
