//! Which directives a sender may be asked to follow: what is no number, or no layer, would stop its encoder.

use super::MAX_NAME;
use crate::control::ControlError;
use sfu_proto::v1::{AudioDirective, EncoderDirective, EncodingDirective, FrameClass, ParityDirective};
use sfu_room::Publication;
use sfu_rtc::ids::Rid;
use sfu_rtc::media::MediaKind;

/// Bits per second of video: from a picture now and then to more than any network of a sender takes.
const BITRATES: (f64, f64) = (1_000.0, 1e9);
const FRAMERATES: (f64, f64) = (1.0, 240.0);
/// Of the factor by which a picture is scaled down: a browser throws where it is less than 1 (WebRTC section 5.2.5).
const SCALES: (f64, f64) = (1.0, 64.0);
const FEC_RATIOS: (f64, f64) = (0.0, 1.0);
/// Of one block, as `sfu_rtc::fec` bounds it.
const PARITY_PACKETS: (f64, f64) = (1.0, 48.0);
const PARITY_FRAMES: (f64, f64) = (1.0, 5.0);
/// Of Opus (RFC 6716 section 2.1.1, RFC 7587 section 6.1).
const AUDIO_BITRATES: (f64, f64) = (6_000.0, 510_000.0);
const PACKET_TIMES: (f64, f64) = (3.0, 120.0);

/// Refuses a directive that the sender of `publication` cannot follow, and names the field.
pub(super) fn check(directive: &EncoderDirective, publication: &Publication) -> Result<(), ControlError> {
    let (count, layers) = (directive.encodings.len(), publication.rids.len().max(1));
    if count > layers {
        return Err(wrong("encodings", format!("has {count} entries; the publication has {layers}")));
    }
    for (at, encoding) in directive.encodings.iter().enumerate() {
        check_rid(&format!("encodings[{at}].rid"), &encoding.rid, &publication.rids)?;
        if directive.encodings[..at].iter().any(|earlier| earlier.rid == encoding.rid) {
            return Err(wrong(&format!("encodings[{at}].rid"), format!("`{}` is there twice", encoding.rid)));
        }
        check_encoding(&format!("encodings[{at}]"), encoding)?;
    }
    within("fecRatio", directive.fec_ratio, FEC_RATIOS)?;
    check_name("codec", &directive.codec, "-._+")?;
    check_parity(&directive.parity, publication.kind)?;
    directive.audio.as_ref().map_or(Ok(()), |audio| check_audio(audio, publication.kind))
}

fn check_rid(field: &str, rid: &str, layers: &[Rid]) -> Result<(), ControlError> {
    if layers.is_empty() && rid.is_empty() || layers.iter().any(|layer| layer.as_str() == rid) {
        return Ok(());
    }
    let names: Vec<&str> = layers.iter().map(Rid::as_str).collect();
    let known = if names.is_empty() { "it has only one, without a name".into() } else { names.join(", ") };
    Err(wrong(field, format!("`{rid}` is no layer of the publication: {known}")))
}

fn check_encoding(field: &str, encoding: &EncodingDirective) -> Result<(), ControlError> {
    within(&format!("{field}.maxBitrateBps"), encoding.max_bitrate_bps as f64, BITRATES)?;
    within(&format!("{field}.maxFramerate"), encoding.max_framerate, FRAMERATES)?;
    within(&format!("{field}.scaleResolutionDownBy"), encoding.scale_resolution_down_by, SCALES)?;
    check_name(&format!("{field}.scalabilityMode"), &encoding.scalability_mode, "_")
}

fn check_audio(audio: &AudioDirective, kind: MediaKind) -> Result<(), ControlError> {
    if kind == MediaKind::Video {
        return Err(wrong("audio", "is for a publication of audio, and this is one of video".into()));
    }
    within("audio.bitrateBps", audio.bitrate_bps, AUDIO_BITRATES)?;
    within("audio.packetTimeMs", audio.packet_time_ms, PACKET_TIMES)
}

fn check_parity(parity: &[ParityDirective], kind: MediaKind) -> Result<(), ControlError> {
    if kind == MediaKind::Audio && !parity.is_empty() {
        return Err(wrong("parity", "is for a publication of video, and this is one of audio".into()));
    }
    for (at, entry) in parity.iter().enumerate() {
        let field = |name: &str| format!("parity[{at}].{name}");
        if entry.frame_class() == FrameClass::Unspecified {
            return Err(wrong(&field("frameClass"), "is no class of frames".into()));
        }
        if parity[..at].iter().any(|earlier| earlier.frame_class == entry.frame_class) {
            return Err(wrong(&field("frameClass"), "is there twice".into()));
        }
        within(&field("packets"), entry.packets, PARITY_PACKETS)?;
        within(&field("frames"), entry.frames, PARITY_FRAMES)?;
    }
    Ok(())
}

/// In all fields 0 leaves things to the client. NaN is in no range.
fn within(field: &str, value: impl Into<f64>, (least, most): (f64, f64)) -> Result<(), ControlError> {
    let value = value.into();
    if value == 0.0 || (least..=most).contains(&value) {
        return Ok(());
    }
    Err(wrong(field, format!("is {value}; it must be 0 or from {least} to {most}")))
}

/// Letters, digits and `others`; empty leaves things to the client.
fn check_name(field: &str, name: &str, others: &str) -> Result<(), ControlError> {
    if name.len() <= MAX_NAME && name.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c)) {
        return Ok(());
    }
    Err(wrong(field, format!("has at most {MAX_NAME} characters: letters, digits and any of `{others}`")))
}

fn wrong(field: &str, what: String) -> ControlError {
    ControlError::bad_message(format!("{field} {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_core::ids::PublicationId;
    use sfu_room::Source;
    use sfu_rtc::ids::Mid;

    fn publication(kind: MediaKind, rids: &[&str]) -> Publication {
        Publication {
            id: PublicationId(1),
            mid: Mid::new("0").unwrap(),
            kind,
            source: Source::Camera,
            label: String::new(),
            muted: false,
            codec: None,
            rids: rids.iter().map(|rid| Rid::new(rid).unwrap()).collect(),
        }
    }

    /// Why a directive, as it is posted, is refused.
    fn refusal(publication: &Publication, directive: &str) -> Option<String> {
        let directive: EncoderDirective = serde_json::from_str(directive).unwrap();
        check(&directive, publication).err().map(|error| error.message)
    }

    #[test]
    fn what_senders_can_do_passes() {
        let simulcast = publication(MediaKind::Video, &["q", "h", "f"]);
        let sound = publication(MediaKind::Audio, &[]);
        for directive in [
            "{}",
            r#"{"encodings":[{"rid":"f"},{"rid":"q","active":true,"maxBitrateBps":"150000","maxFramerate":7.5}]}"#,
            r#"{"encodings":[{"rid":"h","scaleResolutionDownBy":1,"scalabilityMode":"L3T3_KEY_SHIFT"}]}"#,
            r#"{"codec":"AV1","fecRatio":1}"#,
            r#"{"parity":[{"frameClass":"FRAME_CLASS_KEY","packets":48,"frames":1},{"frameClass":2,"packets":2}]}"#,
        ] {
            assert_eq!(refusal(&simulcast, directive), None, "{directive}");
        }
        let directive = r#"{"encodings":[{"active":true}],"audio":{"bitrateBps":24000,"fec":true,"packetTimeMs":60}}"#;
        assert_eq!(refusal(&sound, directive), None);
        assert_eq!(refusal(&publication(MediaKind::Video, &[]), r#"{"encodings":[{"maxFramerate":15}]}"#), None);
    }

    #[test]
    fn a_refusal_names_the_field() {
        let simulcast = publication(MediaKind::Video, &["q", "h", "f"]);
        let second = |fields: &str| format!(r#"{{"encodings":[{{"rid":"q"}},{{"rid":"h",{fields}}}]}}"#);
        let many = format!(r#"{{"encodings":[{}]}}"#, vec![r#"{"rid":"q"}"#; 2_000].join(","));
        for (directive, field) in [
            (second(r#""scaleResolutionDownBy":"NaN""#), "encodings[1].scaleResolutionDownBy"),
            (second(r#""scaleResolutionDownBy":"Infinity""#), "encodings[1].scaleResolutionDownBy"),
            (second(r#""scaleResolutionDownBy":-5"#), "encodings[1].scaleResolutionDownBy"),
            (second(r#""scaleResolutionDownBy":0.5"#), "encodings[1].scaleResolutionDownBy"),
            (second(r#""maxFramerate":"NaN""#), "encodings[1].maxFramerate"),
            (second(r#""maxFramerate":-1"#), "encodings[1].maxFramerate"),
            (second(r#""maxFramerate":1000"#), "encodings[1].maxFramerate"),
            (second(r#""maxBitrateBps":"18446744073709551615""#), "encodings[1].maxBitrateBps"),
            (second(r#""maxBitrateBps":1"#), "encodings[1].maxBitrateBps"),
            (second(r#""scalabilityMode":"L1 T1""#), "encodings[1].scalabilityMode"),
            (r#"{"encodings":[{"rid":"x"}]}"#.into(), "encodings[0].rid"),
            (r#"{"encodings":[{}]}"#.into(), "encodings[0].rid"),
            (r#"{"encodings":[{"rid":"q"},{"rid":"q"}]}"#.into(), "encodings[1].rid"),
            (many, "encodings "),
            (r#"{"fecRatio":"NaN"}"#.into(), "fecRatio"),
            (r#"{"fecRatio":-0.1}"#.into(), "fecRatio"),
            (r#"{"parity":[{"packets":1,"frames":1}]}"#.into(), "parity[0].frameClass"),
            (r#"{"parity":[{"frameClass":1,"packets":49}]}"#.into(), "parity[0].packets"),
            (r#"{"parity":[{"frameClass":1},{"frameClass":2,"frames":6}]}"#.into(), "parity[1].frames"),
            (r#"{"parity":[{"frameClass":1},{"frameClass":1}]}"#.into(), "parity[1].frameClass"),
            (format!(r#"{{"codec":"{}"}}"#, "V".repeat(33)), "codec"),
            (r#"{"audio":{}}"#.into(), "audio"),
        ] {
            let why = refusal(&simulcast, &directive).unwrap_or_default();
            assert!(why.starts_with(field), "{directive:.80}: {why}");
        }
        let sound = publication(MediaKind::Audio, &[]);
        for (directive, field) in [
            (r#"{"audio":{"bitrateBps":1}}"#, "audio.bitrateBps"),
            (r#"{"audio":{"packetTimeMs":121}}"#, "audio.packetTimeMs"),
            (r#"{"encodings":[{"rid":"q"}]}"#, "encodings[0].rid"),
            (r#"{"parity":[{"frameClass":1}]}"#, "parity"),
        ] {
            let why = refusal(&sound, directive).unwrap_or_default();
            assert!(why.starts_with(field), "{directive}: {why}");
        }
    }
}
