//! The dependency descriptor header extension (AV1 RTP specification, appendix A), as far as layers need it.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::svc_layers::{LayerPacket, Layers};
use super::{Details, PayloadDescriptor};

/// Templates have 6 bits of id.
const MAX_TEMPLATES: usize = 64;

/// Reads the descriptors of one stream; what they mean depends on the structure that its last key frame brought.
#[derive(Debug, Default)]
pub struct DependencyReader {
    structure: Option<Box<Structure>>,
}

/// The layers that frames refer to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Structure {
    first_template: u8,
    /// Decode targets.
    targets: u32,
    templates: Vec<Template>,
}

/// What frames of a kind have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Template {
    layer: Layers,
    /// How many frames back they refer at most; 0: to none.
    reach: u32,
}

impl DependencyReader {
    /// Reads the value of the extension of a packet. None: it says nothing of use; what was known before stays.
    pub fn read(&mut self, value: &[u8]) -> Option<PayloadDescriptor> {
        let (descriptor, structure) = self.parse(value)?;
        if let Some(structure) = structure {
            // Only a whole one takes the place of the one before.
            self.structure = Some(Box::new(structure));
        }
        Some(descriptor)
    }

    /// Reads the value of a packet that came before, but belongs to what came since; changes nothing.
    pub fn read_again(&self, value: &[u8]) -> Option<PayloadDescriptor> {
        self.parse(value).map(|(descriptor, _)| descriptor)
    }

    fn parse(&self, value: &[u8]) -> Option<(PayloadDescriptor, Option<Structure>)> {
        let mut bits = Bits::new(value);
        let (start, end) = (bits.flag()?, bits.flag()?);
        let template = bits.read(6)? as u8;
        let number = bits.read(16)? as u16;
        let mut flags = [false; 5];
        if value.len() > 3 {
            for flag in &mut flags {
                *flag = bits.flag()?;
            }
        }
        let [has_structure, has_active_targets, has_targets, has_references, _] = flags;
        let brought = if has_structure {
            Some(Structure::read(&mut bits)?)
        } else {
            None
        };
        let structure = brought.as_ref().or(self.structure.as_deref())?;
        let index = template.wrapping_sub(structure.first_template) & 0x3f;
        let Template { layer, mut reach } = *structure.templates.get(usize::from(index))?;
        if has_references {
            let targets = structure.targets * (u32::from(has_active_targets) + 2 * u32::from(has_targets));
            reach = bits.own_reach(targets).unwrap_or(u32::MAX);
        }
        let packet = LayerPacket {
            // Frames of a picture have consecutive numbers, from the lowest layer on.
            picture: Some((number.wrapping_sub(layer.spatial.into()), 16)),
            layer,
            start,
            end,
            is_key_frame: has_structure,
            inter_predicted: reach > layer.spatial.into(),
            // Whether a layer can be entered here is not told by what we read; the usual structures allow it.
            inter_layer: false,
            switching_up: true,
        };
        let descriptor = PayloadDescriptor {
            is_key_frame: has_structure,
            spatial_layer: layer.spatial,
            temporal_layer: layer.temporal,
            details: Details::Layered(packet),
        };
        Some((descriptor, brought))
    }
}

impl Structure {
    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let first_template = bits.read(6)? as u8;
        let targets = bits.read(5)? + 1;
        let mut templates = Vec::new();
        let mut layer = Layers {
            spatial: 0,
            temporal: 0,
        };
        loop {
            if templates.len() == MAX_TEMPLATES {
                return None;
            }
            templates.push(Template { layer, reach: 0 });
            match bits.read(2)? {
                0 => {}
                1 => layer.temporal += 1,
                2 => {
                    layer = Layers {
                        spatial: layer.spatial + 1,
                        temporal: 0,
                    }
                }
                _ => break,
            }
            // Of either there are at most four and eight by the specification.
            if layer.spatial > 3 || layer.temporal > 7 {
                return None;
            }
        }
        // Of what each decode target needs nothing is used here.
        for _ in 0..templates.len() as u32 * targets {
            bits.read(2)?;
        }
        for template in &mut templates {
            while bits.flag()? {
                template.reach = template.reach.max(bits.read(4)? + 1);
            }
        }
        // The rest is read for whether it is there.
        let chains = bits.non_symmetric(targets + 1)?;
        if chains > 0 {
            for _ in 0..targets {
                bits.non_symmetric(chains)?;
            }
            for _ in 0..templates.len() * chains as usize {
                bits.read(4)?;
            }
        }
        if bits.flag()? {
            for _ in 0..=layer.spatial {
                bits.read(32)?;
            }
        }
        Some(Self {
            first_template,
            targets,
            templates,
        })
    }
}

/// Bits from the highest on.
struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.position / 8)?;
        let flag = byte & (0x80 >> (self.position % 8)) != 0;
        self.position += 1;
        Some(flag)
    }

    /// A number of at most 32 bits.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    /// How many frames back a frame refers that differs from its template; `skipped` bits come before that.
    fn own_reach(&mut self, skipped: u32) -> Option<u32> {
        for _ in 0..skipped {
            self.flag()?;
        }
        let mut reach = 0;
        loop {
            match self.read(2)? {
                0 => return Some(reach),
                nibbles => reach = reach.max(self.read(4 * nibbles)? + 1),
            }
        }
    }

    /// A number below `limit` (AV1 specification 4.10.7).
    fn non_symmetric(&mut self, limit: u32) -> Option<u32> {
        let width = 32 - limit.leading_zeros();
        let short = (1 << width) - limit;
        let value = self.read(width.saturating_sub(1))?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.read(1)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes bits.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn put(&mut self, value: u32, count: u32) -> &mut Self {
            self.0.extend((0..count).rev().map(|bit| value >> bit & 1 != 0));
            self
        }

        fn bytes(&self) -> Vec<u8> {
            let byte = |bits: &[bool]| (0..8).fold(0, |byte, bit| byte << 1 | u8::from(bits.get(bit) == Some(&true)));
            self.0.chunks(8).map(byte).collect()
        }
    }

    /// A key frame of two spatial and two temporal layers, one template each, four decode targets, two chains.
    fn key_frame(first_template: u32) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.put(0b11, 2).put(first_template, 6).put(100, 16).put(0b10000, 5);
        writer.put(first_template, 6).put(3, 5);
        // Layers: 0:0, 0:1, 1:0, 1:1.
        writer.put(1, 2).put(2, 2).put(1, 2).put(3, 2);
        (0..16).for_each(|_| {
            writer.put(2, 2);
        });
        // Frame differences: none, one, none, two.
        writer
            .put(0, 1)
            .put(0b1_0001, 5)
            .put(0, 1)
            .put(0, 1)
            .put(0b1_0001, 5)
            .put(0b1_0011, 5)
            .put(0, 1);
        // Two chains of at most four: 2 in "ns(5)" is 10; each target by chain 0 of two.
        writer.put(0b10, 2).put(0, 4);
        writer.put(0, 32).put(1, 1);
        writer.put(639 << 16 | 359, 32).put(1279 << 16 | 719, 32);
        writer.bytes()
    }

    fn frame(template: u32, number: u32) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.put(0b01, 2).put(template, 6).put(number, 16);
        writer.bytes()
    }

    fn layer(reader: &mut DependencyReader, value: &[u8]) -> Option<(u8, u8, bool)> {
        let descriptor = reader.read(value)?;
        Some((
            descriptor.spatial_layer,
            descriptor.temporal_layer,
            descriptor.is_key_frame,
        ))
    }

    #[test]
    fn templates_give_layers() {
        let mut reader = DependencyReader::default();
        assert_eq!(layer(&mut reader, &frame(62, 1)), None);
        // Template ids wrap.
        assert_eq!(layer(&mut reader, &key_frame(62)), Some((0, 0, true)));
        let read = [62, 63, 0, 1, 2].map(|template| layer(&mut reader, &frame(template, 101)));
        let known = |spatial, temporal| Some((spatial, temporal, false));
        assert_eq!(read, [known(0, 0), known(0, 1), known(1, 0), known(1, 1), None]);
        let packet = packet(&reader, &frame(0, 102));
        assert!(packet.end && !packet.start);
    }

    fn packet(reader: &DependencyReader, value: &[u8]) -> LayerPacket {
        match reader.read_again(value).unwrap().details {
            Details::Layered(packet) => packet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn frames_of_a_picture_have_one_number_and_those_of_a_key_picture_refer_to_nothing_before_it() {
        let mut reader = DependencyReader::default();
        assert_eq!(reader.read_again(&frame(0, 101)), None);
        let whole = packet(&reader, &key_frame(0));
        assert!(whole.is_key_frame && !whole.inter_predicted);
        // Reading again leaves nothing behind.
        assert_eq!(reader.read_again(&frame(0, 101)), None);
        reader.read(&key_frame(0)).unwrap();
        let read = [(0, 100), (2, 101), (1, 102), (3, 103)].map(|(template, number)| {
            let packet = packet(&reader, &frame(template, number));
            (packet.picture.map(|(number, _)| number), packet.inter_predicted)
        });
        assert_eq!(
            read,
            [
                (Some(100), false),
                (Some(100), false),
                (Some(102), true),
                (Some(102), true)
            ]
        );
        // References of its own, behind the active ones of four decode targets and what it is for them: to the frame
        // before, and to that before the picture, or what it is like is cut off.
        let own = |reaches: &[u32]| {
            let mut writer = Writer::default();
            writer
                .put(0b01, 2)
                .put(2, 6)
                .put(101, 16)
                .put(0b01110, 5)
                .put(0b1111, 4)
                .put(0xaa, 8);
            for reach in reaches {
                writer.put(1, 2).put(reach - 1, 4);
            }
            writer.put(0, 2);
            packet(&reader, &writer.bytes()).inter_predicted
        };
        assert_eq!(
            [own(&[]), own(&[1]), own(&[2]), own(&[1, 2])],
            [false, false, true, true]
        );
        let mut cut = Writer::default();
        cut.put(0b01, 2).put(2, 6).put(101, 16).put(0b00010, 5).put(0b110, 3);
        assert!(packet(&reader, &cut.bytes()).inter_predicted);
    }

    #[test]
    fn a_structure_cut_short_does_not_replace_the_one_before() {
        let mut reader = DependencyReader::default();
        let whole = key_frame(10);
        reader.read(&whole).unwrap();
        for length in 0..whole.len() {
            let cut = reader.read(&key_frame(20)[..length]);
            assert!(cut.is_none(), "{length}");
        }
        assert_eq!(layer(&mut reader, &frame(13, 1)), Some((1, 1, false)));
    }

    proptest! {
        #[test]
        fn nothing_panics(values: Vec<Vec<u8>>) {
            let mut reader = DependencyReader::default();
            for value in values {
                reader.read(&value);
            }
        }

        #[test]
        fn non_symmetric_numbers(limit in 1..40_u32, value: u32) {
            let value = value % limit;
            let width = 32 - limit.leading_zeros();
            let short = (1 << width) - limit;
            let mut writer = Writer::default();
            if value < short { writer.put(value, width - 1); } else { writer.put(value + short, width); }
            prop_assert_eq!(Bits::new(&[writer.bytes(), vec![0]].concat()).non_symmetric(limit), Some(value));
        }
    }
}
