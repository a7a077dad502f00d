use proptest::prelude::*;

use super::*;

const MS: u64 = 1000;

fn params(mime_type: &str, clock_rate: u32) -> RtpStreamParams {
    RtpStreamParams {
        encoding_idx: 0,
        ssrc: 5,
        payload_type: 96,
        mime_type: mime_type.to_owned(),
        clock_rate,
        rid: None,
        cname: String::new(),
        rtx_ssrc: None,
        rtx_payload_type: None,
        use_nack: true,
        use_pli: false,
        use_fir: false,
        use_in_band_fec: mime_type == "audio/opus",
        use_dtx: false,
        spatial_layers: 1,
        temporal_layers: 1,
    }
}

fn video() -> RecvStream {
    RecvStream::new(params("video/VP8", 90_000), 0)
}

fn rtx() -> RtxStreamParams {
    RtxStreamParams {
        ssrc: 6,
        payload_type: 97,
        mime_type: "video/rtx".to_owned(),
        clock_rate: 90_000,
        rrid: None,
        cname: String::new(),
    }
}

fn header(payload_type: u8, sequence_number: u16) -> RtpHeader {
    RtpHeader {
        payload_type,
        marker: false,
        sequence_number,
        timestamp: u32::from(sequence_number) * 3000,
        ssrc: 5,
        csrc_count: 0,
        payload_offset: 12,
        payload_length: 100,
        padding_length: 0,
        extensions: None,
    }
}

fn receive(stream: &mut RecvStream, sequence_number: u16, now: u64) {
    assert!(stream.receive(&header(96, sequence_number), 112, now));
    stream.note_arrival(sequence_number, false, now);
}

fn receive_rtx(stream: &mut RecvStream, sequence_number: u16, original: u16, now: u64) -> bool {
    let mut packet = vec![0; 112];
    packet[12..14].copy_from_slice(&original.to_be_bytes());
    let header = stream.receive_rtx(&header(97, sequence_number), &packet, now).unwrap();
    assert_eq!(
        (header.sequence_number, header.payload_type, header.ssrc),
        (original, 96, 5)
    );
    assert_eq!((header.payload_offset, header.payload_length), (14, 98));
    stream.repair(&header, 110, false, now)
}

#[test]
fn a_stream_may_begin_with_zero() {
    let mut stream = video();
    receive(&mut stream, 0, 0);
    let block = stream.report_block(0, 0);
    assert_eq!(
        (block.highest_sequence, block.cumulative_lost, block.fraction_lost),
        (0, 0, 0)
    );
}

#[test]
fn when_everything_is_lost_the_fraction_says_so() {
    let mut stream = video();
    receive(&mut stream, 10, 0);
    stream.report_block(0, 0);
    receive(&mut stream, 2000, MS);
    let block = stream.report_block(0, MS);
    assert_eq!(
        (block.fraction_lost, block.cumulative_lost, block.highest_sequence),
        (255, 1989, 2000)
    );
    let block = stream.report_block(0, 2 * MS);
    assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 1989));
}

#[test]
fn with_fec_the_sender_learns_of_the_receiver_that_lost_most() {
    let mut audio = RecvStream::new(params("audio/opus", 48_000), 0);
    let mut video = video();
    for number in 0..100 {
        receive(&mut audio, number, 0);
        receive(&mut video, number, 0);
    }
    let block = audio.report_block(64, 0);
    assert_eq!((block.fraction_lost, block.cumulative_lost), (64, 25));
    assert_eq!(audio.report_block(0, 0).cumulative_lost, 25);
    assert_eq!(video.report_block(64, 0).fraction_lost, 0);
}

#[test]
fn repairs_count_as_such_and_not_as_received() {
    let mut stream = video();
    receive(&mut stream, 1, 0);
    receive(&mut stream, 5, 0);
    assert!(stream.attach_rtx(rtx()) && !stream.attach_rtx(rtx()));
    assert!(receive_rtx(&mut stream, 900, 3, MS));
    assert!(!receive_rtx(&mut stream, 901, 3, MS), "twice");
    receive(&mut stream, 2, MS);
    let block = stream.report_block(0, MS);
    assert_eq!(block.cumulative_lost, 2, "3 and 4: what was repaired was lost");
    let rtx = stream.rtx_report_block().unwrap();
    assert_eq!(
        (rtx.ssrc, rtx.highest_sequence, rtx.cumulative_lost, rtx.jitter),
        (6, 901, 0, 0)
    );
    let stats = stream.stats(MS);
    assert_eq!(
        (stats.packets_retransmitted, stats.packets_repaired, stats.packet_count),
        (2, 1, 4)
    );
    // Without a payload, of another type, or too short: nothing.
    assert!(stream.receive_rtx(&header(97, 902), &[0; 12], MS).is_none());
    assert!(stream.receive_rtx(&header(96, 903), &[0; 112], MS).is_none());
    let short = RtpHeader {
        payload_length: 1,
        ..header(97, 904)
    };
    assert!(stream.receive_rtx(&short, &[0; 13], MS).is_none());
}

#[test]
fn a_sender_that_begins_anew_is_not_charged_for_the_gap() {
    let mut stream = video();
    for number in 0..100 {
        receive(&mut stream, number, 0);
    }
    receive(&mut stream, 101, 0);
    assert_eq!(stream.report_block(0, 0).cumulative_lost, 1);
    assert!(!stream.receive(&header(96, 30_000), 112, MS));
    receive(&mut stream, 30_001, MS);
    receive(&mut stream, 30_002, MS);
    let block = stream.report_block(0, MS);
    assert_eq!(
        (block.cumulative_lost, block.fraction_lost, block.highest_sequence),
        (1, 0, 30_002)
    );
    assert_eq!(stream.stats(0).packets_discarded, 1);
    assert!(!stream.sender_report(1, MS), "no loss, no other score");
}

#[test]
fn silence_costs_the_score_and_padding_does_not_bring_it_back() {
    let mut stream = video();
    receive(&mut stream, 1, 0);
    assert_eq!(stream.inactive_at(), Some(1500 * MS));
    assert!(!stream.deactivate_if_silent(1499 * MS));
    let padding = RtpHeader {
        payload_length: 0,
        padding_length: 100,
        ..header(96, 2)
    };
    assert!(stream.receive(&padding, 112, 1000 * MS));
    assert!(stream.deactivate_if_silent(1500 * MS) && stream.score() == 0);
    assert!(!stream.sender_report(1, 1500 * MS), "nothing to measure");
    receive(&mut stream, 3, 1600 * MS);
    assert!(stream.reactivate(0) && stream.score() == 10);
}

#[test]
fn a_capture_time_is_believed_if_it_is_possible() {
    let mut stream = video();
    let now = 100_000 * MS;
    assert_eq!(stream.captured_at(9000, now), now);
    stream.clock = Some(SenderClock {
        ntp: 3_900_000_000 << 32,
        timestamp: 0,
    });
    // The sender's time of the report is 60 ms ago in ours.
    stream.clock_offset = Some((now - 60 * MS) as i64 - 3_900_000_000_000_000);
    assert_eq!(stream.captured_at(0, now), now - 60 * MS);
    assert_eq!(stream.captured_at(900, now), now - 50 * MS);
    assert_eq!(stream.captured_at(9000, now), now, "not from the future");
    stream.clock_offset = Some(i64::MIN);
    assert_eq!(stream.captured_at(0, now), now);
    stream.clock_offset = Some(i64::MAX);
    assert_eq!(stream.captured_at(0, now), now);
}

proptest! {
    /// Reports against a model that remembers every packet (RFC 3550 A.3).
    #[test]
    fn reports_are_those_of_a_slow_model(
        start: u16,
        steps in prop::collection::vec((1u16..4, any::<bool>(), 0u8..20), 1..300),
    ) {
        let mut stream = video();
        let (mut highest, mut expected, mut received) = (start, 1_u64, 1_u64);
        let (mut expected_before, mut received_before) = (0, 0);
        receive(&mut stream, start, 0);
        for (step, late, report) in steps {
            highest = highest.wrapping_add(step);
            expected += u64::from(step);
            receive(&mut stream, highest, 0);
            received += 1;
            if late && step > 1 {
                receive(&mut stream, highest.wrapping_sub(1), 0);
                received += 1;
            }
            if report == 0 {
                let block = stream.report_block(0, 0);
                let lost = (expected - expected_before).saturating_sub(received - received_before);
                let fraction = 256.0 * lost as f64 / (expected - expected_before) as f64;
                prop_assert_eq!(f64::from(block.fraction_lost), fraction.round().min(255.0));
                prop_assert_eq!(block.cumulative_lost as u64, expected - received);
                prop_assert_eq!(block.highest_sequence as u16, highest);
                (expected_before, received_before) = (expected, received);
            }
        }
    }
}
