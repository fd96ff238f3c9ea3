//! What subscribers lose and get again.

use crate::support::World;
use crate::support::media::*;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::{MediaKind::*, MediaSection, SsrcPair};
use sfu_rtc::rtcp;
use sfu_rtc::rtp::SealedHeader;
use std::sync::Arc;

const SLOT: u32 = 0x7000;

/// A slot of a subscriber who takes no retransmissions (RFC 4588): neither a source nor a format of them.
fn without_rtx() -> MediaSection {
    let mut section = slot("v", Video, SLOT);
    section.local_ssrcs = Some(SsrcPair { media: Ssrc(SLOT), rtx: None });
    Arc::make_mut(&mut section.formats).iter_mut().for_each(|format| format.rtx = None);
    section
}

/// One whose format in use has none, though others have.
fn without_rtx_of_the_format() -> MediaSection {
    let mut section = slot("v", Video, SLOT);
    Arc::make_mut(&mut section.formats)[0].rtx = None;
    section
}

fn nack(world: &mut World, viewer: usize, seq: u16) {
    world.send_rtcp(viewer, |out| {
        rtcp::write_nack(out, Ssrc(1), Ssrc(SLOT), &[seq]);
    });
}

/// It gets the lost packet itself, byte for byte as it was sealed: any other byte under the same index would give the key
/// stream away.
#[test]
fn without_retransmissions_the_packet_itself_is_sent_again() {
    for section in [without_rtx(), without_rtx_of_the_format()] {
        let mut world = World::new();
        let camera = world.join(vec![published("0", Video)]);
        let viewer = world.join(vec![section]);
        let publication = world.publish(camera, "0");
        world.assign(viewer, "v", Some(publication));
        let mut source = Vp8Source::new("0", 10);
        for n in 0..20 {
            world.clients[viewer].loses = n == 10;
            world.send(camera, &source.frame(n == 0));
            world.pass(33);
        }
        let seq = SealedHeader::parse(&world.clients[viewer].lost[0]).unwrap().seq;
        world.clients[viewer].loses = true;
        nack(&mut world, viewer, seq);
        nack(&mut world, viewer, seq);
        assert_eq!(world.clients[viewer].lost.len(), 2, "once per round trip");
        assert_eq!(world.clients[viewer].lost[0], world.clients[viewer].lost[1]);
        world.pass(300);
        world.clients[viewer].loses = false;
        nack(&mut world, viewer, seq);
        let got = &mut world.clients[viewer].rtp;
        assert_eq!(got.len(), 20);
        got.sort_by_key(|packet| packet.seq);
        assert_continuous(got);
        assert_eq!(world.drops(DropReason::SrtpIndexReused), 0);
    }
}

#[test]
fn who_did_not_negotiate_nack_gets_nothing_again() {
    let mut world = World::new();
    let camera = world.join(vec![published("0", Video)]);
    let viewer = world.join(vec![MediaSection { nack: false, ..without_rtx() }]);
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    world.send(camera, &Vp8Source::new("0", 10).frame(true));
    world.pass(300);
    let seq = world.clients[viewer].rtp[0].seq.wire();
    nack(&mut world, viewer, seq);
    assert_eq!(world.clients[viewer].rtp.len(), 1);
    assert_eq!(world.drops(DropReason::NotInHistory), 1);
}

/// What a NACK does not get for want of room, the next one may.
#[test]
fn what_was_refused_does_not_count_as_sent() {
    let mut world = World::new();
    let camera = world.join(vec![published("0", Video)]);
    let viewer = world.join(vec![slot("v", Video, SLOT)]);
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    let mut source = Vp8Source::new("0", 10);
    for n in 0..100 {
        let mut frame = source.frame(n == 0);
        frame.payload.resize(1_000, 0);
        world.send(camera, &frame);
    }
    world.pass(200);
    let seqs: Vec<u16> = world.clients[viewer].rtp.iter().map(|packet| packet.seq.wire()).collect();
    let refused = (0..10).flat_map(|_| &seqs).find(|seq| {
        nack(&mut world, viewer, **seq);
        // The last of a round: the next is asked for after the round trip.
        world.pass(if **seq == seqs[seqs.len() - 1] { 200 } else { 0 });
        world.drops(DropReason::RateLimited) == 1
    });
    let refused = *refused.expect("there is a bound");
    nack(&mut world, viewer, refused);
    assert_eq!((world.drops(DropReason::RateLimited), world.drops(DropReason::ResentTooRecently)), (2, 0));
}
