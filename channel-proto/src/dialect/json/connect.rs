//! Arguments of `transport.connect`, for every kind of transport.

use serde_json::Value;

use super::fields::{Fields, invalid};
use crate::command::{Arguments, Connect, Field};
use crate::srtp_parameters::{SrtpCryptoSuite, SrtpParameters};
use crate::transport_parameters::{DtlsFingerprint, DtlsParameters, DtlsRole, FingerprintAlgorithm};

/// Whether the key is there decides whether it may be there, so each field tells all three cases.
pub(super) fn connect(data: Fields<'_>) -> Connect {
    fn field<T>(data: Fields<'_>, key: &str, read: impl Fn() -> Arguments<T>) -> Field<T> {
        match data.get(key) {
            None => Field::Absent,
            Some(_) => read().map_or_else(Field::Invalid, Field::Present),
        }
    }
    Connect {
        dtls_parameters: field(data, "dtlsParameters", || {
            dtls_parameters(data.need_object("dtlsParameters")?)
        }),
        srtp_parameters: field(data, "srtpParameters", || {
            data.object("srtpParameters")
                .map_or_else(|| invalid("missing srtpParameters (SRTP enabled)"), srtp_parameters)
        }),
        ip: field(data, "ip", || data.ip("ip")),
        port: field(data, "port", || Ok(data.need_uint("port")? as u16)),
        rtcp_port: field(data, "rtcpPort", || match data.uint("rtcpPort") {
            Some(port) => Ok(port as u16),
            None => invalid("missing rtcpPort (required with rtcpMux disabled)"),
        }),
    }
}

fn srtp_parameters(fields: Fields<'_>) -> Arguments<SrtpParameters> {
    let Some(name) = fields.str("cryptoSuite") else {
        return invalid("missing srtpParameters.cryptoSuite)");
    };
    let Some(crypto_suite) = SrtpCryptoSuite::from_name(name) else {
        return invalid("invalid/unsupported srtpParameters.cryptoSuite");
    };
    let Some(key_base64) = fields.text("keyBase64") else {
        return invalid("missing srtpParameters.keyBase64)");
    };
    Ok(SrtpParameters {
        crypto_suite,
        key_base64,
    })
}

fn dtls_parameters(fields: Fields<'_>) -> Arguments<DtlsParameters> {
    let Some(fingerprints) = fields.array("fingerprints") else {
        return invalid("missing dtlsParameters.fingerprints");
    };
    let Some(first) = fingerprints.first() else {
        return invalid("empty dtlsParameters.fingerprints array");
    };
    let first = Fields::named(first, || "wrong entry in dtlsParameters.fingerprints".to_owned())?;
    let algorithm = match text(first, "fingerprint", "algorithm")? {
        None => return invalid("missing fingerprint.algorithm"),
        Some("sha-1") => FingerprintAlgorithm::Sha1,
        Some("sha-224") => FingerprintAlgorithm::Sha224,
        Some("sha-256") => FingerprintAlgorithm::Sha256,
        Some("sha-384") => FingerprintAlgorithm::Sha384,
        Some("sha-512") => FingerprintAlgorithm::Sha512,
        Some(_) => return invalid("invalid fingerprint.algorithm value"),
    };
    let Some(value) = text(first, "fingerprint", "value")? else {
        return invalid("missing fingerprint.value");
    };
    let role = match text(fields, "dtlsParameters", "role")? {
        None | Some("auto") => DtlsRole::Auto,
        Some("client") => DtlsRole::Client,
        Some("server") => DtlsRole::Server,
        Some(_) => return invalid("invalid dtlsParameters.role value"),
    };
    Ok(DtlsParameters {
        role,
        fingerprints: vec![DtlsFingerprint {
            algorithm,
            value: value.to_owned(),
        }],
    })
}

/// Absent is fine; anything but a text is an error.
fn text<'a>(fields: Fields<'a>, of: &str, key: &str) -> Arguments<Option<&'a str>> {
    match fields.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => invalid(format!("wrong {of}.{key} (not a string)")),
    }
}
