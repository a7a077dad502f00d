//! Payload descriptors against writers that follow the RFCs field by field.

use proptest::prelude::*;

use super::frame_marking::FrameMarking;
use super::{h264, vp8, vp9};

/// A picture id: its value and whether it is written with 15 bits.
fn picture_id() -> impl Strategy<Value = Option<(u16, bool)>> {
    prop::option::of((0..0x8000_u16, any::<bool>()).prop_map(|(id, long)| (if long { id } else { id & 0x7f }, long)))
}

fn put_picture_id(out: &mut Vec<u8>, id: Option<(u16, bool)>) {
    match id {
        Some((id, true)) => out.extend((id | 0x8000).to_be_bytes()),
        Some((id, false)) => out.push(id as u8),
        None => {}
    }
}

fn bit(set: bool, at: u8) -> u8 {
    u8::from(set) << at
}

proptest! {
    /// RFC 7741 4.2.
    #[test]
    fn vp8(
        (start, partition, non_reference) in (any::<bool>(), 0..8_u8, any::<bool>()),
        id in picture_id(),
        tl0 in prop::option::of(any::<u8>()),
        temporal in prop::option::of((0..4_u8, any::<bool>())),
        key_index in prop::option::of(0..32_u8),
        (key, tail) in (any::<bool>(), prop::collection::vec(any::<u8>(), 0..4)),
    ) {
        let extended = id.is_some() || tl0.is_some() || temporal.is_some() || key_index.is_some();
        let mut out = vec![bit(extended, 7) | bit(non_reference, 5) | bit(start, 4) | partition];
        if extended {
            out.push(bit(id.is_some(), 7) | bit(tl0.is_some(), 6) | bit(temporal.is_some(), 5) | bit(key_index.is_some(), 4));
        }
        put_picture_id(&mut out, id);
        out.extend(tl0);
        if temporal.is_some() || key_index.is_some() {
            let (layer, sync) = temporal.unwrap_or_default();
            out.push(layer << 6 | bit(sync, 5) | key_index.unwrap_or_default());
        }
        let length = out.len();
        for end in 0..=length {
            prop_assert_eq!(vp8::Descriptor::parse(&out[..end]), None);
        }
        out.push(0x40 | bit(!key, 0));
        out.extend(tail);
        let expected = vp8::Descriptor {
            picture_id: id.map(|(id, _)| id),
            long_picture_id: id.is_some_and(|(_, long)| long),
            tl0_picture_index: tl0,
            temporal_layer: temporal.map(|(layer, _)| layer),
            layer_sync: temporal.is_some_and(|(_, sync)| sync),
            key_index,
            start,
            partition,
            non_reference,
            length,
            is_key_frame: start && partition == 0 && key,
        };
        prop_assert_eq!(vp8::Descriptor::parse(&out), Some(expected));
    }

    /// RFC 9628 4.2.
    #[test]
    fn vp9(
        id in picture_id(),
        (inter_predicted, flexible, start, end) in any::<(bool, bool, bool, bool)>(),
        (has_scalability, not_reference) in any::<(bool, bool)>(),
        layers in prop::option::of((0..8_u8, any::<bool>(), 0..8_u8, any::<bool>(), any::<u8>())),
        tail in prop::collection::vec(any::<u8>(), 1..4),
    ) {
        let flags = [id.is_some(), inter_predicted, layers.is_some(), flexible, start, end, has_scalability, not_reference];
        let mut out = vec![flags.iter().fold(0, |byte, flag| byte << 1 | u8::from(*flag))];
        put_picture_id(&mut out, id);
        if let Some((temporal, switching_up, spatial, inter_layer, tl0)) = layers {
            out.push(temporal << 5 | bit(switching_up, 4) | spatial << 1 | bit(inter_layer, 0));
            if !flexible {
                out.push(tl0);
            }
        }
        for end in 0..=out.len() {
            prop_assert_eq!(vp9::Descriptor::parse(&out[..end]), None);
        }
        out.extend(tail);
        let expected = vp9::Descriptor {
            picture_id: id.map(|(id, _)| id),
            long_picture_id: id.is_some_and(|(_, long)| long),
            inter_predicted,
            flexible,
            start,
            end,
            has_scalability,
            not_reference,
            spatial_layer: layers.map(|(_, _, spatial, _, _)| spatial),
            temporal_layer: layers.map(|(temporal, ..)| temporal),
            switching_up: layers.is_some_and(|(_, switching_up, ..)| switching_up),
            inter_layer: layers.is_some_and(|(_, _, _, inter_layer, _)| inter_layer),
            tl0_picture_index: layers.map(|(.., tl0)| tl0).filter(|_| !flexible),
            is_key_frame: !inter_predicted && start && layers.is_none_or(|(_, _, spatial, _, _)| spatial == 0),
        };
        prop_assert_eq!(vp9::Descriptor::parse(&out), Some(expected));
    }

    /// RFC 6184 5.7.1: units of any types and sizes in one packet.
    #[test]
    fn h264_aggregates(units in prop::collection::vec((0..24_u8, prop::collection::vec(any::<u8>(), 0..20)), 1..8), cut in 0..10_usize) {
        let mut out = vec![0x78];
        let mut whole = Vec::new();
        for (kind, body) in &units {
            out.extend((body.len() as u16 + 1).to_be_bytes());
            out.push(0x60 | kind);
            out.extend(body);
            whole.push(out.len());
        }
        let length = out.len() - cut.min(out.len() - 1);
        let fits = units.iter().zip(&whole).filter(|(_, end)| **end <= length);
        let has_sps = fits.map(|((kind, _), _)| *kind).any(|kind| kind == 7);
        prop_assert_eq!(h264::is_key_frame(&out[..length]), has_sps);
    }

    /// RFC 6184 5.6 and 5.8: single units and the first and other fragments of one.
    #[test]
    fn h264_units(kind in 0..24_u8, start: bool, body in prop::collection::vec(any::<u8>(), 1..9)) {
        let mut single = vec![0x60 | kind];
        single.extend(&body);
        prop_assert_eq!(h264::is_key_frame(&single), kind == 7);
        let mut fragment = vec![0x7c, bit(start, 7) | kind];
        fragment.extend(&body);
        prop_assert_eq!(h264::is_key_frame(&fragment), start && kind == 7);
    }

    /// draft-ietf-avtext-framemarking 3.1 and 3.2.
    #[test]
    fn frame_markings(flags: [bool; 5], temporal_layer in 0..8_u8, rest in prop::collection::vec(any::<u8>(), 0..3)) {
        let [start, end, independent, discardable, base_layer_sync] = flags;
        let scalable = !rest.is_empty();
        let mut value = vec![flags.iter().fold(0, |byte, flag| byte << 1 | u8::from(*flag)) << 3 | temporal_layer];
        value.extend(rest);
        let expected = FrameMarking {
            start,
            end,
            independent,
            discardable,
            base_layer_sync: base_layer_sync && scalable,
            temporal_layer: if scalable { temporal_layer } else { 0 },
        };
        prop_assert_eq!(FrameMarking::read(&value), Some(expected));
    }
}
