//! What a directive for sound comes to.

use crate::encode::PacketTime;
use crate::send::AudioSettings;
use sfu_proto::v1::AudioDirective;

/// Least bits per second of Opus.
const MIN_AUDIO_BITRATE: u32 = 6_000;

/// What a directive for sound comes to, and what of it cannot be done.
///
/// A copy of every packet is a share of FEC of 1; the directive's stops there, so half of it asks for one copy and more
/// for two. The bitrate is never above the user's, and never below what Opus takes.
pub(super) fn audio_settings(
    wanted: &AudioDirective,
    fec_ratio: f32,
    base: &AudioSettings,
    takes_red: bool,
) -> (AudioSettings, Option<&'static str>) {
    let mut settings = base.clone();
    let mut clamped = None;
    if wanted.bitrate_bps > 0 {
        settings.opus.bitrate = wanted.bitrate_bps.clamp(MIN_AUDIO_BITRATE.min(base.opus.bitrate), base.opus.bitrate);
        if settings.opus.bitrate != wanted.bitrate_bps {
            clamped = Some("the bitrate stays within bounds");
        }
    }
    settings.opus.fec = wanted.fec;
    settings.opus.dtx = wanted.dtx;
    settings.red.generations = usize::from(fec_ratio > 0.0) + usize::from(fec_ratio > 0.5);
    if settings.red.generations > 0 && !takes_red {
        clamped = Some("the server takes no redundant sound");
    }
    if wanted.packet_time_ms > 0 {
        settings.opus.packet_time = PacketTime::up_to_millis(wanted.packet_time_ms);
        if settings.opus.packet_time.millis() != wanted.packet_time_ms {
            clamped = Some("packets are of 20, 40 or 60 ms");
        }
    }
    (settings, clamped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::OpusConfig;
    use crate::send::RedConfig;

    fn base() -> AudioSettings {
        let opus = OpusConfig { bitrate: 32_000, fec: true, expected_loss: 10, ..Default::default() };
        AudioSettings { opus, red: RedConfig { generations: 0, spacing: 3 }, ..Default::default() }
    }

    #[test]
    fn a_directive_for_sound_is_carried_out() {
        let wanted = AudioDirective { bitrate_bps: 16_000, fec: false, dtx: true, packet_time_ms: 60 };
        for (fec_ratio, generations) in [(0.0, 0), (0.5, 1), (1.0, 2), (f32::NAN, 0)] {
            let (settings, clamped) = audio_settings(&wanted, fec_ratio, &base(), true);
            let packet_time = PacketTime::Ms60;
            let opus = OpusConfig { bitrate: 16_000, fec: false, expected_loss: 10, dtx: true, packet_time };
            let red = RedConfig { generations, spacing: 3 };
            assert_eq!(settings, AudioSettings { opus, red, ..Default::default() });
            assert_eq!(clamped, None);
        }
    }

    #[test]
    fn what_a_directive_for_sound_asks_beyond_bounds_is_said() {
        for (bitrate_bps, bitrate) in [(0, 32_000), (1, 6_000), (510_000, 32_000)] {
            let wanted = AudioDirective { bitrate_bps, fec: true, ..Default::default() };
            let (settings, clamped) = audio_settings(&wanted, 0.0, &base(), true);
            assert_eq!((settings.opus.bitrate, clamped.is_some()), (bitrate, bitrate_bps != 0));
        }
        for (packet_time_ms, applied) in [(10, 20), (30, 20), (50, 40), (120, 60)] {
            let wanted = AudioDirective { packet_time_ms, ..Default::default() };
            let (settings, clamped) = audio_settings(&wanted, 0.0, &base(), true);
            assert_eq!((settings.opus.packet_time.millis(), clamped.is_some()), (applied, true));
        }
        assert!(audio_settings(&AudioDirective::default(), 1.0, &base(), false).1.is_some());
    }
}
