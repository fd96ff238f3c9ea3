//! The view of what is sent.

use super::View;
use sfu_client::peer::FarReception;
use sfu_client::publish::{PublishReport, QualityLimitation};
use sfu_client::send::Sent;

/// The view, and the report before.
#[derive(Default)]
pub(crate) struct PublishView {
    view: View,
    before: PublishReport,
}

impl PublishView {
    /// Takes the newest report.
    pub(crate) fn update(&mut self, report: &PublishReport) -> &View {
        let before = std::mem::replace(&mut self.before, *report);
        let seconds = (report.elapsed.saturating_sub(before.elapsed)).as_secs_f64().max(0.001);
        self.view.head = format!(
            "sending for {:.0} s, joined in {:.0} ms, {} keyframes ({} asked for)",
            report.elapsed.as_secs_f64(),
            report.join.as_secs_f64() * 1_000.0,
            report.video.keyframes,
            report.keyframe_requests
        );
        if report.video.frames > 0 {
            self.update_video(report, &before, seconds);
        }
        if report.audio.frames > 0 {
            let panel = self.view.panel("audio");
            panel.title = " sound · opus ".to_owned();
            panel.push("bitrate", "kbit/s", Some(bitrate(&report.audio, &before.audio, seconds)));
            push_reception(panel, report.audio_reception, 48_000.0);
        }
        &self.view
    }

    fn update_video(&mut self, report: &PublishReport, before: &PublishReport, seconds: f64) {
        let (pipeline, encoder) = (&report.pipeline, &report.pipeline.encoder);
        let frames = report.video.frames.saturating_sub(before.video.frames);
        let panel = self.view.panel("video");
        panel.title = format!(" picture · {}x{} ", pipeline.size.0, pipeline.size.1);
        panel.reason = reason(report);
        panel.push("bitrate", "kbit/s", Some(bitrate(&report.video, &before.video, seconds)));
        panel.push("fps", "", Some(frames as f64 / seconds));
        let coded = frames.max(1) as f64;
        let time = encoder.encode_time.saturating_sub(before.pipeline.encoder.encode_time).as_secs_f64();
        panel.push("encoding", "ms", (frames > 0).then_some(time * 1_000.0 / coded));
        push_reception(panel, report.video_reception, 90_000.0);
    }
}

/// What the server asks for, or that the machine or the path to it carries less.
fn reason(report: &PublishReport) -> String {
    match report.encodings.iter().flatten().rfind(|encoding| encoding.limitation != QualityLimitation::None) {
        Some(short) if short.limitation == QualityLimitation::Cpu => "this machine cannot code more".to_owned(),
        Some(short) => format!("no room on this connection for more than {} kbit/s", short.target.as_kbps()),
        None => report.asked.map(|asked| format!("server: {asked}")).unwrap_or_default(),
    }
}

fn push_reception(panel: &mut super::Panel, reception: Option<FarReception>, clock_rate: f64) {
    let millis = |ticks: u32| f64::from(ticks) * 1_000.0 / clock_rate;
    panel.push("loss", "%", reception.map(|reception| reception.loss * 100.0));
    panel.push("jitter", "ms", reception.map(|reception| millis(reception.jitter)));
    let round_trip = reception.and_then(|reception| reception.round_trip);
    panel.push("round trip", "ms", round_trip.map(|time| time.as_secs_f64() * 1_000.0));
}

fn bitrate(now: &Sent, before: &Sent, seconds: f64) -> f64 {
    now.bytes.saturating_sub(before.bytes) as f64 * 8.0 / seconds / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_client::publish::Asked;
    use sfu_rtc::units::Bitrate;
    use std::time::Duration;

    #[test]
    fn rates_are_of_each_interval_and_what_the_server_asks_for_is_shown() {
        let at = |seconds, frames, bytes| PublishReport {
            elapsed: Duration::from_secs(seconds),
            video: Sent { frames, bytes, ..Default::default() },
            video_reception: Some(FarReception { loss: 0.5, jitter: 900, ..Default::default() }),
            asked: Some(Asked { active: true, bitrate: Bitrate::from_kbps(300), frame_rate: 15.0, scale: 2.0 }),
            ..Default::default()
        };
        let mut view = PublishView::default();
        view.update(&at(1, 30, 50_000));
        let shown = view.update(&at(3, 60, 125_000));
        let [video] = shown.panels.as_slice() else { panic!("{shown:?}") };
        let last = |name| *video.graphs.iter().find(|graph| graph.name == name).unwrap().values.back().unwrap();
        assert_eq!((last("bitrate"), last("fps"), last("loss"), last("jitter")), (300.0, 15.0, 50.0, 10.0));
        assert!(last("round trip").is_nan());
        assert!(video.reason.contains("300 kbit/s") && video.reason.contains("15 fps"), "{}", video.reason);
    }
}
