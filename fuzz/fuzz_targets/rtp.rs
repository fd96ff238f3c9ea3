//! Arbitrary bytes as an RTP packet: what is read can be written, and is then read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_rtc::net::DatagramKind;
use sfu_rtc::rtp::extension::{parse_mid, parse_rid, parse_transport_cc};
use sfu_rtc::rtp::{HeaderWriter, RtpHeader, RtpView, SealedHeader};

fuzz_target!(|data: &[u8]| {
    let _ = DatagramKind::of(data);
    let sealed = SealedHeader::parse(data);
    let Ok(view) = RtpView::parse(data) else { return };
    let sealed = sealed.expect("what is sound when opened was sound when sealed");
    assert_eq!((sealed.header_len, sealed.seq, sealed.ssrc), (view.header_len(), view.seq(), view.ssrc()));
    assert_eq!(view.header_len() + view.payload().len() + view.padding_len(), data.len());

    for (_, value) in view.extensions() {
        let _ = (parse_mid(value), parse_rid(value), parse_transport_cc(value));
    }
    write_again(&view);
});

fn write_again(view: &RtpView<'_>) {
    let mut out = Vec::new();
    let header = RtpHeader {
        payload_type: view.payload_type(),
        seq: view.seq(),
        timestamp: view.timestamp(),
        ssrc: view.ssrc(),
        marker: view.marker(),
    };
    let mut writer = HeaderWriter::new(&mut out, header);
    if !view.extensions().all(|(id, value)| writer.extension(id, value)) {
        return; // more than we would ever write
    }
    writer.finish();
    out.extend_from_slice(view.payload());
    let again = RtpView::parse(&out).expect("what we write is sound");
    assert!(again.extensions().eq(view.extensions()));
    assert_eq!(again.payload(), view.payload());
}
