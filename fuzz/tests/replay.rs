//! The corpora of all targets, and seeded mutations of them, without a fuzzer.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzz::mutation::mutate;
use fuzz::{TARGETS, Target};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// Mutations of each target. Those that run a handshake or a room cost more.
const MUTATIONS: u64 = 10_000;
const SLOW_MUTATIONS: u64 = 300;
const SLOW: [&str; 5] = ["dtls", "sctp", "media", "commands", "webrtc"];

/// Inputs in a folder, in the order of their names.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).expect("a file");
            (path, bytes)
        })
        .collect()
}

/// Runs an input; if it fails, says how to get it again.
fn run(target: Target, input: &[u8], what: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let path = std::env::temp_dir().join("fuzz-failure");
        let _ = fs::write(&path, input);
        eprintln!("{what} fails; the input is in {}", path.display());
        std::panic::resume_unwind(panic);
    }
}

fn replay(name: &str) {
    let (_, target) = *TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for (path, input) in &corpus {
        run(target, input, &path.display().to_string());
    }
    run(target, &[], "nothing");
    let inputs: Vec<_> = corpus.into_iter().map(|(_, input)| input).collect();
    let mutations = if SLOW.contains(&name) {
        SLOW_MUTATIONS
    } else {
        MUTATIONS
    };
    for seed in 0..mutations {
        let input = mutate(&inputs, &mut ChaCha8Rng::seed_from_u64(seed));
        run(target, &input, &format!("{name}, mutation {seed}"));
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($name)),*]);
        }
    };
}

replays!(frames requests rtp rtcp stun srtp payloads dtls sctp media commands webrtc signalling);
