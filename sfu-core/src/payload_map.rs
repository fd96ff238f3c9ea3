//! Payload types of a publisher, as a subscriber knows them.

use arrayvec::ArrayVec;
use sfu_rtc::ids::PayloadType;
use sfu_rtc::media::{Codec, MediaSection, PayloadFormat};
use sfu_rtc::packet::PacketData;
use sfu_rtc::sdp::fmtp::{h264_mode, h264_profile, parameter};

/// Most formats mapped: browsers offer about a dozen with all profiles of H.264 and VP9.
const MAX_FORMATS: usize = 24;

/// What a payload type becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MappedFormat {
    input: PayloadType,
    /// Payload type of the media.
    pub(crate) media: PayloadType,
    /// Payload type of retransmissions.
    pub(crate) rtx: Option<PayloadType>,
}

/// From the payload types of one section to those of another.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct PayloadMap {
    formats: ArrayVec<MappedFormat, MAX_FORMATS>,
    /// The one used last: a stream rarely changes.
    last: usize,
    /// The subscriber asks for lost packets again.
    pub(crate) nack: bool,
    /// Redundant audio is not understood, but what it carries is.
    pub(crate) strips_red: bool,
    /// Redundant audio, where it and what it carries are understood.
    red: Option<RedFormat>,
}

/// Redundant audio (RFC 2198) as a subscriber knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct RedFormat {
    media: PayloadType,
    rtx: Option<PayloadType>,
    /// Payload type of its blocks.
    blocks: PayloadType,
}

/// In which form a subscriber wants audio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AudioForm {
    /// As its publisher sends it.
    AsSent,
    /// Plain: it understands nothing else.
    PlainOnly,
    /// With so many generations of redundancy, 0 for plain.
    Redundant(u8),
}

impl PayloadMap {
    /// Maps what comes on `publisher` to what `subscriber` understands.
    pub(crate) fn new(publisher: &[PayloadFormat], subscriber: &MediaSection) -> Self {
        let formats = publisher
            .iter()
            .filter_map(|from| {
                let to = counterpart(from, &subscriber.formats)?;
                Some(MappedFormat { input: from.payload_type, media: to.payload_type, rtx: to.rtx })
            })
            .take(MAX_FORMATS)
            .collect();
        let format_of = |codec| subscriber.formats.iter().find(|format| format.codec == codec);
        let red = format_of(Codec::OpusRed).zip(format_of(Codec::Opus)).map(|(red, opus)| RedFormat {
            media: red.payload_type,
            rtx: red.rtx,
            blocks: opus.payload_type,
        });
        let strips_red = format_of(Codec::OpusRed).is_none() && format_of(Codec::Opus).is_some();
        Self { formats, last: 0, nack: subscriber.nack, strips_red, red }
    }

    /// In which form the subscriber wants audio, where so many generations of redundancy were decided on.
    pub(crate) fn audio_form(&self, generations: Option<u8>) -> AudioForm {
        match generations {
            _ if self.strips_red => AudioForm::PlainOnly,
            Some(generations) if self.red.is_some() => AudioForm::Redundant(generations),
            _ => AudioForm::AsSent,
        }
    }

    /// Payload type of the blocks of redundant audio, where that is understood.
    pub(crate) fn red_blocks(&self) -> Option<PayloadType> {
        self.red.map(|red| red.blocks)
    }

    /// Whether the subscriber understands `input`.
    pub(crate) fn understands(&self, input: PayloadType) -> bool {
        self.formats.iter().any(|format| format.input == input)
    }

    /// Whether it understands nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.formats.is_empty()
    }

    /// What becomes of a packet; `None` where the subscriber does not understand it. Redundant audio may be of our making,
    /// and then has no payload type of its publisher.
    pub(crate) fn of(&mut self, packet: &PacketData) -> Option<MappedFormat> {
        match (packet.codec, self.red) {
            (Codec::OpusRed, Some(red)) => {
                Some(MappedFormat { input: packet.payload_type, media: red.media, rtx: red.rtx })
            }
            _ => self.get(packet.payload_type),
        }
    }

    /// What `input` becomes; `None` where the subscriber does not understand it.
    fn get(&mut self, input: PayloadType) -> Option<MappedFormat> {
        if let Some(format) = self.formats.get(self.last).filter(|format| format.input == input) {
            return Some(*format);
        }
        self.last = self.formats.iter().position(|format| format.input == input)?;
        Some(self.formats[self.last])
    }
}

/// Whether a subscriber who understands `offered` can play what is published in `format`.
pub fn is_playable(format: &PayloadFormat, offered: &[PayloadFormat]) -> bool {
    let strips_red = format.codec == Codec::OpusRed && offered.iter().any(|to| to.codec == Codec::Opus);
    strips_red || counterpart(format, offered).is_some()
}

/// The format that carries the same: of H.264, the same profile, or failing that the same packetization, since decoders
/// understand more profiles than they name.
fn counterpart<'a>(from: &PayloadFormat, formats: &'a [PayloadFormat]) -> Option<&'a PayloadFormat> {
    let same_codec = || formats.iter().filter(|to| to.codec == from.codec && to.clock_rate == from.clock_rate);
    same_codec().find(|to| profile(to) == profile(from)).or_else(|| match from.codec {
        Codec::H264 => same_codec().find(|to| h264_mode(&to.fmtp) == h264_mode(&from.fmtp)),
        _ => None,
    })
}

/// What distinguishes formats of one codec.
#[derive(PartialEq, Eq)]
enum Profile<'a> {
    H264 { profile: Option<[u8; 2]>, mode: Option<u8> },
    Named(&'a str),
}

fn profile(format: &PayloadFormat) -> Profile<'_> {
    let named = |name, default| Profile::Named(parameter(&format.fmtp, name).unwrap_or(default));
    match format.codec {
        Codec::H264 => Profile::H264 { profile: h264_profile(&format.fmtp), mode: h264_mode(&format.fmtp) },
        Codec::Vp9 => named("profile-id", "0"),
        Codec::H265 => named("profile-id", "1"),
        Codec::Av1 => named("profile", "0"),
        Codec::Vp8 | Codec::Opus | Codec::OpusRed => Profile::Named(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::section;
    use sfu_rtc::media::{Direction, MediaKind};

    fn format(payload_type: u8, codec: Codec, fmtp: &str) -> PayloadFormat {
        PayloadFormat {
            payload_type: PayloadType(payload_type),
            codec,
            clock_rate: 90_000,
            fmtp: fmtp.to_owned(),
            rtx: Some(PayloadType(payload_type + 1)),
        }
    }

    fn map(publisher: &[PayloadFormat], subscriber: Vec<PayloadFormat>) -> PayloadMap {
        let section = section("0", MediaKind::Video, Direction::Send);
        PayloadMap::new(
            publisher,
            &sfu_rtc::media::MediaSection { formats: std::sync::Arc::new(subscriber), ..section },
        )
    }

    #[test]
    fn formats_match_by_profile() {
        let publisher = [
            format(96, Codec::Vp8, ""),
            format(98, Codec::H264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
            format(100, Codec::Vp9, "profile-id=2"),
        ];
        let mut map = map(
            &publisher,
            vec![
                format(102, Codec::H264, "packetization-mode=0;profile-level-id=42e01f"),
                format(104, Codec::H264, "Packetization-Mode=1; profile-level-id=42E034"),
                format(106, Codec::Vp9, "profile-id=0"),
                format(108, Codec::Vp8, ""),
            ],
        );
        let mut media = |input| map.get(PayloadType(input)).map(|f| (f.media.0, f.rtx.map(|rtx| rtx.0)));
        assert_eq!(media(96), Some((108, Some(109))));
        assert_eq!(media(98), Some((104, Some(105))));
        assert_eq!(media(100), None);
        assert_eq!(media(96), Some((108, Some(109))));
    }

    #[test]
    fn h264_falls_back_to_the_same_packetization() {
        let publisher = [format(98, Codec::H264, "packetization-mode=1;profile-level-id=640c1f")];
        let subscriber = vec![
            format(102, Codec::H264, "profile-level-id=42e01f"),
            format(104, Codec::H264, "packetization-mode=1;profile-level-id=42e01f"),
        ];
        assert_eq!(map(&publisher, subscriber).get(PayloadType(98)).map(|f| f.media), Some(PayloadType(104)));
        let single_units = vec![format(102, Codec::H264, "profile-level-id=640c1f")];
        assert!(map(&publisher, single_units).get(PayloadType(98)).is_none(), "it could not read them");
    }

    #[test]
    fn playable_is_what_is_mapped() {
        let fragments = format(98, Codec::H264, "packetization-mode=1;profile-level-id=42e01f");
        let single_units = format(102, Codec::H264, "packetization-mode=0;profile-level-id=42e01f");
        assert!(!is_playable(&fragments, std::slice::from_ref(&single_units)));
        assert!(is_playable(&fragments, &[single_units, fragments.clone()]));
        let red = format(63, Codec::OpusRed, "111/111");
        assert!(is_playable(&red, &[format(109, Codec::Opus, "")]));
    }

    #[test]
    fn redundant_audio_is_stripped_for_those_who_do_not_know_it() {
        let publisher = [format(111, Codec::Opus, ""), format(63, Codec::OpusRed, "111/111")];
        assert!(map(&publisher, vec![format(109, Codec::Opus, "")]).strips_red);
        assert!(!map(&publisher, publisher.to_vec()).strips_red);
    }

    #[test]
    fn redundancy_is_for_those_who_know_both_whatever_the_publisher_knows() {
        let opus = format(111, Codec::Opus, "");
        let plain = map(std::slice::from_ref(&opus), vec![format(109, Codec::Opus, "")]);
        assert_eq!((plain.audio_form(None), plain.audio_form(Some(2))), (AudioForm::PlainOnly, AudioForm::PlainOnly));
        let knows = map(&[opus], vec![format(109, Codec::Opus, ""), format(120, Codec::OpusRed, "109/109")]);
        assert_eq!((knows.audio_form(None), knows.audio_form(Some(2))), (AudioForm::AsSent, AudioForm::Redundant(2)));
        assert_eq!(knows.red_blocks(), Some(PayloadType(109)));
    }
}
