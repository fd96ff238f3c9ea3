//! Arbitrary bytes as an RTCP compound: every accessor ends, and soon.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_rtc::rtcp::{RtcpView, compound, write_nack, write_remb};

fuzz_target!(|data: &[u8]| {
    for packet in compound(data).flatten() {
        match packet {
            RtcpView::SenderReport(report) => assert!(report.blocks().count() <= 31),
            RtcpView::ReceiverReport(report) => assert!(report.blocks().count() <= 31),
            RtcpView::Sdes(sdes) => assert!(sdes.cnames().count() <= 31),
            RtcpView::Nack(nack) => {
                let seqs: Vec<u16> = nack.seqs().collect();
                assert!(seqs.len() <= data.len() / 4 * 17);
                assert!(write_nack(&mut Vec::new(), nack.sender, nack.media, &seqs) <= seqs.len());
            }
            RtcpView::Fir(fir) => assert!(fir.entries().count() <= data.len() / 8),
            RtcpView::Remb(remb) => {
                let ssrcs: Vec<_> = remb.ssrcs().collect();
                write_remb(&mut Vec::new(), remb.sender, remb.bitrate, &ssrcs);
            }
            RtcpView::Twcc(twcc) => {
                assert_eq!(twcc.packets().count(), usize::from(twcc.count));
                let received = twcc.packets().filter(|(_, delta)| delta.is_some()).count();
                assert!(received <= data.len(), "each costs at least a byte");
            }
            RtcpView::Pli(_) | RtcpView::Other { .. } => {}
        }
    }
});
