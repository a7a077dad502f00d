//! Messages: one JSON object per WebSocket text message.

use serde_json::{Map, Number, Value, json};

/// What came from the other side.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Wants exactly one response.
    Request(Request),
    /// Answers a request of ours.
    Response {
        /// Id of that request.
        id: Number,
        /// Data of a success, or code and reason of an error.
        result: Result<Value, Rejection>,
    },
    /// Is not answered.
    Notification(Notification),
}

/// A request of the other side.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Chosen by the sender; echoed as it came.
    pub id: Number,
    /// Defined by the application; may be empty.
    pub method: String,
    /// An empty object if none was sent.
    pub data: Value,
}

/// A notification of the other side.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// Defined by the application; may be empty.
    pub method: String,
    /// An empty object if none was sent.
    pub data: Value,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (code {code})")]
pub struct Rejection {
    /// Like an HTTP status: 4xx for the caller's fault, 5xx for the answering side's.
    pub code: i64,
    /// For people and logs.
    pub reason: String,
}

impl Rejection {
    /// A refusal with this code and reason.
    pub fn new(code: i64, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

/// Why a text is no message. Such texts are dropped; the connection lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not JSON, or nested too deeply.
    #[error("not valid JSON")]
    NotJson,
    /// A list, string, number, boolean or null.
    #[error("not a JSON object")]
    NotAnObject,
    /// None of `request`, `response` and `notification` is set.
    #[error("neither request, response nor notification")]
    Unknown,
    /// `method` is missing or no string.
    #[error("method is missing or not a string")]
    NoMethod,
    /// `id` is missing or no number.
    #[error("id is missing or not a number")]
    NoId,
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// It is none; it must be dropped without an answer.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let value: Value = serde_json::from_str(text).map_err(|_| ParseError::NotJson)?;
        let Value::Object(mut object) = value else {
            return Err(ParseError::NotAnObject);
        };
        let is = |object: &Map<String, Value>, key| object.get(key).is_some_and(is_truthy);
        if is(&object, "request") {
            let id = take_id(&mut object);
            let method = take_method(&mut object)?;
            Ok(Self::Request(Request {
                id: id?,
                method,
                data: take_data(&mut object),
            }))
        } else if is(&object, "response") {
            let id = take_id(&mut object)?;
            let result = if is(&object, "ok") {
                Ok(take_data(&mut object))
            } else {
                Err(Rejection {
                    code: object.get("errorCode").and_then(Value::as_i64).unwrap_or_default(),
                    reason: match object.remove("errorReason") {
                        Some(Value::String(reason)) => reason,
                        _ => String::new(),
                    },
                })
            };
            Ok(Self::Response { id, result })
        } else if is(&object, "notification") {
            Ok(Self::Notification(Notification {
                method: take_method(&mut object)?,
                data: take_data(&mut object),
            }))
        } else {
            Err(ParseError::Unknown)
        }
    }
}

/// The text of a request.
pub(crate) fn request(id: u32, method: &str, data: Value) -> String {
    json!({ "request": true, "id": id, "method": method, "data": written(data) }).to_string()
}

/// The text of a notification.
pub(crate) fn notification(method: &str, data: Value) -> String {
    json!({ "notification": true, "method": method, "data": written(data) }).to_string()
}

/// The text of a response.
pub(crate) fn response(id: &Number, result: Result<Value, Rejection>) -> String {
    match result {
        Ok(data) => json!({ "response": true, "id": id, "ok": true, "data": written(data) }),
        Err(Rejection { code, reason }) => {
            json!({ "response": true, "id": id, "ok": false, "errorCode": code, "errorReason": reason })
        }
    }
    .to_string()
}

/// Nothing is written as an empty object, so that readers need not ask.
fn written(data: Value) -> Value {
    if data.is_null() { json!({}) } else { data }
}

/// As in the language of the browser.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn take_id(object: &mut Map<String, Value>) -> Result<Number, ParseError> {
    match object.remove("id") {
        Some(Value::Number(id)) => Ok(id),
        _ => Err(ParseError::NoId),
    }
}

fn take_method(object: &mut Map<String, Value>) -> Result<String, ParseError> {
    match object.remove("method") {
        Some(Value::String(method)) => Ok(method),
        _ => Err(ParseError::NoMethod),
    }
}

fn take_data(object: &mut Map<String, Value>) -> Value {
    object.remove("data").filter(is_truthy).unwrap_or_else(|| json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_is_read() {
        assert_eq!(
            Message::parse(r#"{"request":true,"id":0,"method":"","data":[1]}"#),
            Ok(Message::Request(Request {
                id: 0.into(),
                method: String::new(),
                data: json!([1])
            }))
        );
        assert_eq!(
            Message::parse(r#"{"response":1,"id":7,"ok":true}"#),
            Ok(Message::Response {
                id: 7.into(),
                result: Ok(json!({}))
            })
        );
        // Some servers leave `ok` out of errors.
        assert_eq!(
            Message::parse(r#"{"response":true,"id":7,"errorCode":404}"#),
            Ok(Message::Response {
                id: 7.into(),
                result: Err(Rejection::new(404, ""))
            })
        );
        assert_eq!(
            Message::parse(r#"{"notification":true,"method":"m","data":null,"extra":1}"#),
            Ok(Message::Notification(Notification {
                method: "m".to_owned(),
                data: json!({})
            }))
        );
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for (text, error) in [
            ("null", ParseError::NotAnObject),
            ("[]", ParseError::NotAnObject),
            ("1", ParseError::NotAnObject),
            ("\"x\"", ParseError::NotAnObject),
            ("true", ParseError::NotAnObject),
            ("{", ParseError::NotJson),
            ("", ParseError::NotJson),
            (deep.as_str(), ParseError::NotJson),
            ("{}", ParseError::Unknown),
            (r#"{"request":false}"#, ParseError::Unknown),
            (r#"{"request":true,"id":1}"#, ParseError::NoMethod),
            (r#"{"request":true,"id":1,"method":1}"#, ParseError::NoMethod),
            (r#"{"request":true,"method":"m"}"#, ParseError::NoId),
            (r#"{"request":true,"id":"1","method":"m"}"#, ParseError::NoId),
            (r#"{"response":true,"ok":true}"#, ParseError::NoId),
            (r#"{"notification":true}"#, ParseError::NoMethod),
        ] {
            assert_eq!(Message::parse(text), Err(error), "{text:.40}");
        }
    }

    #[test]
    fn several_kinds_are_the_first_of_them() {
        let text = r#"{"notification":true,"response":true,"request":true,"id":1,"method":"m"}"#;
        assert!(matches!(Message::parse(text), Ok(Message::Request(_))));
        let text = r#"{"notification":true,"response":true,"id":1,"method":"m"}"#;
        assert!(matches!(Message::parse(text), Ok(Message::Response { .. })));
    }

    #[test]
    fn any_number_is_echoed_as_an_id() {
        for id in ["0", "4294967295", "9007199254740991", "1.5", "-3"] {
            let text = format!(r#"{{"request":true,"id":{id},"method":"m"}}"#);
            let Ok(Message::Request(request)) = Message::parse(&text) else {
                panic!("{id} is a number");
            };
            assert!(response(&request.id, Ok(Value::Null)).contains(&format!("\"id\":{id},")));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = Message::parse(&text);
        }

        #[test]
        fn what_is_written_can_be_read(id in any::<u32>(), method in ".{0,20}", text in ".{0,20}") {
            let data = json!({ "text": text });
            prop_assert_eq!(
                Message::parse(&request(id, &method, data.clone())),
                Ok(Message::Request(Request { id: id.into(), method: method.clone(), data: data.clone() }))
            );
            prop_assert_eq!(
                Message::parse(&notification(&method, data.clone())),
                Ok(Message::Notification(Notification { method, data: data.clone() }))
            );
            let refused = Rejection::new(403, text);
            prop_assert_eq!(
                Message::parse(&response(&id.into(), Err(refused.clone()))),
                Ok(Message::Response { id: id.into(), result: Err(refused) })
            );
        }
    }
}
