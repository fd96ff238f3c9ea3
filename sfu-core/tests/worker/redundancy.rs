//! Audio of which subscribers lose some goes to them with older audio in front (RED, RFC 2198).

use crate::support::media::*;
use crate::support::{ReceivedPacket, World, id};
use sfu_core::command::Command;
use sfu_core::config::WorkerConfig;
use sfu_core::ids::PublicationId;
use sfu_rtc::codec::red::{self, Red, Redundant};
use sfu_rtc::ids::PayloadType;
use sfu_rtc::media::{Codec, MediaKind::*, MediaSection};
use std::collections::BTreeSet;
use std::sync::Arc;

const SLOT: u32 = 0x7000;
/// As Firefox has them.
const THEIR_OPUS: PayloadType = PayloadType(109);
const THEIR_RED: PayloadType = PayloadType(120);

fn measuring() -> World {
    let mut config = WorkerConfig::default();
    config.repair.planner = true;
    config.transport.measure_path = true;
    World::with(config)
}

/// A slot of a browser that numbers its formats otherwise than the publisher.
fn otherwise(mut section: MediaSection) -> MediaSection {
    for format in Arc::make_mut(&mut section.formats) {
        format.payload_type = if format.codec == Codec::Opus { THEIR_OPUS } else { THEIR_RED };
    }
    section
}

/// One who speaks, and listeners of whom some lose packets.
struct Talk {
    world: World,
    speaker: usize,
    publication: PublicationId,
    source: OpusSource,
    /// Packets so far; a packet's payload is its number.
    packets: u8,
}

impl Talk {
    fn new(section: MediaSection) -> Self {
        let mut world = measuring();
        let speaker = world.join(vec![section]);
        let publication = world.publish(speaker, "0");
        Self { world, speaker, publication, source: OpusSource::new("0", 20), packets: 0 }
    }

    fn listener(&mut self, section: MediaSection) -> usize {
        let listener = self.world.join(vec![section]);
        self.world.assign(listener, "a", Some(self.publication));
        listener
    }

    /// The next packet, `ticks` after the last.
    fn packet(&mut self, ticks: u32) -> Rtp {
        self.packets = self.packets.wrapping_add(1);
        self.source.timestamp = self.source.timestamp.wrapping_add(ticks).wrapping_sub(960);
        Rtp { payload: vec![self.packets; 80], ..self.source.packet(30) }
    }

    /// The next packet with that before it in front, as `red` of the speaker.
    fn redundant_packet(&mut self) -> Rtp {
        let packet = self.packet(960);
        let before = [self.packets.wrapping_sub(1); 80];
        let block = Redundant { payload_type: OPUS, timestamp_offset: 960, data: &before };
        let mut payload = Vec::new();
        red::write(&[block], OPUS, &packet.payload, &mut payload);
        Rtp { payload_type: RED, payload, ..packet }
    }

    /// Sends it; `lossy` loses one packet of twenty, and all tell ten times per second what came.
    fn send(&mut self, packet: &Rtp, lossy: Option<usize>, listeners: &[usize]) {
        if let Some(lossy) = lossy {
            self.world.clients[lossy].loses = self.packets.is_multiple_of(20);
        }
        self.world.send(self.speaker, packet);
        if let Some(lossy) = lossy {
            self.world.clients[lossy].loses = false;
        }
        if self.packets.is_multiple_of(5) {
            listeners.iter().for_each(|listener| self.world.send_feedback(*listener));
        }
        self.world.pass(20);
    }

    fn last(&self, listener: usize) -> &ReceivedPacket {
        self.world.clients[listener].rtp.last().unwrap()
    }

    fn decided(&mut self, listener: usize) -> Option<u8> {
        let stats = self.world.stats();
        stats.transports.iter().find(|stats| stats.transport == id(listener)).unwrap().slots[0].redundancy
    }
}

/// Age in packets and number of each redundant block, and the number of the packet itself.
fn content(packet: &ReceivedPacket) -> (Vec<(u16, u8)>, u8) {
    let red = Red::parse(&packet.payload).unwrap();
    let types = red.redundant.iter().map(|block| block.payload_type).chain([red.primary_payload_type]);
    let opus = if packet.payload_type == THEIR_RED { THEIR_OPUS } else { OPUS };
    assert!(types.into_iter().all(|payload_type| payload_type == opus), "as the listener numbers them");
    let number = |at: std::ops::Range<usize>| packet.payload[at.start];
    let blocks = red.redundant.iter().map(|block| (block.timestamp_offset / 960, number(block.range.clone())));
    (blocks.collect(), number(red.primary))
}

#[test]
fn who_loses_audio_gets_it_twice_for_as_long_as_that_lasts() {
    let mut talk = Talk::new(published("0", Audio));
    let lossy = talk.listener(otherwise(with_red(slot("a", Audio, SLOT))));
    let clean = talk.listener(with_red(slot("a", Audio, SLOT)));
    let simple = talk.listener(slot("a", Audio, SLOT));
    for _ in 0..250 {
        let packet = talk.packet(960);
        talk.send(&packet, Some(lossy), &[lossy, clean, simple]);
    }
    assert_eq!([lossy, clean, simple].map(|listener| talk.decided(listener)), [Some(1), Some(0), Some(0)]);
    let number = talk.packets;
    assert_eq!(talk.last(lossy).payload_type, THEIR_RED);
    assert_eq!(content(talk.last(lossy)), (vec![(1, number - 1)], number));
    for other in [clean, simple] {
        assert_eq!((talk.last(other).payload_type, &talk.last(other).payload), (OPUS, &vec![number; 80]));
    }
    // Whatever form a packet has, it keeps its place in the stream.
    let [got, all] = [lossy, clean].map(|listener| talk.world.clients[listener].rtp.clone());
    let places = |packets: &[ReceivedPacket]| -> Vec<_> {
        let (seq, timestamp) = (packets[0].seq.0, packets[0].timestamp);
        packets.iter().map(|p| (p.seq.0 - seq, p.timestamp.wrapping_sub(timestamp))).collect()
    };
    let all = places(&all);
    assert!(places(&got).iter().all(|place| all.contains(place)));
    assert!((230..250).contains(&got.len()));
    for _ in 0..2_000 {
        let packet = talk.packet(960);
        talk.send(&packet, None, &[lossy]);
    }
    assert_eq!((talk.decided(lossy), talk.last(lossy).payload_type), (Some(0), THEIR_OPUS));
}

/// After silence (DTX) the last packet is older than RFC 2198 can say.
#[test]
fn what_is_too_old_is_left_out() {
    let mut talk = Talk::new(published("0", Audio));
    let lossy = talk.listener(with_red(slot("a", Audio, SLOT)));
    for _ in 0..250 {
        let packet = talk.packet(960);
        talk.send(&packet, Some(lossy), &[lossy]);
    }
    let packet = talk.packet(20 * 960);
    talk.send(&packet, None, &[]);
    assert_eq!((talk.last(lossy).payload_type, talk.last(lossy).payload[0]), (OPUS, talk.packets));
    let packet = talk.packet(960);
    talk.send(&packet, None, &[]);
    assert_eq!(content(talk.last(lossy)), (vec![(1, talk.packets - 1)], talk.packets));
}

#[test]
fn what_was_said_while_muted_comes_with_nothing_later() {
    for redundant in [false, true] {
        let mut talk = Talk::new(with_red(published("0", Audio)));
        let lossy = talk.listener(with_red(slot("a", Audio, SLOT)));
        let say = |talk: &mut Talk, count, lossy| {
            for _ in 0..count {
                let packet = if redundant { talk.redundant_packet() } else { talk.packet(960) };
                talk.send(&packet, lossy, &[0, 1]);
            }
        };
        say(&mut talk, 250, Some(lossy));
        let (publication, before) = (talk.publication, talk.packets);
        talk.world.command(Command::SetMuted { publication, muted: true });
        say(&mut talk, 3, None);
        talk.world.command(Command::SetMuted { publication, muted: false });
        talk.world.clients[lossy].rtp.clear();
        say(&mut talk, 2, None);
        let got = &talk.world.clients[lossy].rtp;
        assert_eq!((got[0].payload_type, got[0].payload[0]), (OPUS, before + 4));
        assert_eq!((got[1].payload_type, content(&got[1])), (RED, (vec![(1, before + 4)], before + 5)));
    }
}

/// Redundancy of the publisher goes on to those who lose packets, and to all where it heals what was lost on the way in.
#[test]
fn redundancy_of_the_publisher_goes_to_whom_it_helps() {
    let mut talk = Talk::new(with_red(published("0", Audio)));
    let lossy = talk.listener(with_red(slot("a", Audio, SLOT)));
    let clean = talk.listener(with_red(slot("a", Audio, SLOT)));
    for _ in 0..250 {
        let packet = talk.redundant_packet();
        talk.send(&packet, Some(lossy), &[lossy, clean]);
    }
    let number = talk.packets;
    assert_eq!(content(talk.last(lossy)), (vec![(1, number - 1)], number));
    assert_eq!((talk.last(clean).payload_type, talk.last(clean).payload[0]), (OPUS, number));
    talk.redundant_packet();
    let packet = talk.redundant_packet();
    talk.send(&packet, None, &[]);
    for listener in [lossy, clean] {
        assert_eq!(content(talk.last(listener)), (vec![(1, number + 1)], number + 2));
    }
}

/// A listener that cannot be sent older audio along gets each packet once more; where nothing else tells what its path
/// does, but for some.
#[test]
fn who_takes_nothing_else_gets_packets_once_more() {
    for sends_red in [false, true] {
        let section = if sends_red { with_red(published("0", Audio)) } else { published("0", Audio) };
        let mut talk = Talk::new(section);
        let lossy = talk.listener(slot("a", Audio, SLOT));
        talk.world.clients[lossy].takes_copies = true;
        let play = |talk: &mut Talk, packets: u32, loses: bool| {
            talk.world.clients[lossy].rtp.clear();
            talk.world.clients[lossy].copies = 0;
            for n in 0..packets {
                // One of sixteen, at no regular distance.
                let is_lost = loses && n.wrapping_mul(0x9e37_79b1) >> 28 == 0;
                let packet = if sends_red { talk.redundant_packet() } else { talk.packet(960) };
                talk.world.clients[lossy].loses = is_lost;
                talk.world.send(talk.speaker, &packet);
                talk.world.clients[lossy].loses = false;
                if n.is_multiple_of(5) {
                    talk.world.send_feedback(lossy);
                }
                talk.world.pass(20);
            }
            let numbers: BTreeSet<_> = talk.world.clients[lossy].rtp.iter().map(|packet| packet.seq).collect();
            (numbers.len(), talk.world.clients[lossy].copies, talk.decided(lossy))
        };
        play(&mut talk, 500, true);
        let (got, copies, decided) = play(&mut talk, 1_600, true);
        // 100 are lost, and an eighth of these for good.
        assert!((1_580..1_600).contains(&got) && (1_200..1_400).contains(&copies), "{got} {copies}");
        assert_eq!(decided, Some(1));
        play(&mut talk, 1_500, false);
        assert_eq!(play(&mut talk, 100, false), (100, 0, Some(0)), "nothing is lost any more");
    }
}
