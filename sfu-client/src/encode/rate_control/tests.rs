//! Rate control around a codec that is made up: its bits follow from complexity and quantiser, less well than foretold.

use super::*;

const RATE: f64 = 360_000.0;
const MEAN: f64 = RATE / 30.0;

/// A codec that needs more bits by `noise` at random, and where the quantiser counts for more than the model says.
struct Codec {
    state: u32,
    noise: f64,
}

impl Codec {
    fn bits(&mut self, plan: &Plan) -> f64 {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let error = (f64::from(self.state >> 8) / f64::from(1u32 << 24) - 0.5) * 2.0 * self.noise;
        let complexity = if plan.keyframe { plan.complexity.intra } else { plan.complexity.inter };
        let (offset, slope) = if plan.keyframe { (2.5, 0.9) } else { (5.0, 1.4) };
        complexity * (offset - f64::from(plan.quantizer) / 6.0 * slope + error).exp2() + 150.0
    }
}

struct Stream {
    control: RateControl,
    codec: Codec,
    /// Bits and whether it was a keyframe; 0 of what was skipped.
    pictures: Vec<(f64, bool)>,
}

impl Stream {
    fn new(config: RateControlConfig, noise: f64) -> Self {
        let control = RateControl::new(config, Ladder::H264, Bitrate::from_bps(RATE as u64), 30.0);
        Self { control, codec: Codec { state: 7, noise }, pictures: Vec::new() }
    }

    fn picture(&mut self, complexity: Complexity, keyframe: bool) {
        let now = Duration::from_secs_f64(self.pictures.len() as f64 / 30.0);
        self.picture_at(now, complexity, keyframe);
    }

    fn picture_at(&mut self, now: Duration, complexity: Complexity, keyframe: bool) {
        let Some(mut plan) = self.control.plan(now, complexity, keyframe, 0) else {
            self.pictures.push((0.0, false));
            return;
        };
        let mut bits = self.codec.bits(&plan);
        while let Some(next) = self.control.again(now, &plan, bits) {
            plan = next;
            bits = self.codec.bits(&plan);
        }
        self.control.sent(&plan, bits);
        self.pictures.push((bits, plan.keyframe));
    }

    fn sums(&self, length: usize) -> Vec<f64> {
        let sum = |window: &[(f64, bool)]| window.iter().map(|(bits, _)| bits).sum::<f64>();
        self.pictures.chunks_exact(length).map(sum).collect()
    }

    fn largest(&self, keyframe: bool) -> f64 {
        let sizes = self.pictures.iter().filter(|(_, is_keyframe)| *is_keyframe == keyframe).map(|(bits, _)| *bits);
        sizes.fold(0.0, f64::max)
    }
}

fn moving(inter: f64) -> Complexity {
    Complexity { intra: 400_000.0, inter, new_share: 0.1, samples: 57_600.0 }
}

const CUT_TO: Complexity = Complexity { intra: 500_000.0, inter: 450_000.0, new_share: 0.9, samples: 57_600.0 };

#[test]
fn every_second_and_its_half_carry_their_share() {
    let mut stream = Stream::new(RateControlConfig::default(), 0.25);
    for number in 0..600 {
        // Motion comes and goes.
        let motion = 1.0 + 0.8 * (f64::from(number) / 25.0).sin();
        stream.picture(moving(60_000.0 * motion), false);
    }
    for second in &stream.sums(30)[1..] {
        assert!((second / RATE - 1.0).abs() <= 0.03, "{second}");
    }
    for half in &stream.sums(15)[2..] {
        assert!((half / (RATE / 2.0) - 1.0).abs() <= 0.1, "{half}");
    }
    assert!(stream.largest(false) <= 3.0 * MEAN && stream.largest(true) <= 2.5 * MEAN);
    assert_eq!(stream.pictures.iter().filter(|(_, keyframe)| *keyframe).count(), 1);
}

#[test]
fn cuts_and_wanted_keyframes_are_spread() {
    for place in [31, 44, 45, 58, 59, 60] {
        let mut stream = Stream::new(RateControlConfig::default(), 0.15);
        for number in 0..150 {
            let is_cut = number == place;
            stream.picture(if is_cut { CUT_TO } else { moving(70_000.0) }, number == place + 50);
        }
        assert!(stream.pictures[place].1 && stream.pictures[place + 50].1);
        assert!(stream.largest(true) <= 2.5 * MEAN && stream.largest(false) <= 3.0 * MEAN, "{place}");
        for second in &stream.sums(30)[1..] {
            assert!((second / RATE - 1.0).abs() <= 0.03, "{second} of a cut at {place}");
        }
        for half in &stream.sums(15)[2..] {
            assert!((half / (RATE / 2.0) - 1.0).abs() <= 0.1, "{half} of a cut at {place}");
        }
    }
}

#[test]
fn what_is_too_large_is_coded_again_as_a_keyframe() {
    let mut stream = Stream::new(RateControlConfig::default(), 0.0);
    for _ in 0..60 {
        stream.picture(moving(60_000.0), false);
    }
    let now = Duration::from_secs(2);
    let plan = stream.control.plan(now, moving(60_000.0), false, 0).unwrap();
    assert!(!plan.keyframe);
    assert_eq!(stream.control.again(now, &plan, 2.9 * MEAN), None);
    let mut plan = stream.control.again(now, &plan, 4.0 * MEAN).unwrap();
    assert!(plan.keyframe && plan.target <= 2.5 * MEAN);
    // Again and again, but not for ever, and coarser each time.
    let mut tries = 2;
    while let Some(next) = stream.control.again(now, &plan, 4.0 * MEAN) {
        assert!(next.keyframe && next.quantizer > plan.quantizer);
        plan = next;
        tries += 1;
    }
    assert!((3..=TRIES).contains(&tries), "{tries}");
}

#[test]
fn whole_keyframes_are_larger_and_paid_back() {
    let mut stream = Stream::new(RateControlConfig { spread_keyframes: false, ..Default::default() }, 0.1);
    for number in 0..150 {
        stream.picture(moving(60_000.0), number == 61);
    }
    assert!(stream.pictures[61].0 > 3.0 * MEAN && stream.pictures[61].0 < 10.0 * MEAN);
    for second in &stream.sums(30)[1..] {
        assert!((second / RATE - 1.0).abs() <= 0.03, "{second}");
    }
}

/// Three pages of five seconds each, at a share of the usual bitrate: what is sent.
fn pages(share: f64) -> Vec<(f64, bool)> {
    let mut stream = Stream::new(RateControlConfig::screen(), 0.1);
    stream.control.set_bitrate(Bitrate::from_bps((RATE * share) as u64));
    let still = Complexity { inter: 100.0, new_share: 0.0, ..CUT_TO };
    for number in 0..450 {
        // A keyframe that is asked for while one is being paid for is that one.
        stream.picture(if number % 150 == 0 { CUT_TO } else { still }, number % 150 == 10);
    }
    stream.pictures
}

#[test]
fn a_page_of_a_screen_is_whole_and_paid_for_by_what_is_left_out() {
    let rate = 0.1 * RATE;
    for pages in pages(0.1).chunks_exact(150) {
        let (page, keyframe) = pages[0];
        assert!(keyframe && page > 0.9 * rate && page < 2.0 * rate, "{page}");
        assert!(pages[1..20].iter().all(|(bits, _)| *bits == 0.0));
        assert_eq!(pages.iter().filter(|(_, keyframe)| *keyframe).count(), 1);
        let all: f64 = pages.iter().map(|(bits, _)| bits).sum();
        assert!(all <= 5.0 * rate, "{all}");
    }
}

/// A page is there the sooner the more the path carries, and what makes it finer comes after it.
#[test]
fn a_page_of_a_screen_is_no_finer_at_first_than_it_need_be() {
    let first = [1.0, 2.0, 8.0].map(pages).map(|pictures| [pictures[150].0, pictures[300].0]).concat();
    let (least, most) =
        first.iter().fold((f64::MAX, 0.0_f64), |(least, most), bits| (least.min(*bits), most.max(*bits)));
    assert!(most < 1.2 * least, "{first:?}");
    assert!(pages(8.0)[1..150].iter().any(|(bits, _)| *bits > 0.2 * most), "it is refined");
}

#[test]
fn what_was_left_out_of_a_screen_is_not_forgotten() {
    let mut stream = Stream::new(RateControlConfig::screen(), 0.0);
    let still = Complexity { inter: 100.0, new_share: 0.0, ..CUT_TO };
    for number in 0..90 {
        // A second page comes while the first is being paid for.
        stream.picture(if number == 0 || number == 10 { CUT_TO } else { still }, false);
    }
    assert_eq!(stream.pictures.iter().filter(|(_, keyframe)| *keyframe).count(), 2);
}

#[test]
fn a_new_bitrate_holds_at_once() {
    let mut stream = Stream::new(RateControlConfig::default(), 0.1);
    for number in 0..240 {
        match number {
            90 => stream.control.set_bitrate(Bitrate::from_bps(RATE as u64 / 3)),
            150 => stream.control.set_bitrate(Bitrate::from_bps(RATE as u64 * 2)),
            _ => {}
        }
        stream.picture(moving(60_000.0), false);
    }
    let halves = stream.sums(15);
    // From half a second after each change on.
    for half in &halves[7..10] {
        assert!((half / (RATE / 6.0) - 1.0).abs() <= 0.1, "{half}");
    }
    for half in &halves[11..] {
        assert!((half / RATE - 1.0).abs() <= 0.1, "{half}");
    }
}

/// What looks like a cut each time is noise.
#[test]
fn noise_is_no_cut() {
    let mut stream = Stream::new(RateControlConfig::default(), 0.1);
    for _ in 0..90 {
        stream.picture(Complexity { intra: 60_000.0, inter: 55_000.0, new_share: 0.9, samples: 57_600.0 }, false);
    }
    assert!(stream.pictures[2..].iter().all(|(_, keyframe)| !keyframe));
}

#[test]
fn stillness_saves_nothing_up() {
    let mut stream = Stream::new(RateControlConfig::default(), 0.1);
    for number in 0..300 {
        stream.picture(moving(if number < 200 { 0.0 } else { 60_000.0 }), false);
    }
    // Still pictures cost so little that no quantiser fills the bitrate.
    assert!(stream.sums(30)[4] < 0.9 * RATE);
    assert!(stream.sums(30)[7..].iter().all(|second| *second < 1.05 * RATE));
}

#[test]
fn a_pause_is_forgotten_and_the_frame_rate_may_change() {
    let mut stream = Stream::new(RateControlConfig::default(), 0.1);
    for _ in 0..60 {
        stream.picture(moving(60_000.0), false);
    }
    // After five seconds, ten pictures per second.
    let begin = stream.pictures.len();
    for number in 0..60 {
        let now = Duration::from_secs_f64(7.0 + f64::from(number) / 10.0);
        stream.picture_at(now, moving(80_000.0), false);
    }
    let second = |from: usize| stream.pictures[from..from + 10].iter().map(|(bits, _)| bits).sum::<f64>();
    assert!(second(begin) < 1.1 * RATE, "{}", second(begin));
    for number in 1..6 {
        assert!((second(begin + 10 * number) / RATE - 1.0).abs() < 0.12, "{}", second(begin + 10 * number));
    }
}

#[test]
fn a_ceiling_is_kept_and_pictures_are_skipped_where_that_is_allowed() {
    let run = |skip| {
        let config = RateControlConfig { max_quantizer: 30, skip, ..Default::default() };
        let mut stream = Stream::new(config, 0.1);
        for _ in 0..150 {
            stream.picture(moving(200_000.0), false);
        }
        stream
    };
    assert!(run(false).sums(30)[3] > 1.2 * RATE);
    let skipping = run(true);
    assert!(skipping.sums(30)[1..].iter().all(|second| *second < 1.15 * RATE), "{:?}", skipping.sums(30));
    assert!(skipping.pictures.iter().any(|(bits, _)| *bits == 0.0));
    // At this quantiser a picture takes four pictures' bits, and so many are sent.
    assert!(skipping.pictures.iter().filter(|(bits, _)| *bits > 0.0).count() > 25);
}

#[test]
fn extremes_stay_within_bounds() {
    for bitrate in [0, 1, 50_000, 100_000_000, u64::MAX] {
        for complexity in [Complexity::default(), CUT_TO, moving(f64::MAX)] {
            for (min_quantizer, max_quantizer) in [(0, 51), (40, 20), (255, 255)] {
                let config = RateControlConfig { min_quantizer, max_quantizer, ..Default::default() };
                let mut control = RateControl::new(config, Ladder::H264, Bitrate::from_bps(bitrate), 30.0);
                for now in [0, 33, 10, 10, 5_000, u64::MAX / 2] {
                    let Some(plan) = control.plan(Duration::from_millis(now), complexity, false, 0) else { continue };
                    assert!(plan.quantizer <= max_quantizer.min(51));
                    assert!(plan.target.is_finite() && plan.cap.is_finite());
                    control.sent(&plan, 1e9);
                }
            }
        }
    }
}
