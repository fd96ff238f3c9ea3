//! The lab itself: its lines are there, and the same each time.

use super::*;

fn options(network: &str, protection: &str) -> VoiceOptions {
    let (network, protection) = (network.to_owned(), protection.to_owned());
    VoiceOptions { seconds: 16, network, protection, ..Default::default() }
}

#[test]
fn every_network_meets_every_protection_and_redundancy_helps() {
    let results = measure(&options("loss-20%", ""), |_| ()).unwrap();
    assert_eq!(results.len(), PROTECTIONS.len());
    let of = |protection: &str| results.iter().find(|result| result.protection == protection).unwrap();
    assert!(of("none").stats.concealed_share() > 0.08, "{:?}", of("none").stats);
    assert!(of("red-2").stats.concealed_share() < 0.03, "{:?}", of("red-2").stats);
    assert!(of("fec").stats.packets_from_fec > 0);
    let text = table(&results);
    assert_eq!(text.lines().count(), 1 + PROTECTIONS.len());
    assert!(results[0].to_json()["playout"]["concealedSamples"].as_u64().unwrap() > 0);
}

#[test]
fn the_same_seed_gives_the_same_result() {
    let run = || measure(&options("bursts", "red-1"), |_| ()).unwrap().pop().unwrap();
    assert_eq!(run().stats, run().stats);
}

#[test]
fn a_clean_network_and_jitter_meet_their_targets() {
    let clean = measure(&options("clean", "none"), |_| ()).unwrap().pop().unwrap();
    assert!(clean.stats.concealed_share() <= 0.002 && clean.stats.mean_delay_ms() <= 40.0, "{clean:?}");
    let jitter = measure(&options("jitter", "none"), |_| ()).unwrap().pop().unwrap();
    assert!(jitter.stats.concealed_share() <= 0.015, "{jitter:?}");
    assert!(jitter.followed.unwrap() <= Duration::from_secs(2), "{jitter:?}");
}

#[test]
fn options_without_sense_are_refused() {
    assert!(measure(&VoiceOptions { seconds: 7, ..Default::default() }, |_| ()).is_err());
    assert!(measure(&VoiceOptions { wav: Some("/does/not/exist.wav".into()), ..Default::default() }, |_| ()).is_err());
}

#[cfg(feature = "pesq")]
#[test]
fn a_voice_is_understood_in_bursts_of_loss_and_with_few_bits() {
    let bursts = measure(&VoiceOptions { seconds: 40, ..options("bursts", "red-2-spread") }, |_| ()).unwrap();
    assert!(bursts[0].pesq.unwrap() >= 2.7, "{bursts:?}");
    let few = VoiceOptions { bitrate: 8_000, packet_time: PacketTime::Ms60, ..options("loss-2%", "none") };
    let few = measure(&VoiceOptions { seconds: 40, ..few }, |_| ()).unwrap();
    assert!(few[0].pesq.unwrap() >= 3.0 && few[0].bitrate <= 8_000.0, "{few:?}");
}
