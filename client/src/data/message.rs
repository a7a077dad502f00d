//! One message.

use bytes::Bytes;

use crate::error::{Error, Result};

/// Payload protocol identifiers (RFC 8831 section 8).
const TEXT: u32 = 51;
const BINARY: u32 = 53;
const EMPTY_TEXT: u32 = 56;
const EMPTY_BINARY: u32 = 57;

/// A message of a data channel: text, bytes, or whatever its payload protocol identifier (PPID) says.
///
/// SCTP has no empty messages; identifiers of their own and a byte that does not count stand for them on the way.
///
/// ```
/// use client::DataMessage;
///
/// assert_eq!(DataMessage::from("hello").as_text(), Some("hello"));
/// assert_eq!(DataMessage::text("").ppid(), 56);
/// let bytes = DataMessage::from(vec![1, 2, 3]);
/// assert_eq!((bytes.ppid(), bytes.as_text()), (53, None));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataMessage {
    ppid: u32,
    payload: Bytes,
}

impl DataMessage {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::with_ppid(TEXT, text.into())
    }

    /// Bytes.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self::with_ppid(BINARY, payload)
    }

    /// A message with an identifier of the application's choice.
    pub fn with_ppid(ppid: u32, payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        match ppid {
            EMPTY_TEXT | EMPTY_BINARY => Self {
                ppid,
                payload: Bytes::new(),
            },
            TEXT if payload.is_empty() => Self {
                ppid: EMPTY_TEXT,
                payload,
            },
            BINARY if payload.is_empty() => Self {
                ppid: EMPTY_BINARY,
                payload,
            },
            _ => Self { ppid, payload },
        }
    }

    /// Its payload protocol identifier: 51 text, 53 bytes, 56 empty text, 57 no bytes.
    pub fn ppid(&self) -> u32 {
        self.ppid
    }

    /// Its payload.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Its text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self.ppid {
            TEXT | EMPTY_TEXT => std::str::from_utf8(&self.payload).ok(),
            _ => None,
        }
    }

    /// Its bytes, if it is not text.
    pub fn as_binary(&self) -> Option<&Bytes> {
        matches!(self.ppid, BINARY | EMPTY_BINARY).then_some(&self.payload)
    }

    /// What goes over the wire.
    pub(crate) fn into_wire(self) -> Result<(u32, Bytes)> {
        let payload = match self.ppid {
            EMPTY_TEXT => Bytes::from_static(b" "),
            EMPTY_BINARY => Bytes::from_static(&[0]),
            ppid if self.payload.is_empty() => {
                return Err(Error::Type(format!("empty message with PPID {ppid}")));
            }
            _ => self.payload,
        };
        Ok((self.ppid, payload))
    }
}

impl From<String> for DataMessage {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&str> for DataMessage {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<Vec<u8>> for DataMessage {
    fn from(payload: Vec<u8>) -> Self {
        Self::binary(payload)
    }
}

impl From<Bytes> for DataMessage {
    fn from(payload: Bytes) -> Self {
        Self::binary(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_messages_have_identifiers_of_their_own() {
        for (message, wire) in [
            (DataMessage::text("hi"), (51, &b"hi"[..])),
            (DataMessage::text(""), (56, b" ")),
            (DataMessage::binary(&b"hi"[..]), (53, b"hi")),
            (DataMessage::binary(Vec::new()), (57, &[0])),
            (DataMessage::with_ppid(51, Vec::new()), (56, b" ")),
            (DataMessage::with_ppid(99, &b"x"[..]), (99, b"x")),
        ] {
            let (ppid, payload) = message.clone().into_wire().unwrap();
            assert_eq!((ppid, payload.as_ref()), wire);
            assert_eq!(DataMessage::with_ppid(ppid, payload), message);
        }
        assert!(DataMessage::with_ppid(99, Vec::new()).into_wire().is_err());
    }

    #[test]
    fn text_and_bytes_are_told_apart() {
        assert_eq!(DataMessage::from("hi").as_text(), Some("hi"));
        assert_eq!(DataMessage::from("").as_text(), Some(""));
        assert_eq!(DataMessage::from("hi").as_binary(), None);
        assert_eq!(DataMessage::from(vec![1]).as_text(), None);
        assert_eq!(DataMessage::from(vec![1]).as_binary().unwrap().as_ref(), [1]);
        assert_eq!(DataMessage::with_ppid(51, vec![0xff]).as_text(), None);
    }
}
