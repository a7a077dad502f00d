//! Data that an application attaches to objects.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Any value of the application, attached to an object when it is created. It never leaves this process. Nothing but
/// `()` by default.
#[derive(Clone)]
pub struct AppData(Arc<dyn Any + Send + Sync>);

impl AppData {
    /// Wraps a value. Interior mutability is the application's business.
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// The value, if it is of this type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl Default for AppData {
    fn default() -> Self {
        Self::new(())
    }
}

impl fmt::Debug for AppData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppData(..)")
    }
}
