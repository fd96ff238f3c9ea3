//! The peer's parity beside its media, and what the transport makes of it.

use super::*;
use crate::fec::{MutableExtensions, ProtectedGroups, Scheme};
use crate::media::FecStream;

const FEC: FecStream = FecStream { ssrc: Ssrc(0x6666), payload_type: PayloadType(50), scheme: Scheme::ReedSolomon };

/// A publisher that protects what it sends.
struct Publisher {
    pair: Pair,
    groups: ProtectedGroups,
    next_parity: u64,
    /// Transport-wide.
    sent: u16,
    /// As it left: what it held, and the datagram.
    packets: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Publisher {
    fn new() -> Self {
        let section = MediaSection { remote_fec: Some(FEC), ..section("0", Direction::Receive) };
        let mut pair = Pair::with(TransportConfig::default(), vec![section]);
        pair.connect();
        let mutable: MutableExtensions = [TCC_ID, SEND_TIME_ID].into_iter().collect();
        let mut groups = ProtectedGroups::new(Scheme::ReedSolomon, MEDIA, mutable);
        groups.protect(&[Protection { parity: 2, frames: 1 }; PROTECTION_GROUPS]);
        Self { pair, groups, next_parity: 0, sent: 0, packets: Vec::new() }
    }

    fn seal(&mut self, header: RtpHeader, payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut packet = Vec::new();
        let mut writer = HeaderWriter::new(&mut packet, header);
        self.sent += 1;
        assert!(writer.extension(TCC_ID, &self.sent.to_be_bytes()) && writer.extension(LEVEL_ID, &[9]));
        let header_len = writer.finish();
        packet.extend_from_slice(payload);
        let clear = packet.clone();
        let seq = SeqNo(header.seq.into());
        self.pair.client.sender.as_mut().unwrap().seal_rtp(&mut packet, 0, header_len, seq).unwrap();
        (clear, packet)
    }

    /// A frame of five packets from `first` on, and its parity.
    fn frame(&mut self, first: u16) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut sent = Vec::new();
        for n in 0..5 {
            let marker = n == 4;
            let (seq, timestamp) = (first + n, u32::from(first));
            let header = RtpHeader { payload_type: VP8, seq, timestamp, ssrc: MEDIA, marker };
            let packet = self.seal(header, &[n as u8 + 1; 300][..200 + usize::from(n) * 9]);
            self.groups.on_media(&packet.0, (timestamp, marker), Some(0));
            sent.push(packet);
        }
        let mut parity = Vec::new();
        while let Some(info) = self.groups.poll_parity(&mut parity) {
            let (ssrc, payload_type) = (FEC.ssrc, FEC.payload_type);
            let seq = self.next_parity as u16;
            let header = RtpHeader { payload_type, seq, timestamp: u32::from(first), ssrc, marker: info.last };
            sent.push(self.seal(header, &parity));
            self.next_parity += 1;
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
    let mut publisher = Publisher::new();
    publisher.frame(100);
    publisher.arrive(&[]);
    for (frame, lost) in [&[0, 3][..], &[4], &[1, 2], &[5]].into_iter().enumerate() {
        let first = 105 + frame as u16 * 5;
        let sent = publisher.frame(first);
        let mut taken = publisher.arrive(lost);
        taken.sort();
        assert_eq!(taken.len(), 5, "{lost:?}");
        for (n, (seq, from_parity, packet)) in taken.into_iter().enumerate() {
            assert_eq!((seq, from_parity), (SeqNo(u64::from(first) + n as u64), lost.contains(&n)));
            assert_eq!(packet, if from_parity { zeroed(&sent[n].0) } else { sent[n].0.clone() });
        }
    }
    let counters = publisher.pair.server.counters();
    assert_eq!((counters.fec_in, counters.fec_recovered, counters.fec_refused), (9, 5, 0));
}

#[test]
fn the_last_parity_of_a_block_is_told_and_too_much_loss_stays() {
    let mut publisher = Publisher::new();
    publisher.frame(100);
    publisher.arrive(&[]);
    let sent = publisher.frame(105);
    assert_eq!(publisher.arrive(&[0, 1, 2]).len(), 2);
    let completes = sent[5..].iter().map(|(clear, _)| RtpView::parse(clear).unwrap().marker());
    assert_eq!(completes.collect::<Vec<_>>(), [false, true]);
}

#[test]
fn parity_that_lies_recovers_nothing() {
    let mut publisher = Publisher::new();
    publisher.frame(100);
    publisher.arrive(&[]);
    publisher.frame(105);
    publisher.arrive(&[]);
    let lie = [0x11, 0, 9, 9, 9, 9, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0x11, 0x11, 0, 110, 1, 0x80];
    let header = RtpHeader { payload_type: FEC.payload_type, seq: 99, timestamp: 0, ssrc: FEC.ssrc, marker: true };
    let forged = publisher.seal(header, &[&lie[..], &[7; 60]].concat());
    let malformed = publisher.seal(RtpHeader { seq: 100, ..header }, &[0xff; 40]);
    publisher.packets = vec![forged, malformed];
    assert_eq!(publisher.arrive(&[]), []);
    assert_eq!(publisher.pair.server.counters().fec_refused, 2);
}

#[test]
fn without_parity_for_a_while_nothing_is_kept() {
    let mut publisher = Publisher::new();
    publisher.frame(100);
    publisher.arrive(&[]);
    publisher.pair.now += Duration::from_secs(6);
    publisher.frame(105);
    publisher.arrive(&[]);
    publisher.frame(110);
    assert_eq!(publisher.arrive(&[0]).len(), 5, "it goes on with the next block");
}
