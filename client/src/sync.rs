//! A mutex for short critical sections.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A mutex that is never held across anything that can wait. No invariant spans what a panic could interrupt, so a
/// poisoned one is used on.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
