//! Fields of a JSON object, read as the protocol says: whole numbers are JSON integers not below zero, an optional
//! field of another type counts as absent unless its table says otherwise.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::command::{Arguments, InvalidArguments};

/// The members of an object.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) Option<&'a Map<String, Value>>);

pub(super) fn invalid<T>(reason: impl Into<String>) -> Arguments<T> {
    Err(InvalidArguments::new(reason))
}

impl<'a> Fields<'a> {
    /// Anything but an object has no members.
    pub(super) fn of(value: Option<&'a Value>) -> Self {
        Self(value.and_then(Value::as_object))
    }

    /// An entry of an array, which must be an object.
    pub(super) fn entry(value: &'a Value) -> Arguments<Self> {
        match value {
            Value::Object(map) => Ok(Self(Some(map))),
            _ => invalid("data is not an object"),
        }
    }

    /// An entry that must be an object, `what` it is being told otherwise.
    pub(super) fn named(value: &'a Value, what: impl FnOnce() -> String) -> Arguments<Self> {
        match value {
            Value::Object(map) => Ok(Self(Some(map))),
            _ => invalid(format!("{} (not an object)", what())),
        }
    }

    pub(super) fn get(self, key: &str) -> Option<&'a Value> {
        self.0?.get(key)
    }

    pub(super) fn str(self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_str()
    }

    pub(super) fn text(self, key: &str) -> Option<String> {
        self.str(key).map(str::to_owned)
    }

    pub(super) fn uint(self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    pub(super) fn truth(self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    pub(super) fn array(self, key: &str) -> Option<&'a Vec<Value>> {
        self.get(key)?.as_array()
    }

    pub(super) fn object(self, key: &str) -> Option<Fields<'a>> {
        self.get(key)?.as_object().map(|map| Self(Some(map)))
    }

    pub(super) fn need_str(self, key: &str) -> Arguments<&'a str> {
        self.str(key).map_or_else(|| invalid(format!("missing {key}")), Ok)
    }

    pub(super) fn need_uint(self, key: &str) -> Arguments<u64> {
        self.uint(key).map_or_else(|| invalid(format!("missing {key}")), Ok)
    }

    pub(super) fn need_array(self, key: &str) -> Arguments<&'a Vec<Value>> {
        self.array(key).map_or_else(|| invalid(format!("missing {key}")), Ok)
    }

    pub(super) fn need_object(self, key: &str) -> Arguments<Fields<'a>> {
        self.object(key).map_or_else(|| invalid(format!("missing {key}")), Ok)
    }

    /// Absent takes the default; anything but a boolean is an error.
    pub(super) fn strict_bool(self, key: &str, default: bool) -> Arguments<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => invalid(format!("wrong {key} (not a boolean)")),
        }
    }

    /// Absent is fine; anything but a whole number is an error.
    pub(super) fn strict_uint(self, key: &str, otherwise: &str) -> Arguments<Option<u64>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(value) => Ok(Some(value)),
                None => invalid(format!("wrong {key} ({otherwise})")),
            },
        }
    }

    pub(super) fn ip(self, key: &str) -> Arguments<IpAddr> {
        let text = self.need_str(key)?;
        text.parse().or_else(|_| invalid(format!("invalid IP '{text}'")))
    }
}
