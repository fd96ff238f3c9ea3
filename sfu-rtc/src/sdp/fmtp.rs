//! Format parameters (`a=fmtp`): `name=value;name=value`.

/// The value of parameter `name`, which is compared without regard to case.
pub(super) fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The `profile_idc` of H.264's profile-level-id (RFC 6184 section 8.1); without one, Baseline.
pub(super) fn h264_profile_idc(fmtp: &str) -> Option<u8> {
    const BASELINE: &str = "42000A";
    let id = parameter(fmtp, "profile-level-id").unwrap_or(BASELINE);
    let idc = (id.len() == 6).then(|| id.get(..2)).flatten()?;
    u8::from_str_radix(idc, 16).ok()
}

/// The packetization mode of H.264 (RFC 6184 section 8.1), 0 where none is named; `None` for the interleaved one, which
/// real-time media does not use.
pub(super) fn h264_mode(fmtp: &str) -> Option<u8> {
    match parameter(fmtp, "packetization-mode") {
        None | Some("0") => Some(0),
        Some("1") => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_by_name() {
        let fmtp = "level-asymmetry-allowed=1; Packetization-Mode=1;profile-level-id=64001f";
        assert_eq!(parameter(fmtp, "packetization-mode"), Some("1"));
        assert_eq!(parameter(fmtp, "mode"), None);
        assert_eq!(h264_profile_idc(fmtp), Some(0x64));
        assert_eq!(h264_profile_idc(""), Some(0x42));
        assert_eq!(h264_profile_idc("profile-level-id=é001f"), None);
        assert_eq!((h264_mode(fmtp), h264_mode("a=b"), h264_mode("packetization-mode=2")), (Some(1), Some(0), None));
    }
}
