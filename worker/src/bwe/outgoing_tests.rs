use super::*;
use crate::rtcp::{self, RtcpPacket, TransportFeedbackBuilder};

fn outgoing(feedback: Feedback) -> Outgoing {
    Outgoing::new(feedback, INITIAL_BITRATE, None, Pacing::default())
}

fn demand(outgoing: &mut Outgoing, desired: u32, allocated: u32, now: u64) {
    let demand = Demand {
        desired,
        allocated,
        next: None,
    };
    outgoing.set_demand(&demand, false, now);
}

#[test]
fn what_the_receiver_says_replaces_where_it_started_and_the_limit_caps_both() {
    let mut outgoing = outgoing(Feedback::Remb);
    assert_eq!(outgoing.available_bitrate(), 600_000);
    outgoing.set_limit(Some(100_000));
    assert_eq!(outgoing.available_bitrate(), 100_000);
    outgoing.maximum_bitrate(2_500_000);
    outgoing.set_limit(Some(0));
    assert_eq!(outgoing.available_bitrate(), 2_500_000);
    outgoing.set_limit(Some(1_000_000));
    assert_eq!(outgoing.available_bitrate(), 1_000_000);
    outgoing.maximum_bitrate(u64::MAX);
    outgoing.set_limit(None);
    assert_eq!(outgoing.available_bitrate(), u32::MAX);
}

/// Reports packets from this number on: when each arrived.
fn report(outgoing: &mut Outgoing, first: u16, arrivals: impl IntoIterator<Item = Option<u64>>, now: u64) {
    let mut message = Vec::new();
    TransportFeedbackBuilder::new().write(&mut message, 1, 0, first, arrivals.into_iter(), 1000);
    for packet in rtcp::parse(&message).into_iter().flatten() {
        if let RtcpPacket::TransportFeedback { body, .. } = packet {
            outgoing.transport_feedback(&TransportFeedback::parse(body).expect("a report"), now);
        }
    }
}

#[test]
fn reports_of_arrivals_tell_the_loss() {
    let mut outgoing = outgoing(Feedback::TransportCc);
    for at in 0..20 {
        outgoing.left(1000, None, 1_000_000 + at);
    }
    let arrivals = (0..20).map(|index| (index % 4 != 1).then_some(1_000_000 + index * 1000));
    report(&mut outgoing, 1, arrivals, 1_100_000);
    assert!(
        (outgoing.packet_loss() - 0.25).abs() < 1e-6,
        "{}",
        outgoing.packet_loss()
    );
}

#[test]
fn decisions_are_handed_out_once() {
    use DecisionKind::{Lower, Probe, Raise};
    use DecisionReason::{Desired, Remb};
    let kinds = |outgoing: &mut Outgoing| {
        let decisions = outgoing.decisions().map(|decision| (decision.what, decision.why));
        decisions.collect::<Vec<_>>()
    };
    let mut follower = outgoing(Feedback::Remb);
    follower.maximum_bitrate(800_000);
    follower.maximum_bitrate(800_000);
    follower.maximum_bitrate(500_000);
    let facts: Vec<_> = follower.decisions().map(|decision| decision.facts).collect();
    assert_eq!(facts.len(), 2);
    assert_eq!(
        (facts[1].before, facts[1].estimate, facts[1].round_trip),
        (800_000, 500_000, None)
    );
    follower.maximum_bitrate(600_000);
    assert_eq!(kinds(&mut follower), [(Raise, Remb)]);

    let mut outgoing = outgoing(Feedback::TransportCc);
    demand(&mut outgoing, 5_000_000, 600_000, 0);
    outgoing.left(1000, None, 1_000_000);
    report(&mut outgoing, 1, [Some(1_010_000)], 1_020_000);
    let probe = |bitrate| (Probe { bitrate }, Desired);
    assert_eq!(kinds(&mut outgoing), [probe(1_800_000), probe(3_600_000)]);
    // The first of them: 3375 bytes of padding, and no more than that gets through.
    let mut now = 1_020_000;
    for _ in 0..5 {
        outgoing.left(700, None, now);
        now += 3_000;
    }
    report(
        &mut outgoing,
        2,
        (0..5).map(|index| Some(1_030_000 + 6_000 * index)),
        now + 30_000,
    );
    let decisions: Vec<_> = outgoing.decisions().collect();
    let [measured, raised] = decisions[..] else {
        panic!("{decisions:?}")
    };
    assert_eq!((measured.what, measured.why), probe(1_800_000));
    let rate = measured.facts.measured.unwrap_or_default();
    assert!((850_000..950_000).contains(&rate), "{rate}");
    assert_eq!((raised.what, raised.why), (Raise, DecisionReason::Probe));
    assert_eq!((raised.facts.before, raised.facts.estimate), (600_000, rate));
    outgoing.set_limit(Some(700_000));
    for second in 2..10 {
        outgoing.left(1000, None, second * 1_000_000);
        outgoing.handle_timeout(second * 1_000_000 + 200_000);
    }
    let silence: Vec<_> = outgoing.decisions().filter(|of| of.what == Lower).collect();
    assert!(silence.len() > 3 && silence.iter().all(|of| of.why == DecisionReason::Silence));
    assert!(silence[0].facts.available <= 700_000 && silence[0].facts.desired == 5_000_000);
}

#[test]
fn reports_of_losses_count_for_receivers_that_say_a_rate() {
    let lost = |sent, lost| Lost { sent, lost };
    let mut follower = outgoing(Feedback::Remb);
    follower.maximum_bitrate(1_000_000);
    assert_eq!(follower.keepable_bitrate(), 1_000_000, "nothing is known of losses");
    follower.lost(&lost(10, 0));
    assert!(!follower.losses_told(1_000_000), "too few packets");
    follower.lost(&lost(90, 1));
    assert!(follower.losses_told(2_000_000));
    assert_eq!(
        (follower.available_bitrate(), follower.keepable_bitrate()),
        (1_000_000, 1_080_000)
    );
    demand(&mut follower, 2_000_000, 1_050_000, 2_000_000);
    follower.take_change(2_000_000);
    assert!(!follower.take_change(2_100_000).allocate, "what is sent is kept");
    follower.set_limit(Some(1_020_000));
    assert_eq!(follower.keepable_bitrate(), 1_020_000);
    follower.lost(&lost(80, 2));
    follower.lost(&lost(20, 4));
    assert!(follower.losses_told(3_000_000), "6 % of all streams");
    assert_eq!(
        (follower.available_bitrate(), follower.keepable_bitrate()),
        (1_000_000, 1_000_000)
    );
    follower.lost(&lost(100, 20));
    assert!(follower.losses_told(4_000_000));
    assert_eq!(
        (follower.available_bitrate(), follower.keepable_bitrate()),
        (900_000, 900_000)
    );
    let why: Vec<_> = follower.decisions().map(|decision| decision.why).collect();
    assert_eq!(why, [DecisionReason::Remb, DecisionReason::Loss]);

    let mut counting = outgoing(Feedback::TransportCc);
    counting.lost(&lost(100, 50));
    assert!(!counting.losses_told(1_000_000));
}

#[test]
fn the_estimate_is_announced_once_a_second_or_when_it_jumps() {
    let mut outgoing = outgoing(Feedback::Remb);
    assert!(outgoing.take_change(0).announce);
    assert!(!outgoing.take_change(900_000).announce);
    assert!(outgoing.take_change(1_000_000).announce);
    outgoing.maximum_bitrate(500_000);
    assert_eq!(outgoing.take_change(1_100_000), Change::default());
    demand(&mut outgoing, 900_000, 550_000, 1_100_000);
    let expected = Change {
        announce: false,
        allocate: true,
    };
    assert_eq!(outgoing.take_change(1_200_000), expected);
    outgoing.maximum_bitrate(440_000);
    assert!(outgoing.take_change(1_300_000).announce);
    outgoing.maximum_bitrate(700_000);
    assert!(outgoing.take_change(1_400_000).announce);
}

#[test]
fn where_it_starts_is_announced_once_before_the_receiver_tells_anything() {
    let mut outgoing = outgoing(Feedback::TransportCc);
    outgoing.left(1000, None, 0);
    let announced = (1..20).filter(|tick| outgoing.handle_timeout(tick * TICK).announce);
    assert_eq!(announced.collect::<Vec<_>>(), [1]);
    assert_eq!(outgoing.info().available_bitrate, INITIAL_BITRATE);
}

#[test]
fn what_is_desired_rises_at_once_and_falls_slowly() {
    let mut desired = Desired::default();
    desired.set(1_000_000, false, 0);
    desired.set(200_000, false, 1_000_000);
    assert!((desired.effective - 950_000.0).abs() < 1.0);
    desired.set(200_000, false, 30_000_000);
    assert!((desired.effective - 200_000.0).abs() < 1.0);
    desired.set(0, true, 30_000_000);
    assert!(desired.effective.abs() < 1.0);
}

/// What is sent again into a full queue makes it last longer.
#[test]
fn what_is_lost_while_a_path_is_full_is_not_sent_again_unasked() {
    let ssrc = std::num::NonZeroU32::new(5).expect("a number");
    let carried = |sequence_number| Carried {
        ssrc,
        sequence_number,
        again: false,
    };
    let (mut outgoing, mut now, mut delay) = (outgoing(Feedback::TransportCc), 1_000_000, 20_000);
    // Every fifth packet is lost; the delay grows by so much in a tenth of a second.
    let mut round = |outgoing: &mut Outgoing, grows: u64| {
        let first = outgoing.next_number();
        for index in 0..10 {
            outgoing.left(1000, Some(carried(first + index)), now + u64::from(index) * 10_000);
        }
        let arrivals = (0..10).map(|index| (index % 5 != 2).then_some(now + delay + index * (10_000 + grows / 10)));
        report(outgoing, first, arrivals, now + 110_000 + delay);
        now += 100_000;
        delay += grows;
        std::iter::from_fn(|| outgoing.take_lost(now)).count()
    };
    assert_eq!((0..10).map(|_| round(&mut outgoing, 0)).sum::<usize>(), 20);
    let growing: Vec<_> = (0..10).map(|_| round(&mut outgoing, 40_000)).collect();
    assert_eq!(growing.last(), Some(&0), "{growing:?}");
    assert!(
        outgoing
            .decisions()
            .any(|decision| decision.why == DecisionReason::Delay)
    );
    let steady: Vec<_> = (0..30).map(|_| round(&mut outgoing, 0)).collect();
    assert_eq!(steady.last(), Some(&2), "{steady:?}");
}
