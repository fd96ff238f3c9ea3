//! The peer's parity beside its media, and what the transport makes of it.

use super::*;
use crate::fec::{MutableExtensions, ProtectedGroups, Scheme};
use crate::media::{FecStream, VideoRed};

const FEC: FecStream = FecStream { ssrc: Ssrc(0x6666), payload_type: PayloadType(50), scheme: Scheme::ReedSolomon };
const FLEXFEC: FecStream = FecStream { scheme: Scheme::FlexFec03, ..FEC };
const RED: VideoRed =
    VideoRed { payload_type: PayloadType(116), rtx: Some(PayloadType(118)), parity: PayloadType(117) };
const MEDIA_PER_FRAME: u16 = 5;
const PARITY_PER_FRAME: u16 = 2;

/// A publisher that protects what it sends.
struct Publisher {
    pair: Pair,
    groups: ProtectedGroups,
    /// Without, parity goes among the media, in RED.
    beside: Option<FecStream>,
    next_parity: u64,
    /// Transport-wide.
    sent: u16,
    /// As it left: what it held, and the datagram.
    packets: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Publisher {
    fn new() -> Self {
        Self::with(Some(FEC))
    }

    fn with(beside: Option<FecStream>) -> Self {
        let red = beside.is_none().then_some(RED);
        let section = MediaSection { remote_fec: beside, red, ..section("0", Direction::Receive) };
        let mut pair = Pair::with(TransportConfig::default(), vec![section]);
        pair.connect();
        let mutable: MutableExtensions = [TCC_ID, SEND_TIME_ID].into_iter().collect();
        let scheme = beside.map_or(Scheme::Ulpfec { payload_type: RED.parity }, |beside| beside.scheme);
        let mut groups = ProtectedGroups::new(scheme, MEDIA, mutable);
        groups.protect(&[Protection { parity: PARITY_PER_FRAME as u8, frames: 1 }; PROTECTION_GROUPS]);
        Self { pair, groups, beside, next_parity: 0, sent: 0, packets: Vec::new() }
    }

    /// A packet in clear, and as it leaves: if `in_red`, in RED.
    fn seal(&mut self, header: RtpHeader, payload: &[u8], in_red: bool) -> (Vec<u8>, Vec<u8>) {
        self.sent += 1;
        let write = |header: RtpHeader, red: &[u8]| {
            let mut packet = Vec::new();
            let mut writer = HeaderWriter::new(&mut packet, header);
            assert!(writer.extension(TCC_ID, &self.sent.to_be_bytes()) && writer.extension(LEVEL_ID, &[9]));
            let header_len = writer.finish();
            packet.extend_from_slice(red);
            packet.extend_from_slice(payload);
            (packet, header_len)
        };
        let (clear, _) = write(header, &[]);
        let (mut packet, header_len) = match in_red {
            true => write(RtpHeader { payload_type: RED.payload_type, ..header }, &[header.payload_type.0]),
            false => write(header, &[]),
        };
        let seq = SeqNo(header.seq.into());
        self.pair.client.sender.as_mut().unwrap().seal_rtp(&mut packet, 0, header_len, seq).unwrap();
        (clear, packet)
    }

    /// The number that frame `n` begins with.
    fn first_of(&self, n: u16) -> u16 {
        100 + n * (MEDIA_PER_FRAME + if self.beside.is_none() { PARITY_PER_FRAME } else { 0 })
    }

    /// Frame `n`: its packets and its parity.
    fn frame(&mut self, n: u16) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (mut sent, first, in_red) = (Vec::new(), self.first_of(n), self.beside.is_none());
        for n in 0..MEDIA_PER_FRAME {
            let marker = n + 1 == MEDIA_PER_FRAME;
            let (seq, timestamp) = (first + n, u32::from(first));
            let header = RtpHeader { payload_type: VP8, seq, timestamp, ssrc: MEDIA, marker };
            let packet = self.seal(header, &[n as u8 + 1; 300][..200 + usize::from(n) * 9], in_red);
            self.groups.on_media(&packet.0, (timestamp, marker), Some(0));
            sent.push(packet);
        }
        let mut parity = Vec::new();
        let mut seq = first + MEDIA_PER_FRAME;
        while let Some(info) = self.groups.poll_parity(&mut parity) {
            let timestamp = u32::from(first);
            let packet = match self.beside {
                Some(FecStream { ssrc, payload_type, .. }) => {
                    let seq = self.next_parity as u16;
                    let header = RtpHeader { payload_type, seq, timestamp, ssrc, marker: info.last };
                    self.seal(header, &parity, false)
                }
                None => {
                    // The encoder writes the head of RED itself.
                    let payload_type = RED.parity;
                    let header = RtpHeader { payload_type, seq, timestamp, ssrc: MEDIA, marker: info.last };
                    self.seal(header, &parity[1..], true)
                }
            };
            sent.push(packet);
            self.next_parity += 1;
            seq += 1;
        }
        self.packets.clone_from(&sent);
        sent
    }

    /// What the transport hands up of what is not `lost`: media and whether parity completed a block, by the way that it
    /// came.
    fn arrive(&mut self, lost: &[usize]) -> Vec<(SeqNo, bool, Vec<u8>)> {
        let (mut taken, mut buffer) = (Vec::new(), Vec::new());
        let packets = std::mem::take(&mut self.packets);
        for (_, mut datagram) in packets.into_iter().enumerate().filter(|(n, _)| !lost.contains(n)).map(|(_, p)| p) {
            match self.pair.receive(&mut datagram) {
                // Parity among the media, which is but a number there.
                Received::Rtp(rtp) if rtp.payload.is_empty() => {}
                Received::Rtp(rtp) => taken.push((rtp.seq, rtp.from_parity, rtp.packet.to_vec())),
                Received::Parity { section: PUBLISHED, .. } => {}
                other => panic!("{other:?}"),
            }
            while let Some(rtp) = self.pair.server.take_recovered(self.pair.now, &mut buffer) {
                taken.push((rtp.seq, rtp.from_parity, rtp.packet.to_vec()));
            }
        }
        taken
    }
}

/// As it is when it comes back: what changes as a packet leaves is zero.
fn zeroed(packet: &[u8]) -> Vec<u8> {
    let mut zeroed = packet.to_vec();
    let view = RtpView::parse(packet).unwrap();
    zeroed[view.extension_range(TCC_ID).unwrap()].fill(0);
    zeroed
}

#[test]
fn what_the_peer_sent_and_was_lost_is_handed_up_as_it_was() {
    for beside in [Some(FEC), Some(FLEXFEC), None] {
        let mut publisher = Publisher::with(beside);
        publisher.frame(0);
        publisher.arrive(&[]);
        for (frame, lost) in [&[0, 3][..], &[4], &[1, 2], &[5]].into_iter().enumerate() {
            // XOR makes one again of each sum, and 0 and 3 are in one.
            let lost = if lost == [0, 3] && beside != Some(FEC) { &[0, 1] } else { lost };
            let first = publisher.first_of(frame as u16 + 1);
            let sent = publisher.frame(frame as u16 + 1);
            let mut taken = publisher.arrive(lost);
            taken.sort();
            assert_eq!(taken.len(), 5, "{beside:?} {lost:?}");
            for (n, (seq, from_parity, packet)) in taken.into_iter().enumerate() {
                assert_eq!((seq, from_parity), (SeqNo(u64::from(first) + n as u64), lost.contains(&n)));
                assert_eq!(packet, if from_parity { zeroed(&sent[n].0) } else { sent[n].0.clone() });
            }
        }
        let counters = publisher.pair.server.counters();
        assert_eq!((counters.fec_in, counters.fec_recovered, counters.fec_refused), (9, 5, 0), "{beside:?}");
    }
}

#[test]
fn what_comes_in_red_is_as_without() {
    let mut publisher = Publisher::with(None);
    publisher.frame(0);
    publisher.arrive(&[]);
    let header = RtpHeader { payload_type: RED.payload_type, seq: 200, timestamp: 7, ssrc: MEDIA, marker: true };
    let mut receive = |header: RtpHeader, payload: &[u8]| {
        let (_, mut datagram) = publisher.seal(header, payload, false);
        match publisher.pair.receive(&mut datagram) {
            Received::Rtp(rtp) => Ok((rtp.payload_type, rtp.seq, rtp.rtx.is_some(), rtp.payload().to_vec())),
            Received::Dropped(reason) => Err(reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(receive(header, &[VP8.0, 1, 2]), Ok((VP8, SeqNo(200), false, vec![1, 2])));
    assert_eq!(receive(RtpHeader { seq: 201, ..header }, &[]), Ok((VP8, SeqNo(201), false, vec![])), "padding");
    let rtx = RtpHeader { payload_type: RED.rtx.unwrap(), ssrc: Ssrc(0x77), ..header };
    assert_eq!(receive(rtx, &[0, 105, VP8.0, 3, 4]), Ok((VP8, SeqNo(105), true, vec![3, 4])));
    assert_eq!(receive(RtpHeader { seq: 201, ..rtx }, &[]), Err(DropReason::Padding));
    for (n, payload) in [&[VP8.0 | 0x80, 0, 0, 0, VP8.0, 1][..], &[RED.payload_type.0], &[3, 1]].into_iter().enumerate()
    {
        assert!(receive(RtpHeader { seq: 210 + n as u16, ..header }, payload).is_err(), "{payload:?}");
    }
    for (n, payload) in [&[0][..], &[0, 105], &[0, 105, RED.parity.0, 1], &[0, 105, 3, 1]].into_iter().enumerate() {
        assert!(receive(RtpHeader { seq: 210 + n as u16, ..rtx }, payload).is_err(), "{payload:?}");
    }
}

#[test]
fn the_last_parity_of_a_block_is_told_and_too_much_loss_stays() {
    let mut publisher = Publisher::new();
    publisher.frame(0);
    publisher.arrive(&[]);
    let sent = publisher.frame(1);
    assert_eq!(publisher.arrive(&[0, 1, 2]).len(), 2);
    let completes = sent[5..].iter().map(|(clear, _)| RtpView::parse(clear).unwrap().marker());
    assert_eq!(completes.collect::<Vec<_>>(), [false, true]);
}

#[test]
fn parity_that_lies_recovers_nothing() {
    let mut publisher = Publisher::new();
    publisher.frame(0);
    publisher.arrive(&[]);
    publisher.frame(1);
    publisher.arrive(&[]);
    let lie = [0x11, 0, 9, 9, 9, 9, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0x11, 0x11, 0, 110, 1, 0x80];
    let header = RtpHeader { payload_type: FEC.payload_type, seq: 99, timestamp: 0, ssrc: FEC.ssrc, marker: true };
    let forged = publisher.seal(header, &[&lie[..], &[7; 60]].concat(), false);
    let malformed = publisher.seal(RtpHeader { seq: 100, ..header }, &[0xff; 40], false);
    publisher.packets = vec![forged, malformed];
    assert_eq!(publisher.arrive(&[]), []);
    assert_eq!(publisher.pair.server.counters().fec_refused, 2);
}

#[test]
fn without_parity_for_a_while_nothing_is_kept() {
    let mut publisher = Publisher::new();
    publisher.frame(0);
    publisher.arrive(&[]);
    publisher.pair.now += Duration::from_secs(6);
    publisher.frame(1);
    publisher.arrive(&[]);
    publisher.frame(2);
    assert_eq!(publisher.arrive(&[0]).len(), 5, "it goes on with the next block");
}

/// XOR has no check: whatever comes out, it stays in its stream, and is media.
#[test]
fn what_comes_back_is_neither_parity_nor_moves_its_source() {
    for moves in [true, false] {
        let mut publisher = Publisher::with(None);
        publisher.frame(0);
        publisher.arrive(&[]);
        let first = MediaSection { red: Some(RED), ..section("0", Direction::Receive) };
        publisher.pair.server.update_sections(vec![first, section("1", Direction::Receive)]);
        publisher.frame(1);
        publisher.arrive(&[]);
        let first = publisher.first_of(2);
        let header = RtpHeader { payload_type: VP8, seq: first, timestamp: 9, ssrc: MEDIA, marker: false };
        // A whole packet, protected alone: parity of VP8's format, or media with another section's name.
        let mut lost = Vec::new();
        let payload_type = if moves { VP8 } else { RED.parity };
        let mut writer = HeaderWriter::new(&mut lost, RtpHeader { payload_type, ..header });
        assert!(!moves || writer.extension(MID_ID, b"1"));
        writer.finish();
        lost.extend([7; 40]);
        let len = (lost.len() as u16 - 12).to_be_bytes();
        let seq = first.to_be_bytes();
        let head = [lost[0] & 0x3f, lost[1], seq[0], seq[1], lost[4], lost[5], lost[6], lost[7]];
        let parity = [&head[..], &len, &len, &[0x80, 0], &lost[12..]].concat();
        let header = RtpHeader { payload_type: RED.parity, seq: first + 1, ..header };
        publisher.packets = vec![publisher.seal(header, &parity, true)];
        assert_eq!(publisher.arrive(&[]), [], "{moves}");
        assert_eq!(publisher.pair.server.streams.section_of(MEDIA), Some(PUBLISHED), "{moves}");
        let counters = publisher.pair.server.counters();
        assert_eq!((counters.fec_recovered, counters.fec_refused), (0, 1), "{moves}");
    }
}
