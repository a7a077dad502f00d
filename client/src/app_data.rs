//! Data that an application attaches to objects.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Any value of the application, attached to an object when it is created. It never leaves this process. Nothing but
/// `()` by default.
///
/// ```
/// use std::sync::Mutex;
///
/// use client::AppData;
///
/// struct Seat {
///     row: u32,
///     taken: Mutex<bool>,
/// }
///
/// let data = AppData::new(Seat { row: 7, taken: Mutex::new(false) });
/// let seat = data.get::<Seat>().unwrap();
/// *seat.taken.lock().unwrap() = true;
/// assert_eq!(seat.row, 7);
/// assert!(data.get::<String>().is_none());
/// ```
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
