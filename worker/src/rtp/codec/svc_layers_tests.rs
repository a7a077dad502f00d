use super::*;

fn frame(picture_id: u16, spatial: u8, temporal: u8) -> Descriptor {
    Descriptor {
        picture_id: Some(picture_id & 0x7fff),
        long_picture_id: true,
        inter_predicted: true,
        flexible: false,
        start: true,
        end: true,
        has_scalability: false,
        not_reference: false,
        spatial_layer: Some(spatial),
        temporal_layer: Some(temporal),
        switching_up: true,
        inter_layer: spatial > 0,
        tl0_picture_index: Some(0),
        is_key_frame: false,
    }
}

fn key_frame(picture_id: u16, spatial: u8) -> Descriptor {
    Descriptor {
        inter_predicted: false,
        is_key_frame: spatial == 0,
        ..frame(picture_id, spatial, 0)
    }
}

fn process(filter: &mut SvcLayers, packet: &Descriptor) -> Option<bool> {
    filter.process(&packet.into())
}

fn layers(spatial: u8, temporal: u8) -> Layers {
    Layers { spatial, temporal }
}

fn started(k_svc: bool, target: Layers) -> SvcLayers {
    let mut filter = SvcLayers::new(3, 3, k_svc);
    filter.set_target(target);
    filter.begin();
    assert_eq!(process(&mut filter, &frame(32_766, 0, 0)), None);
    let passed = (0..3).map(|spatial| process(&mut filter, &key_frame(32_767, spatial)).is_some());
    assert_eq!(passed.filter(|passed| *passed).count(), usize::from(target.spatial) + 1);
    filter
}

#[test]
fn the_marker_ends_the_highest_layer_sent() {
    let mut filter = started(false, layers(1, 0));
    assert_eq!(
        [0, 1, 2].map(|spatial| process(&mut filter, &frame(0, spatial, 0))),
        [Some(false), Some(true), None]
    );
    assert_eq!(filter.current(), Some(layers(1, 0)));
}

#[test]
fn up_with_key_frames_down_at_once() {
    let mut filter = started(false, layers(1, 0));
    filter.set_target(layers(2, 0));
    assert_eq!(process(&mut filter, &frame(0, 2, 0)), None);
    assert_eq!(
        [0, 1, 2].map(|spatial| process(&mut filter, &key_frame(1, spatial))),
        [Some(false), Some(false), Some(true)]
    );
    filter.set_target(layers(0, 0));
    // From the end of the lower frame on; its marker tells the receiver.
    assert_eq!(
        [0, 1].map(|spatial| process(&mut filter, &frame(2, spatial, 0))),
        [Some(true), None]
    );
    assert_eq!(filter.current(), Some(layers(0, 0)));
}

#[test]
fn k_svc_sends_lower_layers_in_key_frames_only_and_switches_there() {
    let mut filter = started(true, layers(2, 0));
    assert_eq!(
        [0, 1, 2].map(|spatial| process(&mut filter, &frame(0, spatial, 0))),
        [None, None, Some(true)]
    );
    filter.set_target(layers(1, 0));
    assert_eq!(process(&mut filter, &frame(1, 2, 0)), Some(true));
    assert_eq!(
        [0, 1, 2].map(|spatial| process(&mut filter, &key_frame(2, spatial))),
        [Some(false), Some(true), None]
    );
}

#[test]
fn a_key_picture_is_entered_with_whichever_packet_of_it_comes_first() {
    for first in 0..3 {
        let mut filter = started(false, layers(0, 0));
        filter.set_target(layers(2, 0));
        assert_eq!(process(&mut filter, &frame(0, 0, 0)), Some(true));
        assert_eq!(process(&mut filter, &frame(0, 2, 0)), None);
        for spatial in [first, (first + 1) % 3, (first + 2) % 3] {
            // The first packet of the lowest layer is still to come.
            let packet = Descriptor {
                start: false,
                is_key_frame: false,
                ..key_frame(1, spatial)
            };
            assert_eq!(process(&mut filter, &packet), Some(spatial == 2), "{first} {spatial}");
        }
        assert_eq!(process(&mut filter, &frame(2, 2, 0)), Some(true));
        // Above what is wanted.
        filter.set_target(layers(0, 0));
        assert_eq!(process(&mut filter, &frame(3, 0, 0)), Some(true));
        filter.set_target(layers(1, 0));
        assert_eq!(process(&mut filter, &key_frame(4, 2)), None);
        assert_eq!(process(&mut filter, &key_frame(4, 1)), Some(true));
    }
}

#[test]
fn a_layer_is_entered_where_it_is_predicted_from_the_one_below_only() {
    let alone = |picture_id, spatial| Descriptor {
        inter_predicted: false,
        ..frame(picture_id, spatial, 0)
    };
    let mut filter = started(false, layers(0, 0));
    filter.set_target(layers(2, 0));
    assert_eq!(process(&mut filter, &frame(0, 0, 0)), Some(true));
    assert_eq!(process(&mut filter, &frame(0, 1, 0)), None);
    // It needs the layer between, of which earlier frames were left out.
    assert_eq!(process(&mut filter, &alone(0, 2)), None);
    assert_eq!(process(&mut filter, &frame(1, 0, 0)), Some(true));
    assert_eq!(process(&mut filter, &alone(1, 1)), Some(true));
    assert_eq!(process(&mut filter, &frame(1, 2, 0)), None);
    assert_eq!(filter.current(), Some(layers(1, 0)));
}

#[test]
fn a_picture_of_which_layers_were_left_out_is_not_entered() {
    let mut filter = started(false, layers(0, 0));
    assert_eq!(process(&mut filter, &key_frame(0, 1)), None);
    filter.set_target(layers(2, 0));
    assert_eq!(process(&mut filter, &key_frame(0, 0)), Some(true));
    assert_eq!(process(&mut filter, &key_frame(0, 2)), None);
    // Those above what is wanted do not matter.
    filter.set_target(layers(1, 0));
    assert_eq!(process(&mut filter, &key_frame(1, 2)), None);
    assert_eq!(process(&mut filter, &key_frame(1, 0)), Some(false));
    assert_eq!(filter.current(), Some(layers(1, 0)));
}

#[test]
fn k_svc_goes_down_with_whichever_packet_of_a_key_picture_comes_first_but_not_within_it() {
    let mut filter = started(true, layers(2, 0));
    filter.set_target(layers(1, 0));
    assert_eq!(process(&mut filter, &key_frame(0, 2)), None);
    assert_eq!(process(&mut filter, &frame(1, 2, 0)), None);
    assert_eq!(process(&mut filter, &frame(1, 1, 0)), Some(true));
    assert_eq!(process(&mut filter, &key_frame(0, 0)), Some(false));
    let mut filter = started(true, layers(2, 0));
    assert_eq!(process(&mut filter, &key_frame(0, 0)), Some(false));
    filter.set_target(layers(1, 0));
    assert_eq!(process(&mut filter, &key_frame(0, 2)), Some(true));
    assert_eq!(process(&mut filter, &frame(1, 2, 0)), Some(true));
}

#[test]
fn temporal_layers_are_entered_at_switching_points_and_left_at_the_lower_layer() {
    let mut filter = started(false, layers(0, 0));
    filter.set_target(layers(0, 2));
    let no_point = |picture_id, temporal| Descriptor {
        switching_up: false,
        ..frame(picture_id, 0, temporal)
    };
    let mut late = started(false, layers(0, 0));
    // Nothing has been left out since the key frame.
    late.set_target(layers(0, 2));
    assert_eq!(process(&mut late, &no_point(0, 2)), Some(true));
    // A frame of a higher layer says nothing about itself: it may need others of its layer or of those below.
    filter.set_target(layers(0, 0));
    assert_eq!(process(&mut filter, &frame(0, 0, 1)), None);
    filter.set_target(layers(0, 2));
    assert_eq!(process(&mut filter, &frame(0, 0, 2)), None);
    assert_eq!(process(&mut filter, &no_point(1, 0)), Some(true));
    assert_eq!(process(&mut filter, &frame(1, 0, 1)), None);
    assert_eq!(process(&mut filter, &frame(2, 0, 0)), Some(true));
    assert_eq!(filter.current(), Some(layers(0, 0)));
    assert_eq!(process(&mut filter, &no_point(2, 2)), Some(true));
    assert_eq!(filter.current(), Some(layers(0, 2)));
    filter.set_target(layers(0, 0));
    assert_eq!(process(&mut filter, &frame(3, 0, 1)), Some(true));
    assert_eq!(process(&mut filter, &frame(4, 0, 0)), Some(true));
    assert_eq!(process(&mut filter, &frame(5, 0, 1)), None);
}

#[test]
fn a_late_picture_that_a_newer_one_needs_is_not_left_out() {
    // Overtaken by the first of its temporal layer or of one above.
    let mut filter = started(false, layers(0, 2));
    assert_eq!(process(&mut filter, &frame(2, 0, 2)), Some(true));
    assert_eq!(process(&mut filter, &frame(1, 0, 1)), Some(true));
    // The same after the target was raised, but not of pictures from before the last one that was left out.
    let mut filter = started(false, layers(0, 0));
    assert_eq!(process(&mut filter, &frame(0, 0, 0)), Some(true));
    filter.set_target(layers(0, 2));
    assert_eq!(process(&mut filter, &frame(2, 0, 2)), Some(true));
    assert_eq!(process(&mut filter, &frame(1, 0, 1)), Some(true));
    let mut filter = started(false, layers(0, 0));
    assert_eq!(process(&mut filter, &frame(1, 0, 1)), None);
    filter.set_target(layers(0, 2));
    assert_eq!(process(&mut filter, &frame(3, 0, 0)), Some(true));
    assert_eq!(process(&mut filter, &frame(2, 0, 2)), None);
    assert_eq!(process(&mut filter, &frame(4, 0, 2)), Some(true));
}

#[test]
fn late_packets_are_judged_by_the_layers_of_their_time() {
    let mut filter = started(false, layers(2, 0));
    assert!(process(&mut filter, &frame(3, 2, 0)).is_some());
    filter.set_target(layers(0, 0));
    assert!(process(&mut filter, &frame(4, 0, 0)).is_some());
    assert!(process(&mut filter, &frame(5, 0, 0)).is_some());
    assert_eq!(process(&mut filter, &frame(2, 2, 0)), Some(true));
    assert_eq!(process(&mut filter, &frame(4, 1, 0)), None);
    // Before the first key frame.
    assert_eq!(process(&mut filter, &frame(32_700, 0, 0)), None);
    assert_eq!(filter.current(), Some(layers(0, 0)));
}

#[test]
fn picture_ids_of_both_sizes_may_wrap_for_ever() {
    for (bits, long) in [(7_u32, false), (15, true)] {
        let mut filter = started(false, layers(1, 1));
        filter.begin();
        let of = |descriptor: Descriptor, count: u32| Descriptor {
            picture_id: Some((count & ((1 << bits) - 1)) as u16),
            long_picture_id: long,
            ..descriptor
        };
        assert!(process(&mut filter, &of(key_frame(0, 0), 0)).is_some());
        for count in 1..200_000 {
            assert!(
                process(&mut filter, &of(frame(0, 0, 0), count)).is_some(),
                "{bits} {count}"
            );
            assert!(process(&mut filter, &of(frame(0, 2, 0), count)).is_none());
            if count > 20 {
                assert!(
                    process(&mut filter, &of(frame(0, 1, 0), count - 20)).is_some(),
                    "{bits} {count}"
                );
            }
        }
        assert!(filter.changes.len() <= MAX_CHANGES);
    }
}

#[test]
fn frame_numbers_of_16_bits_may_wrap_for_ever() {
    let mut filter = SvcLayers::new(2, 1, false);
    filter.set_target(layers(0, 0));
    let packet = |count: u32, spatial| LayerPacket {
        picture: Some((count as u16, 16)),
        is_key_frame: count == 0,
        ..LayerPacket::from(&frame(0, spatial, 0))
    };
    for count in 0..200_000 {
        let spatial = (count % 2) as u8;
        assert_eq!(
            filter.process(&packet(count, spatial)).is_some(),
            spatial == 0,
            "{count}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn nothing_panics(steps: Vec<(u16, u8, bool, u8, u8)>, k_svc: bool) {
        let mut filter = SvcLayers::new(3, 3, k_svc);
        for (picture_id, layer, long, flags, target) in steps {
            filter.set_target(layers(target & 3, target >> 2 & 3));
            process(&mut filter, &Descriptor {
                picture_id: (flags & 1 != 0).then_some(picture_id & if long { 0x7fff } else { 0x7f }),
                long_picture_id: long,
                inter_predicted: flags & 2 != 0,
                is_key_frame: flags & 4 != 0,
                start: flags & 8 != 0,
                end: flags & 16 != 0,
                ..frame(0, layer & 3, layer >> 2 & 3)
            });
            proptest::prop_assert!(filter.changes.len() <= MAX_CHANGES);
        }
    }
}
