//! The buffer on simulated time: even and uneven packets, losses, pauses, garbage.

use super::*;
use crate::capture::AudioSource;
use crate::capture::voice::{Voice, rms};
use crate::encode::{FRAME_SAMPLES, OpusConfig, OpusEncoder};
use crate::send::{RedConfig, Redundancy};
use proptest::prelude::*;
use std::sync::OnceLock;

const STEP: usize = 480;
const OPUS: u8 = 111;

/// `count` packets of a voice.
fn voice(count: usize, config: &OpusConfig) -> Vec<Bytes> {
    let (mut voice, mut encoder) = (Voice::new(2000.0), OpusEncoder::new(config).unwrap());
    let mut samples = [0; FRAME_SAMPLES];
    (0..count)
        .map(|_| {
            voice.fill(&mut samples).unwrap();
            encoder.encode(&samples).unwrap()
        })
        .collect()
}

fn plain() -> OpusConfig {
    OpusConfig { bitrate: 24_000, fec: false, ..Default::default() }
}

/// 20 s of a voice, coded once for all tests.
fn packets() -> &'static [Bytes] {
    static PACKETS: OnceLock<Vec<Bytes>> = OnceLock::new();
    PACKETS.get_or_init(|| voice(1_000, &plain()))
}

/// A buffer with its clock.
struct Player {
    playout: Playout,
    start: Instant,
    /// Milliseconds since the start.
    now: u64,
    heard: Vec<i16>,
    /// Target delay in milliseconds, after each step of 10 ms.
    targets: Vec<u64>,
}

impl Player {
    fn new() -> Self {
        let playout = Playout::new(&PlayoutConfig::default()).unwrap();
        Self { playout, start: Instant::now(), now: 0, heard: Vec::new(), targets: Vec::new() }
    }

    /// Plays on until `end`; `arrivals` are (ms, packet number), ascending.
    fn run(&mut self, end: u64, arrivals: &[(u64, usize)], mut push: impl FnMut(&mut Playout, Instant, usize)) {
        let mut arrivals = arrivals.iter().peekable();
        while self.now < end {
            let now = self.start + Duration::from_millis(self.now);
            while let Some((at, number)) = arrivals.next_if(|(at, _)| *at <= self.now) {
                push(&mut self.playout, self.start + Duration::from_millis(*at), *number);
            }
            let mut samples = [0; STEP];
            self.playout.pull(now, &mut samples);
            self.heard.extend(samples);
            self.targets.push(self.playout.target_delay().as_millis() as u64);
            self.now += 10;
        }
    }

    /// Plays plain packets, each later than the clock by what `late` says in ms; `None` is lost.
    fn play(&mut self, packets: &[Bytes], late: impl Fn(usize) -> Option<u64>) {
        let mut arrivals: Vec<_> =
            (0..packets.len()).filter_map(|number| Some((number as u64 * 20 + late(number)?, number))).collect();
        arrivals.sort_unstable();
        let end = arrivals.last().map_or(0, |(at, _)| at + 30);
        self.run(end, &arrivals, |playout, now, number| {
            playout.push(now, (number * FRAME_SAMPLES) as u32, packets[number].clone());
        });
    }

    fn stats(&self) -> &PlayoutStats {
        self.playout.stats()
    }
}

/// From 0 to below `bound`, in an order without pattern.
fn uneven(number: usize, bound: u64) -> u64 {
    let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) % bound
}

#[test]
fn a_clean_network_is_played_as_it_is_and_soon() {
    let mut player = Player::new();
    player.play(packets(), |number| Some(uneven(number, 5)));
    let stats = player.stats();
    assert!(stats.concealed_share() <= 0.002, "{stats:?}");
    assert!(stats.mean_delay_ms() <= 40.0, "{}", stats.mean_delay_ms());
    assert_eq!(stats.removed_samples_for_acceleration + stats.inserted_samples_for_deceleration, 0, "{stats:?}");
    let mut decoder = OpusDecoder::new().unwrap();
    let decoded: Vec<i16> = packets().iter().flat_map(|packet| decoder.decode(packet).unwrap().to_vec()).collect();
    let begin = player.heard.iter().position(|sample| *sample != 0).unwrap();
    let first = decoded.iter().position(|sample| *sample != 0).unwrap();
    let count = player.heard.len() - begin - 20 * STEP;
    assert!(player.heard[begin..begin + count] == decoded[first..first + count]);
}

#[test]
fn jitter_is_followed_within_two_seconds_and_little_is_concealed() {
    let mut player = Player::new();
    // Even for 4 s, then +-60 ms around that for 6 s, then even again.
    let late = |number| if (200..500).contains(&number) { uneven(number, 120) } else { 60 };
    player.play(packets(), |number| Some(late(number)));
    let stats = player.stats();
    assert!(stats.concealed_share() <= 0.015, "{stats:?}");
    // The last ones still wait.
    assert!(stats.packets_decoded + stats.packets_discarded >= 996, "{stats:?}");
    assert_eq!(player.targets[390], 20);
    let followed = player.targets[400..].iter().position(|target| *target >= 100).unwrap();
    assert!(followed <= 200, "{followed} steps");
    // Two seconds until the fastest are forgotten, and four more until their histogram is.
    let back = player.targets[1_010..].iter().position(|target| *target == 20).unwrap();
    assert!(back <= 700, "{back} steps");
    assert!(stats.inserted_samples_for_deceleration > 0 && stats.removed_samples_for_acceleration > 0, "{stats:?}");
}

#[test]
fn sound_comes_back_to_its_target_slowly() {
    let mut player = Player::new();
    player.play(packets(), |number| Some(if number < 300 { uneven(number, 120) } else { 0 }));
    let (delay, emitted) = (player.stats().jitter_buffer_delay(), player.stats().emitted_count);
    // Ten more seconds, evenly.
    let more: Vec<_> = (0..500).map(|number| (20_000 + number as u64 * 20, number)).collect();
    player.run(30_000, &more, |playout, now, number| {
        playout.push(now, ((1_000 + number) * FRAME_SAMPLES) as u32, packets()[number].clone());
    });
    let stats = player.stats();
    let mean = (stats.jitter_buffer_delay() - delay) * 1000.0 / (stats.emitted_count - emitted) as f64;
    assert!(mean <= 45.0, "{mean} ms");
}

#[test]
fn lost_sound_comes_with_later_packets() {
    let lost = |number: usize| number > 20 && uneven(number, 10) < 2;
    let count = (0..980).filter(|number| lost(*number)).count() as u64;
    for red in [RedConfig { generations: 2, spacing: 1 }, RedConfig { generations: 2, spacing: 5 }] {
        let mut redundancy = Redundancy::new(OPUS);
        let stamp = |number: usize| (number * FRAME_SAMPLES) as u32;
        let mut carry = |number: usize| {
            let payload = redundancy.wrap(&packets()[number], stamp(number), red);
            redundancy.remember(packets()[number].clone(), stamp(number));
            payload
        };
        let coded: Vec<_> = (0..1_000).map(&mut carry).collect();
        let arrivals: Vec<_> =
            (0..1_000).filter(|number| !lost(*number)).map(|number| (number as u64 * 20, number)).collect();
        let mut player = Player::new();
        player.run(20_400, &arrivals, |playout, now, number| playout.push_red(now, stamp(number), &coded[number]));
        let stats = player.stats();
        assert!(stats.packets_from_redundancy * 10 > count * 8, "{count} were lost: {stats:?}");
        // Two in a hundred are lost with both copies, or were before the target had followed.
        assert!(stats.concealed_share() < 0.04, "{stats:?}");
        assert_eq!(stats.packets_damaged + stats.decode_errors, 0);
    }
}

#[test]
fn a_lost_packet_comes_by_fec_of_the_next() {
    let config = OpusConfig { bitrate: 32_000, fec: true, expected_loss: 20, ..Default::default() };
    let packets = voice(1_000, &config);
    let lost = |number: usize| number > 20 && number % 10 == 5;
    let mut player = Player::new();
    player.play(&packets, |number| (!lost(number)).then_some(0));
    let stats = player.stats();
    assert!(stats.packets_from_fec > 60, "{stats:?}");
    assert!(stats.concealed_share() < 0.04, "{stats:?}");
}

#[test]
fn comfort_noise_fills_the_pauses_of_a_sender() {
    // As a sender with DTX: an empty frame, then nothing for 400 ms at a time.
    let mut player = Player::new();
    // CELT has a comfort noise of its own.
    let packets = voice(101, &OpusConfig { bitrate: 16_000, fec: false, ..Default::default() });
    assert!(packets[99..].iter().all(|packet| packet[0] < 0x80), "SILK");
    let empty = Bytes::copy_from_slice(&packets[100][..1]);
    let arrivals: Vec<_> = (0..400)
        .filter(|number| *number <= 100 || number % 20 == 0)
        .map(|number| (number as u64 * 20, number))
        .collect();
    player.run(8_000, &arrivals, |playout, now, number| {
        let packet = if number < 100 { &packets[number] } else { &empty };
        playout.push(now, (number * FRAME_SAMPLES) as u32, packet.clone());
    });
    let stats = player.stats();
    assert_eq!(stats.concealment_events, 0, "{stats:?}");
    assert_eq!(stats.concealed_share(), 0.0);
    assert!(stats.silent_concealed_samples > 5 * 48_000, "{stats:?}");
    let loudness = |packet: usize| rms(&player.heard[packet * 960..][..960]);
    assert!(loudness(90) > 500.0 && loudness(300) < 10.0, "{} and {}", loudness(90), loudness(300));
}

#[test]
fn a_stream_that_pauses_begins_anew() {
    for jump in [0_u32, 3_000_000_000] {
        let mut player = Player::new();
        player.play(&packets()[..200], |_| Some(0));
        let before = player.stats().packets_decoded;
        let arrivals: Vec<_> = (0..200).map(|number| (10_000 + number as u64 * 20, number)).collect();
        // The clock of the timestamps stood still, or jumped.
        player.run(14_010, &arrivals, |playout, now, number| {
            let timestamp = ((200 + number) * FRAME_SAMPLES) as u32;
            playout.push(now, timestamp.wrapping_add(jump), packets()[number].clone());
        });
        let stats = player.stats();
        assert!(stats.packets_decoded - before >= 198, "{jump}: {stats:?}");
        // The pause is concealed for 2 s at most.
        assert!(stats.concealed_samples <= 2 * 48_000 + 960, "{jump}: {stats:?}");
        assert!(rms(&player.heard[8 * 48_000..][..48_000]) < 1.0);
    }
}

#[test]
fn a_stream_that_ends_is_played_to_its_end_whatever_the_steps() {
    for step in [1, 7, 100, 480, 481, 5_000] {
        let mut playout = Playout::new(&PlayoutConfig::default()).unwrap();
        let mut now = Instant::now();
        for (number, packet) in packets()[..10].iter().enumerate() {
            playout.push(now, (number * FRAME_SAMPLES) as u32, packet.clone());
        }
        let mut pulled = 0;
        while !playout.is_empty() {
            playout.pull(now, &mut vec![0; step]);
            pulled += step;
            now += Duration::from_secs(step as u64) / SAMPLE_RATE;
            assert!(pulled < 20 * FRAME_SAMPLES, "in steps of {step} it never ends");
        }
        assert_eq!(playout.stats().packets_decoded, 10);
    }
}

#[test]
fn after_a_standstill_of_the_network_only_the_newest_is_played() {
    let mut player = Player::new();
    // From 4 s on nothing for 1.5 s, then all of it at once.
    player.play(packets(), |number| Some(if (200..275).contains(&number) { (275 - number as u64) * 20 } else { 0 }));
    let stats = player.stats();
    assert!(stats.packets_discarded > 20, "{stats:?}");
    let delay = stats.mean_delay_ms();
    assert!(delay < 200.0, "{delay} ms: {stats:?}");
}

/// Something that happens to a buffer.
#[derive(Clone, Debug)]
enum Happening {
    /// A packet of the voice, with this number; its timestamps begin shortly before they wrap.
    Packet(u16),
    Red(u16, u8),
    Anything(u32, Vec<u8>),
    AnyRed(u32, Vec<u8>),
    Pass(u16),
    Pull(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..80);
    prop_oneof![
        8 => (0..400u16).prop_map(Happening::Packet),
        3 => (0..400u16, 1..20u8).prop_map(|(number, spacing)| Happening::Red(number, spacing)),
        1 => (any::<u32>(), bytes()).prop_map(|(timestamp, bytes)| Happening::Anything(timestamp, bytes)),
        1 => (any::<u32>(), bytes()).prop_map(|(timestamp, bytes)| Happening::AnyRed(timestamp, bytes)),
        4 => (0..100u16).prop_map(Happening::Pass),
        1 => (0..5_000u16).prop_map(Happening::Pass),
        8 => (0..2_000usize).prop_map(Happening::Pull),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_comes_every_pull_is_filled(happenings in proptest::collection::vec(happening(), 1..300)) {
        let config = PlayoutConfig { capacity: 32, ..Default::default() };
        let mut playout = Playout::new(&config).unwrap();
        let mut now = Instant::now();
        let mut pulled = 0;
        let stamp = |number: u16| (u32::from(number) * FRAME_SAMPLES as u32).wrapping_sub(100 * FRAME_SAMPLES as u32);
        for happening in happenings {
            match happening {
                Happening::Packet(number) => {
                    playout.push(now, stamp(number), packets()[usize::from(number)].clone());
                }
                Happening::Red(number, spacing) => {
                    let mut redundancy = Redundancy::new(OPUS);
                    let red = RedConfig { generations: 2, spacing: usize::from(spacing) };
                    let mut payload = Bytes::new();
                    for number in number.saturating_sub(18)..=number {
                        let packet = &packets()[usize::from(number)];
                        payload = redundancy.wrap(packet, stamp(number), red);
                        redundancy.remember(packet.clone(), stamp(number));
                    }
                    playout.push_red(now, stamp(number), &payload);
                }
                Happening::Anything(timestamp, bytes) => playout.push(now, timestamp, bytes.into()),
                Happening::AnyRed(timestamp, bytes) => playout.push_red(now, timestamp, &bytes.into()),
                Happening::Pass(millis) => now += Duration::from_millis(millis.into()),
                Happening::Pull(count) => {
                    // Recognisable, were they left in: no sound, not even one that is clipped, goes like this.
                    let before = |at: usize| (at as i16).wrapping_mul(7_919);
                    let mut samples: Vec<i16> = (0..count).map(before).collect();
                    playout.pull(now, &mut samples);
                    let mut left = samples.windows(4).enumerate();
                    prop_assert!(left.all(|(at, four)| (0..4).any(|next| four[next] != before(at + next))));
                    pulled += count as u64;
                }
            }
            prop_assert!(playout.packets.len() <= config.capacity);
            prop_assert!(playout.ready.len() <= 6_480);
        }
        let stats = playout.stats();
        prop_assert_eq!(stats.total_samples, pulled);
        prop_assert!(stats.silent_concealed_samples <= stats.concealed_samples);
    }

    #[test]
    fn any_order_within_the_target_is_played_whole(seed in any::<usize>()) {
        let mut player = Player::new();
        // From the start as uneven as ever.
        player.play(&packets()[..300], |number| Some(uneven(number ^ seed, 60)));
        let stats = player.stats();
        prop_assert!(stats.packets_decoded >= 270, "{:?}", stats);
    }
}
