//! Fragments of a session description (RFC 8840): candidates that become known later, or an ICE restart.

use super::error::SdpError;
use super::lines::{Attribute, Description, find};
use super::offer::ice_credentials;
use crate::ice::IceCredentials;

/// Most candidates of a fragment that are kept.
const MAX_CANDIDATES: usize = 64;

/// What a `application/trickle-ice-sdpfrag` body says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrickleFragment {
    /// Credentials of the peer's side: those of its offer, or new ones for an ICE restart.
    pub ice: Option<IceCredentials>,
    /// Values of its a=candidate lines. An ICE-lite endpoint needs none of them: it learns addresses from checks.
    pub candidates: Vec<String>,
    /// Whether no more candidates follow.
    pub end: bool,
}

impl TrickleFragment {
    /// Reads a fragment.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        let description = Description::parse_fragment(text)?;
        let in_media = description.media.iter().flat_map(|section| &section.attributes);
        let all: Vec<Attribute<'_>> = description.session.iter().chain(in_media).copied().collect();
        let ice = match (find(&all, "ice-ufrag"), find(&all, "ice-pwd")) {
            (Some(ufrag), Some(pwd)) => Some(ice_credentials(ufrag, pwd)?),
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => {
                return Err(SdpError::Missing { line: one.line, what: "one of a=ice-ufrag and a=ice-pwd" });
            }
        };
        let candidates = all.iter().filter(|line| line.name == "candidate" && !line.value.is_empty());
        Ok(Self {
            ice,
            candidates: candidates.take(MAX_CANDIDATES).map(|line| line.value.to_owned()).collect(),
            end: find(&all, "end-of-candidates").is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_and_credentials() {
        let text = "a=group:BUNDLE 0 1\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
            a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\na=end-of-candidates\r\n";
        let fragment = TrickleFragment::parse(text).unwrap();
        assert_eq!(fragment.ice.unwrap().ufrag, "EsAw");
        assert_eq!(fragment.candidates, ["1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0"]);
        assert!(fragment.end);
    }

    #[test]
    fn half_credentials_are_refused() {
        assert!(TrickleFragment::parse("a=ice-ufrag:EsAw\r\n").is_err());
        assert!(TrickleFragment::parse("a=ice-ufrag:E\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n").is_err());
        assert_eq!(TrickleFragment::parse("").unwrap().ice, None);
    }

    #[test]
    fn one_zero_may_end_a_text_and_more_are_none() {
        assert!(TrickleFragment::parse("a=end-of-candidates\r\n\0").unwrap().end);
        assert!(TrickleFragment::parse("\0\0\0").is_err());
    }
}
