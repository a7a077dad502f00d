//! What else is to be done when an object ends.

use std::fmt;

use crate::sync::Lock;

type Hook = Box<dyn FnOnce() + Send>;

/// Things to do once, when an object ends. Not for applications, which read events: these run at once, within the call
/// that ends the object.
pub(crate) struct EndHooks {
    /// None once the object has ended.
    hooks: Lock<Option<Vec<Hook>>>,
}

impl EndHooks {
    pub(crate) fn new() -> Self {
        Self {
            hooks: Lock::new(Some(Vec::new())),
        }
    }

    /// Does it when the object ends; now if it has ended.
    pub(crate) fn add(&self, hook: impl FnOnce() + Send + 'static) {
        {
            let mut hooks = self.hooks.lock();
            if let Some(hooks) = hooks.as_mut() {
                return hooks.push(Box::new(hook));
            }
        }
        hook();
    }

    /// The object has ended.
    pub(crate) fn run(&self) {
        let hooks = self.hooks.lock().take();
        hooks.into_iter().flatten().for_each(|hook| hook());
    }
}

impl fmt::Debug for EndHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndHooks(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn hooks_run_once_and_late_ones_at_once() {
        let (hooks, count) = (EndHooks::new(), Arc::new(AtomicU32::new(0)));
        let hook = || {
            let count = Arc::clone(&count);
            move || {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        hooks.add(hook());
        assert_eq!(count.load(Ordering::Relaxed), 0);
        hooks.run();
        hooks.run();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        hooks.add(hook());
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
