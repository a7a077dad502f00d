//! Changing inputs at random, for the test that runs without a fuzzer.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// Values at which length fields and counters tip over.
const EDGES: [u8; 9] = [0, 1, 2, 3, 0x0f, 0x7f, 0x80, 0xfe, 0xff];

/// A changed copy of one of these inputs: some bytes flipped, set, left out, repeated, or taken from another one.
pub fn mutate(inputs: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let pick = |rng: &mut ChaCha8Rng| match inputs.len() {
        0 => Vec::new(),
        count => inputs[rng.random_range(0..count)].clone(),
    };
    let mut bytes = pick(rng);
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=bytes.len());
        let end = rng.random_range(at..=bytes.len().min(at + 40));
        match rng.random_range(0..8) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            2 | 3 if at < bytes.len() => bytes[at] = EDGES[rng.random_range(0..EDGES.len())],
            4 => {
                bytes.drain(at..end);
            }
            5 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            6 => bytes.truncate(at),
            7 => {
                let other = pick(rng);
                let from = rng.random_range(0..=other.len());
                let to = rng.random_range(from..=other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => bytes.insert(at, rng.random()),
        }
    }
    bytes
}
