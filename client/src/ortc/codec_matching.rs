//! Whether two codecs are the same, as far as forwarding between them is concerned.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use channel_proto::rtp_parameters::{ParameterValue, RtpCodecParameters};

use super::h264_profile::ProfileLevelId;
use crate::rtp_capabilities::RtpCodecCapability;

pub(super) const PROFILE_LEVEL_ID: &str = "profile-level-id";

/// What capabilities and parameters of codecs have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codec<'a> {
    mime_type: &'a str,
    clock_rate: u32,
    channels: Option<u8>,
    parameters: &'a BTreeMap<String, ParameterValue>,
}

impl<'a> From<&'a RtpCodecCapability> for Codec<'a> {
    fn from(codec: &'a RtpCodecCapability) -> Self {
        Self::new(&codec.mime_type, codec.clock_rate, codec.channels, &codec.parameters)
    }
}

impl<'a> From<&'a RtpCodecParameters> for Codec<'a> {
    fn from(codec: &'a RtpCodecParameters) -> Self {
        Self::new(&codec.mime_type, codec.clock_rate, codec.channels, &codec.parameters)
    }
}

impl<'a> Codec<'a> {
    fn new(
        mime_type: &'a str,
        clock_rate: u32,
        channels: Option<u8>,
        parameters: &'a BTreeMap<String, ParameterValue>,
    ) -> Self {
        // Audio without a number of channels is mono; video has none whatever is written.
        let channels = super::is_audio(mime_type).then(|| channels.unwrap_or(1));
        Self {
            mime_type,
            clock_rate,
            channels,
            parameters,
        }
    }

    fn is(self, mime_type: &str) -> bool {
        self.mime_type.eq_ignore_ascii_case(mime_type)
    }

    fn is_h264(self) -> bool {
        self.is("video/h264") || self.is("video/h264-svc")
    }

    /// A number, also if it is spelled as text; 0 if it is not there.
    fn number(self, name: &str) -> ParameterValue {
        match self.parameters.get(name) {
            None => ParameterValue::Integer(0),
            Some(ParameterValue::String(text)) if text.is_empty() => ParameterValue::Integer(0),
            Some(ParameterValue::String(text)) => text
                .parse()
                .map_or_else(|_| ParameterValue::String(text.clone()), ParameterValue::Integer),
            Some(value) => value.clone(),
        }
    }

    /// `None` if it is there and makes no sense.
    fn profile_level_id(self) -> Option<ProfileLevelId> {
        match self.parameters.get(PROFILE_LEVEL_ID) {
            None => Some(ProfileLevelId::default()),
            Some(ParameterValue::String(text)) if text.is_empty() => Some(ProfileLevelId::default()),
            Some(ParameterValue::String(text)) => ProfileLevelId::parse(text),
            // Parsers of SDP may have taken six decimal digits for a number.
            Some(ParameterValue::Integer(number)) => ProfileLevelId::parse(&number.to_string()),
            Some(_) => None,
        }
    }
}

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Name, clock and channels.
    Loose,
    /// Also what makes bitstreams of one codec incompatible.
    Strict,
}

/// A match, with what the first codec's `profile-level-id` becomes by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match {
    /// There is nothing to negotiate.
    Plain,
    /// The negotiated value; none if the parameter has to go.
    ProfileLevelId(Option<String>),
}

/// Compares two codecs; `ours` is the one that would take over a negotiated value.
pub(super) fn match_codecs<'a>(
    ours: impl Into<Codec<'a>>,
    theirs: impl Into<Codec<'a>>,
    strictness: Strictness,
) -> Option<Match> {
    let (ours, theirs) = (ours.into(), theirs.into());
    if !ours.is(theirs.mime_type) || ours.clock_rate != theirs.clock_rate || ours.channels != theirs.channels {
        return None;
    }
    if ours.is("audio/multiopus") {
        let same = |name| ours.parameters.get(name) == theirs.parameters.get(name);
        if !same("num_streams") || !same("coupled_streams") {
            return None;
        }
    }
    if strictness == Strictness::Loose {
        return Some(Match::Plain);
    }
    if ours.is("video/vp9") && ours.number("profile-id") != theirs.number("profile-id") {
        return None;
    }
    // What is not given is the main profile (AV1 RTP specification 7.2); tier and level do not matter.
    if ours.is("video/av1") && ours.number("profile") != theirs.number("profile") {
        return None;
    }
    if ours.is_h264() {
        if ours.number("packetization-mode") != theirs.number("packetization-mode") {
            return None;
        }
        return negotiate_h264(ours, theirs).map(Match::ProfileLevelId);
    }
    Some(Match::Plain)
}

fn negotiate_h264(ours: Codec<'_>, theirs: Codec<'_>) -> Option<Option<String>> {
    let (our_id, their_id) = (ours.profile_level_id()?, theirs.profile_level_id()?);
    if our_id.profile != their_id.profile {
        return None;
    }
    if !ours.parameters.contains_key(PROFILE_LEVEL_ID) && !theirs.parameters.contains_key(PROFILE_LEVEL_ID) {
        return Some(None);
    }
    let asymmetric = |codec: Codec<'_>| codec.number("level-asymmetry-allowed") == ParameterValue::Integer(1);
    let level = match our_id.level.cmp(&their_id.level) {
        Ordering::Greater if !(asymmetric(ours) && asymmetric(theirs)) => their_id.level,
        _ => our_id.level,
    };
    Some(
        ProfileLevelId {
            profile: our_id.profile,
            level,
        }
        .spelled(),
    )
}
