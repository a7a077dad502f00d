//! Rebuilding recorded STUN requests with the credentials that a replayed transport has drawn.

use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const FINGERPRINT: u16 = 0x8028;

/// ICE credentials of a transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user fragment.
    pub ufrag: String,
    /// The password.
    pub password: String,
}

/// The user fragment that a recorded request addresses.
pub fn addressed_ufrag(packet: &[u8]) -> Option<String> {
    let (_, value) = attributes(packet)?.into_iter().find(|(kind, _)| *kind == USERNAME)?;
    let username = String::from_utf8(value).ok()?;
    Some(username.split(':').next()?.to_owned())
}

/// The recorded request for other credentials. A request that was signed with a wrong password then, is now.
pub fn rebuild(packet: &[u8], recorded: Option<&Credentials>, replayed: Option<&Credentials>) -> Option<Vec<u8>> {
    let mut output = packet.get(..20)?.to_vec();
    for (kind, value) in attributes(packet)? {
        match kind {
            USERNAME => {
                let username = String::from_utf8(value).ok()?;
                let username = match replayed {
                    Some(replayed) => {
                        let (_, rest) = username.split_once(':')?;
                        format!("{}:{rest}", replayed.ufrag)
                    }
                    None => username,
                };
                append(&mut output, USERNAME, username.as_bytes());
            }
            MESSAGE_INTEGRITY => {
                let good = recorded.is_none_or(|recorded| signed_with(packet, &recorded.password));
                let password = replayed
                    .filter(|_| good)
                    .map_or("wrong", |replayed| replayed.password.as_str());
                set_length(&mut output, 24);
                let tag = hmac(password, &output);
                append(&mut output, MESSAGE_INTEGRITY, &tag);
            }
            FINGERPRINT => {
                set_length(&mut output, 8);
                let crc = crc32(&output) ^ 0x5354_554e;
                append(&mut output, FINGERPRINT, &crc.to_be_bytes());
            }
            _ => append(&mut output, kind, &value),
        }
    }
    set_length(&mut output, 0);
    Some(output)
}

fn attributes(packet: &[u8]) -> Option<Vec<(u16, Vec<u8>)>> {
    let mut rest = packet.get(20..)?;
    let mut attributes = Vec::new();
    while let [t0, t1, l0, l1, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        attributes.push((u16::from_be_bytes([*t0, *t1]), tail.get(..length)?.to_vec()));
        rest = tail.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(attributes)
}

fn append(packet: &mut Vec<u8>, kind: u16, value: &[u8]) {
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&u16::try_from(value.len()).expect("a short attribute").to_be_bytes());
    packet.extend_from_slice(value);
    packet.resize(packet.len().next_multiple_of(4), 0);
}

fn set_length(packet: &mut [u8], ahead: usize) {
    let length = u16::try_from(packet.len() - 20 + ahead).expect("a short packet");
    packet[2..4].copy_from_slice(&length.to_be_bytes());
}

fn hmac(password: &str, bytes: &[u8]) -> Vec<u8> {
    let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    sign(&key, bytes).as_ref().to_vec()
}

fn signed_with(packet: &[u8], password: &str) -> bool {
    let mut offset = 20;
    for (kind, value) in attributes(packet).unwrap_or_default() {
        if kind == MESSAGE_INTEGRITY {
            let mut head = packet[..offset].to_vec();
            set_length(&mut head, 24);
            return hmac(password, &head) == value;
        }
        offset += 4 + value.len().next_multiple_of(4);
    }
    false
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rebuilding_with_the_same_credentials_changes_nothing() {
        // A request as WebRTC endpoints send it, signed with this password.
        let credentials = Credentials {
            ufrag: "ufrag".to_owned(),
            password: "a password of some length".to_owned(),
        };
        let mut packet = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        packet.extend_from_slice(&[7; 12]);
        append(&mut packet, USERNAME, b"ufrag:peer");
        append(&mut packet, 0x0024, &[0x6e, 0, 1, 0xff]);
        append(&mut packet, MESSAGE_INTEGRITY, &[0; 20]);
        append(&mut packet, FINGERPRINT, &[0; 4]);
        let signed = rebuild(&packet, None, Some(&credentials)).unwrap();
        assert!(signed_with(&signed, &credentials.password));
        assert_eq!(
            rebuild(&signed, Some(&credentials), Some(&credentials)).unwrap(),
            signed
        );
        let wrong = Credentials {
            password: "wrong".to_owned(),
            ..credentials.clone()
        };
        let badly_signed = rebuild(&packet, None, Some(&wrong)).unwrap();
        let rebuilt = rebuild(&badly_signed, Some(&credentials), Some(&credentials)).unwrap();
        assert!(!signed_with(&rebuilt, &credentials.password));
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
