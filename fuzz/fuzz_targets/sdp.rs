//! Arbitrary text as an offer, and as the next offer of the same session: an answer agrees with its offer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_rtc::ice::{Candidate, CandidateProtocol, IceCredentials};
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::{Direction, MediaSection};
use sfu_rtc::sdp::{AnswerParams, Fault, MediaPolicy, Offer, OfferedKind, TrickleFragment, answer};
use std::net::SocketAddr;

/// Between two offers of one input.
const NEXT: char = '\u{1}';

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut previous = Vec::new();
    for text in text.split(NEXT).take(3) {
        let _ = TrickleFragment::parse(text);
        if let Ok(offer) = Offer::parse(text)
            && let Some(sections) = negotiate(&offer, &previous)
        {
            previous = sections;
        }
    }
});

fn negotiate(offer: &Offer, previous: &[MediaSection]) -> Option<Vec<MediaSection>> {
    let mut next = 0;
    let params = AnswerParams {
        ice: &IceCredentials { ufrag: "ours".into(), pwd: "0123456789012345678901".into() },
        fingerprint: &format!("sha-256 0A{}", ":FF".repeat(31)).parse().expect("a fingerprint"),
        candidates: &[Candidate::host(CandidateProtocol::Udp, SocketAddr::from(([192, 0, 2, 1], 7881)), 1)],
        policy: &MediaPolicy::default(),
        session: 1,
        version: 1,
        previous,
        dtls_role: None,
        cname: "cname",
        streams: &|mid| format!("slot{mid}"),
    };
    let answered = answer(offer, &params, &mut || {
        next += 1;
        Ssrc(next)
    });
    let answered = match answered {
        Ok(answered) => answered,
        Err(error) => {
            // The offer may have taken each of the few sources that are tried; nothing else here is our fault.
            assert!(error.fault() == Fault::Peer || error.to_string().contains("source"), "{error}");
            return None;
        }
    };
    let lines = answered.sdp.split("\r\n").filter(|line| line.starts_with("m=")).count();
    assert_eq!(lines, offer.media.len());
    let known = offer.media.iter().filter(|media| !matches!(media.kind, OfferedKind::Other(_)));
    assert!(answered.sections.iter().map(|section| section.mid).eq(known.filter_map(|media| media.mid)));
    for section in &answered.sections {
        assert!(section.local_ssrcs.is_some() || section.direction != Direction::Send);
        assert!(section.rids.is_empty() || section.direction != Direction::Send);
    }
    if answered.sdp.contains("a=group:BUNDLE") {
        let again = Offer::parse(&answered.sdp).expect("an answer can be read");
        assert!(again.media.iter().map(|media| media.mid).eq(offer.media.iter().map(|media| media.mid)));
    }
    Some(answered.sections)
}
