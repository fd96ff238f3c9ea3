//! The view of what is received.

use super::View;
use sfu_client::frame::VideoFrame;
use sfu_client::peer::MediaKind;
use sfu_client::receive::{JitterCounters, PlayoutStats};
use sfu_client::stats::{Report, StreamReport};
use std::collections::HashMap;

/// The view, and what it needs of the report before.
#[derive(Default)]
pub(crate) struct SubscribeView {
    view: View,
    before: HashMap<String, (JitterCounters, PlayoutStats)>,
}

impl SubscribeView {
    /// Takes the newest report.
    pub(crate) fn update(&mut self, report: &Report) -> &View {
        let round_trip = report.round_trip.map(|time| time.as_secs_f64() * 1_000.0);
        self.view.head = format!(
            "receiving {} streams for {:.0} s{}",
            report.streams.len(),
            report.elapsed.as_secs_f64(),
            report.join_to_first_frame.map_or_else(String::new, |time| format!(
                ", the first picture after {:.0} ms",
                time.as_secs_f64() * 1e3
            )),
        );
        self.view.panel("connection").title = " connection ".to_owned();
        let total: f64 = report.streams.iter().map(|stream| stream.bitrate_kbps).sum();
        self.view.panel("connection").push("round trip", "ms", round_trip);
        self.view.panel("connection").push("all streams", "kbit/s", Some(total));
        for stream in &report.streams {
            self.update_stream(stream);
        }
        &self.view
    }

    /// Takes the newest picture.
    pub(crate) fn show_picture(&mut self, picture: VideoFrame) -> &View {
        self.view.picture = Some(picture);
        &self.view
    }

    fn update_stream(&mut self, stream: &StreamReport) {
        let playout = stream.playout.unwrap_or_default();
        let (before, playout_before) =
            self.before.insert(stream.mid.clone(), (stream.counters, playout)).unwrap_or_default();
        let panel = self.view.panel(&stream.mid);
        panel.title = title(stream);
        let limit = stream.limit;
        panel.reason = if limit.is_empty() { String::new() } else { format!("server: {limit}") };
        panel.push("bitrate", "kbit/s", Some(stream.bitrate_kbps));
        if stream.kind == MediaKind::Video {
            let decodes = stream.frames_decoded > 0;
            panel.push("fps", "", Some(if decodes { stream.frame_rate } else { stream.received_frame_rate }));
        }
        panel.push("loss", "%", loss(&stream.counters, &before).map(|loss| loss * 100.0));
        panel.push("jitter", "ms", Some(stream.jitter_ms));
        match stream.kind {
            MediaKind::Video => panel.push("glass to glass", "ms", stream.latency_p50_ms),
            MediaKind::Audio => panel.push("buffer", "ms", buffer(&playout, &playout_before)),
        }
    }
}

fn title(stream: &StreamReport) -> String {
    let mut parts = vec![stream.mid.clone()];
    parts.extend([stream.label.clone(), stream.codec.to_owned()].into_iter().filter(|part| !part.is_empty()));
    parts.extend(stream.size.map(|(width, height)| format!("{width}x{height}")));
    parts.extend((stream.freezes > 0).then(|| format!("{} freezes", stream.freezes)));
    format!(" {} ", parts.join(" · "))
}

/// Share of packets lost since the report before.
fn loss(now: &JitterCounters, before: &JitterCounters) -> Option<f64> {
    let (received, lost) = (now.received.saturating_sub(before.received), now.lost.saturating_sub(before.lost));
    (received + lost > 0).then(|| lost as f64 / (received + lost) as f64)
}

/// How long sound has waited since the report before, in milliseconds.
fn buffer(now: &PlayoutStats, before: &PlayoutStats) -> Option<f64> {
    let samples = now.emitted_count.checked_sub(before.emitted_count).filter(|samples| *samples > 0)?;
    Some((now.jitter_buffer_delay() - before.jitter_buffer_delay()) * 1_000.0 / samples as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_client::stats::StreamStats;
    use std::time::Duration;

    fn report(counters: JitterCounters, playout: PlayoutStats) -> Report {
        let stream = |mid: &str, kind| StreamReport {
            counters,
            playout: (kind == MediaKind::Audio).then_some(playout),
            label: "ada".to_owned(),
            limit: "no better layer: no room on this connection",
            ..StreamStats::new(mid.to_owned(), kind).report()
        };
        Report {
            elapsed: Duration::from_secs(3),
            join_to_first_frame: None,
            round_trip: Some(Duration::from_millis(20)),
            streams: vec![stream("0", MediaKind::Video), stream("1", MediaKind::Audio)],
            awaited: Vec::new(),
        }
    }

    #[test]
    fn what_is_lost_is_shown_of_each_interval() {
        let mut view = SubscribeView::default();
        let counters = |received, lost| JitterCounters { received, lost, ..Default::default() };
        view.update(&report(counters(90, 10), PlayoutStats::default()));
        let mut playout = PlayoutStats::default();
        playout.emitted_count = 960;
        let shown = view.update(&report(counters(190, 10), playout));
        let [connection, video, audio] = shown.panels.as_slice() else { panic!("{shown:?}") };
        let values = |panel: &super::super::Panel, name| {
            panel.graphs.iter().find(|graph| graph.name == name).unwrap().values.clone()
        };
        assert_eq!(values(connection, "round trip"), [20.0, 20.0]);
        assert_eq!(values(video, "loss"), [10.0, 0.0]);
        assert!(video.title.contains("ada") && video.reason.contains("no room"), "{video:?}");
        let buffer = values(audio, "buffer");
        assert!(buffer[0].is_nan() && buffer[1] == 0.0, "{buffer:?}");
        assert!(!audio.graphs.iter().any(|graph| graph.name == "fps"));
    }
}
