use channel_proto::transport_parameters::{IceState, Protocol};
use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;

use super::Builder;
use crate::ice::stun::Message;
use crate::ice::{Agent, Credentials, Event, Tuple, Verdict, priority};

const SECOND: u64 = 1_000_000;

fn agent() -> Agent {
    Agent::new(Credentials::new("us".to_owned(), "secret".to_owned()))
}

fn tuple(port: u16) -> Tuple {
    Tuple {
        socket: 1,
        remote: ([192, 0, 2, 1], port).into(),
        local: ([127, 0, 0, 1], 3000).into(),
        protocol: Protocol::Udp,
    }
}

fn connection(socket: u32) -> Tuple {
    Tuple {
        socket,
        protocol: Protocol::Tcp,
        ..tuple(5000)
    }
}

/// How a check chooses its path.
#[derive(Clone, Copy)]
enum Choice {
    None,
    UseCandidate,
    Nomination(u8),
    Both(u8),
}
use Choice::{Both, Nomination, UseCandidate};

fn check(choice: Choice) -> Vec<u8> {
    let mut message = Builder::request().check("us:them");
    if matches!(choice, UseCandidate | Both(_)) {
        message = message.attribute(0x0025, &[]);
    }
    if let Nomination(number) | Both(number) = choice {
        message = message.attribute(0xc001, &[0, 0, 0, number]);
    }
    message.sign("secret").finish()
}

/// Hands in a message; returns the verdict and how long the answer is.
fn handle(agent: &mut Agent, bytes: &[u8], tuple: Tuple, now: u64) -> (Verdict, usize) {
    let Ok(message) = Message::parse(bytes) else {
        return (Verdict::Ignored, 0);
    };
    let mut answer = Vec::new();
    let verdict = agent.handle(&message, tuple, now, &mut answer);
    (verdict, answer.len())
}

fn events(agent: &mut Agent) -> Vec<Event> {
    std::iter::from_fn(|| agent.poll_event()).collect()
}

#[track_caller]
fn step(agent: &mut Agent, choice: Choice, tuple: Tuple, expected: &[Event]) {
    assert_eq!(handle(agent, &check(choice), tuple, SECOND), (Verdict::Answered, 64));
    assert_eq!(events(agent), expected);
}

#[test]
fn states_of_a_peer_that_checks_first_and_chooses_later() {
    let mut agent = agent();
    let (a, b) = (tuple(1), tuple(2));
    let connected = [
        Event::TupleAdded(a),
        Event::Selected(a),
        Event::State(IceState::Connected),
    ];
    step(&mut agent, Choice::None, a, &connected);
    step(&mut agent, Choice::None, a, &[]);
    step(&mut agent, Choice::None, b, &[Event::TupleAdded(b)]);
    step(&mut agent, UseCandidate, a, &[Event::State(IceState::Completed)]);
    step(&mut agent, UseCandidate, a, &[]);
    step(&mut agent, UseCandidate, b, &[Event::Selected(b)]);
    step(&mut agent, Nomination(5), a, &[Event::Selected(a)]);
    step(&mut agent, Nomination(4), b, &[]);
    step(&mut agent, Nomination(5), b, &[]);
    step(&mut agent, Nomination(6), b, &[Event::Selected(b)]);
    // Both ways at once: the flag counts although the number is old.
    step(&mut agent, Both(1), a, &[Event::Selected(a)]);
    assert_eq!(agent.selected(), Some(a));
}

#[test]
fn a_choice_with_the_first_check_completes_at_once() {
    for choice in [UseCandidate, Nomination(1)] {
        let mut agent = agent();
        let a = tuple(1);
        let completed = [
            Event::TupleAdded(a),
            Event::Selected(a),
            Event::State(IceState::Completed),
        ];
        step(&mut agent, choice, a, &completed);
    }
}

#[test]
fn a_stale_choice_selects_nothing_and_the_next_check_is_survived() {
    let mut agent = agent();
    let (a, b) = (tuple(1), tuple(2));
    step(&mut agent, Nomination(0), a, &[Event::TupleAdded(a)]);
    assert_eq!((agent.state(), agent.selected()), (IceState::New, None));
    let connected = [
        Event::TupleAdded(b),
        Event::Selected(b),
        Event::State(IceState::Connected),
    ];
    step(&mut agent, Choice::None, b, &connected);
}

/// Threats 7 and 10: reflection, requests without or with a wrong integrity, broken ones.
#[test]
fn what_is_not_authentic_is_not_answered_at_all() {
    let checked = || Builder::request().check("us:them");
    let mut wrong_fingerprint = checked().sign("secret").finish();
    *wrong_fingerprint.last_mut().unwrap() ^= 1;
    let mut truncated = check(UseCandidate);
    truncated.truncate(truncated.len() - 4);
    let mut agent = agent();
    for (name, bytes) in [
        ("bare", Builder::request().unfinished()),
        ("no integrity", checked().finish()),
        ("wrong password", checked().sign("guess").finish()),
        (
            "wrong fragment",
            Builder::request().check("you:them").sign("secret").finish(),
        ),
        ("no user name", Builder::request().sign("secret").finish()),
        ("wrong fingerprint", wrong_fingerprint),
        ("truncated", truncated),
        ("signed twice", checked().sign("secret").sign("secret").finish()),
        (
            "name behind the integrity",
            Builder::request().sign("secret").check("us:them").finish(),
        ),
        (
            "indication",
            Builder::of_type(0x0011).check("us:them").sign("secret").finish(),
        ),
        (
            "success",
            Builder::of_type(0x0101).check("us:them").sign("secret").finish(),
        ),
        (
            "error",
            Builder::of_type(0x0111).check("us:them").sign("secret").finish(),
        ),
        ("other method", Builder::of_type(0x0003).finish()),
    ] {
        assert_eq!(handle(&mut agent, &bytes, tuple(1), 1), (Verdict::Ignored, 0), "{name}");
        assert_eq!(events(&mut agent), [], "{name}");
    }
    assert_eq!(agent.state(), IceState::New);
    step(
        &mut agent,
        UseCandidate,
        tuple(1),
        &[
            Event::TupleAdded(tuple(1)),
            Event::Selected(tuple(1)),
            Event::State(IceState::Completed),
        ],
    );
}

/// Threat 7: no message type makes us send more than we got.
#[test]
fn no_answer_is_longer_than_its_request() {
    let mut remote = tuple(1);
    remote.remote = "[2001:db8::1]:7".parse().unwrap();
    for kind in 0..0x4000 {
        let bytes = Builder::of_type(kind).check("us:them").sign("secret").finish();
        let (_, answered) = handle(&mut agent(), &bytes, remote, 1);
        assert!(answered <= bytes.len(), "{kind:04x}");
    }
}

#[test]
fn a_peer_that_knows_the_password_is_told_its_mistakes() {
    let mut agent = agent();
    for bytes in [
        Builder::request().check("us:them").sign("secret").unfinished(),
        Builder::request().attribute(0x0006, b"us:them").sign("secret").finish(),
        Builder::of_type(0x0003).check("us:them").sign("secret").finish(),
        Builder::request()
            .attribute(0x0006, b"us:them")
            .attribute(0x0024, &[0; 4])
            .attribute(0x8029, &[0; 8])
            .sign("secret")
            .finish(),
    ] {
        assert_eq!(handle(&mut agent, &bytes, tuple(1), 1), (Verdict::Answered, 36));
        assert_eq!(events(&mut agent), []);
    }
}

#[test]
fn old_credentials_are_good_until_the_new_ones_are_used() {
    let mut agent = agent();
    step(
        &mut agent,
        Choice::None,
        tuple(1),
        &[
            Event::TupleAdded(tuple(1)),
            Event::Selected(tuple(1)),
            Event::State(IceState::Connected),
        ],
    );
    agent.restart(Credentials::new("new".to_owned(), "newer".to_owned()), SECOND);
    assert_eq!(agent.fragments().collect::<Vec<_>>(), ["new", "us"]);
    step(&mut agent, Choice::None, tuple(1), &[]);
    let with_new = Builder::request().check("new:them").sign("newer").finish();
    assert_eq!(handle(&mut agent, &with_new, tuple(1), SECOND), (Verdict::Answered, 64));
    assert_eq!(events(&mut agent), [Event::FragmentRemoved("us".to_owned())]);
    assert_eq!(
        handle(&mut agent, &check(Choice::None), tuple(1), SECOND),
        (Verdict::Ignored, 0)
    );
    assert_eq!(agent.state(), IceState::Connected);
    for name in ["a", "b"] {
        agent.restart(Credentials::new(name.to_owned(), "x".to_owned()), SECOND);
    }
    assert_eq!(agent.fragments().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(events(&mut agent), [Event::FragmentRemoved("new".to_owned())]);
}

#[test]
fn paths_are_bounded_and_the_selected_one_stays() {
    let mut agent = agent();
    let selected = tuple(1);
    handle(&mut agent, &check(UseCandidate), selected, 1);
    for port in 2..200 {
        handle(&mut agent, &check(Choice::None), tuple(port), 1);
    }
    let tuples: Vec<_> = agent.tuples().collect();
    assert_eq!(tuples.len(), 8);
    assert!(tuples.contains(&selected) && tuples.contains(&tuple(199)));
    let removed = events(&mut agent)
        .into_iter()
        .filter(|event| matches!(event, Event::TupleRemoved(_)));
    assert_eq!(removed.count(), 199 - 8);
}

#[test]
fn a_closed_connection_hands_over_to_the_newest_path() {
    let mut agent = agent();
    let (first, second) = (connection(10), connection(11));
    handle(&mut agent, &check(UseCandidate), first, 1);
    handle(&mut agent, &check(Choice::None), second, 1);
    events(&mut agent);
    agent.remove_socket(10);
    assert_eq!(
        events(&mut agent),
        [Event::TupleRemoved(first), Event::Selected(second)]
    );
    assert!(!agent.knows(&first));
    agent.remove_socket(10);
    agent.remove_socket(11);
    assert_eq!(
        events(&mut agent),
        [Event::TupleRemoved(second), Event::State(IceState::Disconnected)]
    );
    assert_eq!((agent.selected(), agent.deadline()), (None, None));
    let again = [
        Event::TupleAdded(first),
        Event::Selected(first),
        Event::State(IceState::Connected),
    ];
    step(&mut agent, Choice::None, first, &again);
}

#[test]
fn a_peer_without_consent_is_gone_after_thirty_seconds() {
    let mut agent = agent();
    handle(&mut agent, &check(UseCandidate), tuple(1), SECOND);
    handle(&mut agent, &check(Nomination(9)), tuple(2), 21 * SECOND);
    events(&mut agent);
    assert_eq!(agent.deadline(), Some(51 * SECOND));
    agent.handle_timeout(51 * SECOND - 1);
    assert_eq!(events(&mut agent), []);
    agent.handle_timeout(51 * SECOND);
    assert_eq!(
        events(&mut agent),
        [
            Event::TupleRemoved(tuple(2)),
            Event::TupleRemoved(tuple(1)),
            Event::State(IceState::Disconnected),
        ]
    );
    // Numbers of choices begin anew.
    let completed = [
        Event::TupleAdded(tuple(1)),
        Event::Selected(tuple(1)),
        Event::State(IceState::Completed),
    ];
    step(&mut agent, Nomination(1), tuple(1), &completed);
}

#[test]
fn media_moves_the_selection_to_a_path_that_was_checked_lately() {
    let mut agent = agent();
    handle(&mut agent, &check(UseCandidate), tuple(1), 1);
    handle(&mut agent, &check(Choice::None), tuple(2), 1);
    events(&mut agent);
    agent.media(&tuple(2), SECOND);
    assert_eq!(events(&mut agent), [Event::Selected(tuple(2))]);
    // Nobody vouches for this path, and the other one's check is too long ago.
    agent.media(&tuple(3), SECOND);
    agent.media(&tuple(1), 31 * SECOND);
    assert_eq!(events(&mut agent), []);
    assert_eq!(agent.selected(), Some(tuple(2)));
}

/// Threat 8: checks with a forged source cannot turn the media of a session on somebody else.
#[test]
fn checks_alone_open_a_path_for_little_only() {
    let mut agent = agent();
    handle(&mut agent, &check(UseCandidate), tuple(1), SECOND);
    agent.media(&tuple(1), SECOND);
    assert!((0..100_000).all(|_| agent.allow(1200, SECOND)));
    let mut sent = 0;
    for victim in 2..100 {
        let now = SECOND + u64::from(victim) * 1000;
        handle(&mut agent, &check(UseCandidate), tuple(victim), now);
        assert_eq!(agent.selected(), Some(tuple(victim)));
        sent += (0..10_000).filter(|_| agent.allow(1200, now)).count() * 1200;
    }
    assert!(sent <= 1_100_000, "{sent}");
    // The peer itself has moved: its reports open the path.
    agent.confirm(&tuple(99));
    assert!((0..10_000).all(|_| agent.allow(1200, SECOND)));
    // A path that was confirmed once stays so.
    handle(&mut agent, &check(UseCandidate), tuple(98), 2 * SECOND);
    assert!((0..10_000).any(|_| !agent.allow(1200, 2 * SECOND)));
    handle(&mut agent, &check(UseCandidate), tuple(99), 2 * SECOND);
    assert!((0..10_000).all(|_| agent.allow(1200, 2 * SECOND)));
}

#[test]
fn priorities_are_those_that_clients_know() {
    assert_eq!(priority(0, false), 1_076_302_079);
    assert_eq!(priority(0, true), 1_076_558_079);
    assert_eq!(priority(1, false), 1_076_276_479);
    assert_eq!(priority(2, true), 1_076_506_879);
}

#[test]
fn random_credentials_are_long_and_of_known_characters() {
    let mut rng = ChaCha12Rng::from_seed([3; 32]);
    let (one, other) = (Credentials::random(&mut rng), Credentials::random(&mut rng));
    for text in [one.fragment(), one.password(), other.fragment(), other.password()] {
        assert_eq!(text.len(), 32);
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        );
    }
    assert_ne!(one.fragment(), other.fragment());
    assert_ne!(one.fragment(), one.password());
    assert!(!format!("{one:?}").contains(one.password()));
}
