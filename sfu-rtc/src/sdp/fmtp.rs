//! Format parameters (`a=fmtp`): `name=value;name=value`.

/// The value of parameter `name`, which is compared without regard to case.
pub fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// H.264's profile (RFC 6184 section 8.1): `profile_idc` and the flags of what it is constrained to, without the level;
/// Baseline where none is named, `None` where what is named is no profile-level-id.
pub fn h264_profile(fmtp: &str) -> Option<[u8; 2]> {
    const BASELINE: &str = "42000A";
    let id = parameter(fmtp, "profile-level-id").unwrap_or(BASELINE);
    let id = (id.len() == 6).then(|| u32::from_str_radix(id, 16).ok()).flatten()?;
    let [_, idc, constraints, _level] = id.to_be_bytes();
    Some([idc, constraints])
}

/// The packetization mode of H.264 (RFC 6184 section 8.1), 0 where none is named; `None` for the interleaved one, which
/// real-time media does not use.
pub fn h264_mode(fmtp: &str) -> Option<u8> {
    match parameter(fmtp, "packetization-mode") {
        None | Some("0") => Some(0),
        Some("1") => Some(1),
        _ => None,
    }
}

/// Names of parameters that carry parameter sets: of H.264 (RFC 6184 section 8.1), and of H.265 (RFC 7798 section 7.1) in
/// the order in which a decoder needs them.
const PARAMETER_SETS: [&str; 4] = ["sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps"];

/// NAL units of parameter sets that a sender announces in its description, where its stream may never carry them.
///
/// They are as the sender wrote them: whoever uses them looks at their types. What is no base64 is left out.
pub fn parameter_sets(fmtp: &str) -> Vec<Vec<u8>> {
    let lists = PARAMETER_SETS.iter().filter_map(|name| parameter(fmtp, name));
    lists.flat_map(|list| list.split(',')).filter_map(base64).filter(|unit| !unit.is_empty()).collect()
}

/// Format parameters for an answer: what was offered, but for parameter sets, which are those of who sends.
pub(super) fn without_parameter_sets(fmtp: &str) -> String {
    let ours = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default().trim();
        !PARAMETER_SETS.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    fmtp.split(';').filter(ours).collect::<Vec<_>>().join(";")
}

/// RFC 4648 section 4, with padding or without.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count) = (0u32, 0u32);
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for letter in text.trim().trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8); // the low eight bits
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_are_read_and_not_sent_back() {
        let h264 =
            "packetization-mode=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==;profile-level-id=42c01e";
        let sets = parameter_sets(h264);
        assert_eq!(sets.iter().map(|unit| unit[0] & 0x1f).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(sets[1], [0x68, 0xcb, 0x8c, 0xb2]);
        assert_eq!(without_parameter_sets(h264), "packetization-mode=1;profile-level-id=42c01e");
        let h265 = "sprop-pps=RAHA8vA8kA==; sprop-sps=QgEBAWAAAAMA; sprop-vps=QAEMAf//";
        let kinds: Vec<_> = parameter_sets(h265).iter().map(|unit| (unit[0] >> 1) & 0x3f).collect();
        assert_eq!(kinds, [32, 33, 34], "in the order of decoding");
        assert_eq!(without_parameter_sets(h265), "");
        for none in ["", "sprop-parameter-sets=", "sprop-parameter-sets=%%%%,é", "sprop-parameter-sets"] {
            assert!(parameter_sets(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn parameters_by_name() {
        let fmtp = "level-asymmetry-allowed=1; Packetization-Mode=1;profile-level-id=64001f";
        assert_eq!(parameter(fmtp, "packetization-mode"), Some("1"));
        assert_eq!(parameter(fmtp, "mode"), None);
        assert_eq!(h264_profile(fmtp), Some([0x64, 0]));
        assert_eq!(h264_profile(""), Some([0x42, 0]));
        assert_eq!(h264_profile("profile-level-id=42E01f"), Some([0x42, 0xe0]));
        for none in ["é001f", "42e0", "42e0zz"] {
            assert_eq!(h264_profile(&format!("profile-level-id={none}")), None, "{none}");
        }
        assert_eq!((h264_mode(fmtp), h264_mode("a=b"), h264_mode("packetization-mode=2")), (Some(1), Some(0), None));
    }
}
