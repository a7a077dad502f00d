//! The `profile-level-id` parameter of H264 (RFC 6184, 8.1).

use std::fmt;

/// Profiles that WebRTC endpoints use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Constrained Baseline.
    ConstrainedBaseline,
    /// Baseline.
    Baseline,
    /// Main.
    Main,
    /// Constrained High.
    ConstrainedHigh,
    /// High.
    High,
}

/// A level. The order of levels is that of what they demand: 1b lies between 1 and 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

impl Level {
    /// Level 3.1.
    pub const L3_1: Self = Self::numbered(31);
    /// Level 1b.
    pub const L1B: Self = Self(2 * 10 + 1);

    /// Twice the level number leaves room for 1b.
    const fn numbered(level_idc: u8) -> Self {
        Self(2 * level_idc)
    }

    /// The byte that carries it; 1b is told apart from 1.1 by a flag elsewhere.
    fn idc(self) -> u8 {
        if self == Self::L1B { 11 } else { self.0 / 2 }
    }
}

const LEVELS: [u8; 16] = [10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52];

/// What a byte of constraint flags must look like for a profile: the bits of `mask` must equal `value`.
const PATTERNS: [(u8, u8, u8, Profile); 8] = [
    (0x42, 0b0100_1111, 0b0100_0000, Profile::ConstrainedBaseline),
    (0x4d, 0b1000_1111, 0b1000_0000, Profile::ConstrainedBaseline),
    (0x58, 0b1100_1111, 0b1100_0000, Profile::ConstrainedBaseline),
    (0x42, 0b0100_1111, 0b0000_0000, Profile::Baseline),
    (0x58, 0b1100_1111, 0b1000_0000, Profile::Baseline),
    (0x4d, 0b1010_1111, 0b0000_0000, Profile::Main),
    (0x64, 0b1111_1111, 0b0000_0000, Profile::High),
    (0x64, 0b1111_1111, 0b0000_1100, Profile::ConstrainedHigh),
];

/// Constraint flag that makes level 1.1 level 1b.
const LEVEL_1B_FLAG: u8 = 0x10;

/// A profile with a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileLevelId {
    /// The profile.
    pub profile: Profile,
    /// The level.
    pub level: Level,
}

impl Default for ProfileLevelId {
    /// What a missing parameter stands for.
    fn default() -> Self {
        Self {
            profile: Profile::ConstrainedBaseline,
            level: Level::L3_1,
        }
    }
}

impl ProfileLevelId {
    /// Reads six hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 6 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let [_, idc, flags, level] = u32::from_str_radix(text, 16).ok()?.to_be_bytes();
        if !LEVELS.contains(&level) {
            return None;
        }
        let level = if level == 11 && flags & LEVEL_1B_FLAG != 0 {
            Level::L1B
        } else {
            Level::numbered(level)
        };
        PATTERNS
            .iter()
            .find(|(pattern_idc, mask, value, _)| idc == *pattern_idc && flags & mask == *value)
            .map(|&(.., profile)| Self { profile, level })
    }

    /// The canonical spelling; the High profiles have none at level 1b.
    pub fn spelled(self) -> Option<String> {
        if self.level == Level::L1B {
            let text = match self.profile {
                Profile::ConstrainedBaseline => "42f00b",
                Profile::Baseline => "42100b",
                Profile::Main => "4d100b",
                Profile::ConstrainedHigh | Profile::High => return None,
            };
            return Some(text.to_owned());
        }
        Some(format!("{}{:02x}", self.profile, self.level.idc()))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConstrainedBaseline => "42e0",
            Self::Baseline => "4200",
            Self::Main => "4d00",
            Self::ConstrainedHigh => "640c",
            Self::High => "6400",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_endpoints_send() {
        let cases = [
            ("42e01f", Profile::ConstrainedBaseline, Level::numbered(31)),
            ("42f00b", Profile::ConstrainedBaseline, Level::L1B),
            ("4d001f", Profile::Main, Level::numbered(31)),
            ("640c2a", Profile::ConstrainedHigh, Level::numbered(42)),
            ("58e01f", Profile::ConstrainedBaseline, Level::numbered(31)),
            ("58801f", Profile::Baseline, Level::numbered(31)),
            ("42E01F", Profile::ConstrainedBaseline, Level::numbered(31)),
            ("640032", Profile::High, Level::numbered(50)),
        ];
        for (text, profile, level) in cases {
            assert_eq!(
                ProfileLevelId::parse(text),
                Some(ProfileLevelId { profile, level }),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "000000", "42e0", "42e01g", "42e000", "640c0cff", "42e0ff", "", "42e01f0", "+2e01f", "éé01f",
        ] {
            assert_eq!(ProfileLevelId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn spelling_is_parsed_back() {
        for text in [
            "42e01f", "42001f", "4d0032", "640c1f", "640032", "42f00b", "42100b", "4d100b",
        ] {
            assert_eq!(ProfileLevelId::parse(text).unwrap().spelled().as_deref(), Some(text));
        }
        let no_spelling = ProfileLevelId {
            profile: Profile::High,
            level: Level::L1B,
        };
        assert_eq!(no_spelling.spelled(), None);
    }

    #[test]
    fn level_1b_lies_between_1_and_1_1() {
        assert!(Level::numbered(10) < Level::L1B);
        assert!(Level::L1B < Level::numbered(11));
        assert!(Level::L1B < Level::L3_1);
    }
}
