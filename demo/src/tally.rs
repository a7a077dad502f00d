//! Counters that count down by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many there are of something.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<AtomicUsize>);

impl Tally {
    /// How many there are now.
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, until what is returned is dropped.
    pub(crate) fn add(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    /// One more, unless there are `limit` already.
    pub(crate) fn add_below(&self, limit: usize) -> Option<Counted> {
        let more = |count: usize| (count < limit).then_some(count + 1);
        let added = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        added.ok().map(|_| Counted(self.clone()))
    }
}

/// One that is counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Counted(Tally);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_what_lives_and_keeps_its_limit() {
        let tally = Tally::default();
        let (one, two) = (tally.add(), tally.add_below(2));
        assert_eq!(
            (tally.get(), two.is_some(), tally.add_below(2).is_some()),
            (2, true, false)
        );
        drop(one);
        assert!(tally.add_below(2).is_some());
        drop(two);
        assert_eq!(tally.get(), 0);
    }
}
