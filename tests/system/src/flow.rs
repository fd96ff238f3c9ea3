//! What scenarios that count media return, and what must be true of it.

use crate::attempts::processors;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Share of the frames encoded in the forwarded layer that must be decoded.
const LEAST_DECODED: f64 = 0.95;
/// Concealed share of audio samples beyond which one would hear it.
const MOST_CONCEALED: f64 = 0.02;
/// A page that stood still for so many milliseconds shows a freeze, whatever it was sent: one begins 150 ms after the
/// frame was due.
const LONG_PAUSE: f64 = 100.0;

/// The number of this name; fails where there is none.
pub fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// The list of this name; fails where there is none.
pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// Every tab gets the video and the audio of everybody; whole and smoothly, as far as the server can help it:
///
/// - Where the machine kept browsers from running, a frame that still waits for its receiver tells nothing of the server.
/// - A freeze or concealed audio tells of it only where packets or a keyframe were lacking, the layer changed, or packets
///   were kept too long ([`late_rounds`](crate::Server::late_rounds)). Else a sender or a receiver paused.
///
/// All streams are printed before the first fault ends the test: whether one of them suffered or all tells where to look.
pub fn assert_all_flow(result: &Value, tabs: usize, late_rounds: u64) {
    assert_eq!(list(result, "tabs").len(), tabs);
    let had_time = browsers_had_time(result);
    println!("{late_rounds} rounds of the server were late");
    for tab in list(result, "tabs") {
        let name = tab["name"].as_str().unwrap_or_default();
        list(tab, "video").iter().for_each(|stream| print_stream(name, stream));
    }
    for tab in list(result, "tabs") {
        let name = tab["name"].as_str().unwrap_or_default();
        assert_eq!(tab["state"], "connected", "{name}");
        let video = list(tab, "video");
        assert_eq!(video.len(), tabs - 1, "{name} receives everybody's video: {tab:#}");
        for stream in video {
            assert_arrives(name, stream);
            if had_time {
                assert_complete(name, stream);
                assert_smooth(name, stream, late_rounds);
            }
        }
        let audio = list(tab, "audio");
        assert_eq!(audio.len(), tabs - 1, "{name} receives everybody's audio: {tab:#}");
        for stream in audio {
            assert_audible(name, stream);
            let concealed = number(stream, "concealed") / number(stream, "samples").max(1.0);
            let suffers = late_rounds > 0 || number(stream, "lost") > 0.0;
            assert!(
                !had_time || !suffers || concealed <= MOST_CONCEALED,
                "{name}: little is concealed ({concealed:.4}): {stream}"
            );
        }
    }
}

/// On loopback the server has no excuse: no packet is lost, and none comes so late or out of order that it is asked for
/// again.
pub fn assert_nothing_lost(result: &Value) {
    for tab in list(result, "tabs") {
        let name = tab["name"].as_str().unwrap_or_default();
        for stream in list(tab, "video") {
            assert_eq!((number(stream, "lost"), number(stream, "nacks")), (0.0, 0.0), "{name}: {stream}");
        }
        list(tab, "audio").iter().for_each(|stream| assert_eq!(number(stream, "lost"), 0.0, "{name}: {stream}"));
    }
}

/// Whether what browsers show tells of the server: the machine had processors for them while media was counted, and no
/// page stood still.
fn browsers_had_time(result: &Value) -> bool {
    let longest = |tab: &Value| number(tab, "paused");
    let pause = list(result, "tabs").iter().map(longest).fold(0.0, f64::max);
    let measured = &list(result, "tabs")[0]["measured"];
    let moment = |name| -> SystemTime { UNIX_EPOCH + Duration::from_secs_f64(number(measured, name) / 1_000.0) };
    let share = processors((moment("from"), moment("to")));
    println!("{share}; the longest pause of a page was {pause:.0} ms");
    let had_time = !share.is_full() && pause < LONG_PAUSE;
    if !had_time {
        println!("browsers were kept from running: missing frames, freezes and concealment are not judged");
    }
    had_time
}

fn decoded_share(stream: &Value) -> f64 {
    number(stream, "decoded") / number(stream, "encoded")
}

fn print_stream(name: &str, stream: &Value) {
    println!(
        "{name} <- {}: {:.1} % of {} frames, {} not shown, {} s frozen, {} packets asked for again",
        stream["from"],
        100.0 * decoded_share(stream),
        stream["encoded"],
        stream["dropped"],
        stream["frozen"],
        stream["nacks"]
    );
}

/// Frames of a received video arrive in the size of a layer that is large enough.
fn assert_arrives(name: &str, stream: &Value) {
    assert!(list(stream, "layers").iter().all(Value::is_string), "{name}: the video has the size of a layer: {stream}");
    assert!(number(stream, "encoded") > 0.0, "{name}: the sender encodes: {stream}");
    assert!(number(stream, "received") > 0.0, "{name}: gets frames: {stream}");
    assert!(number(stream, "width") >= 320.0 && number(stream, "height") >= 180.0, "{name}: is large enough: {stream}");
}

/// What was encoded arrives.
fn assert_complete(name: &str, stream: &Value) {
    let received = number(stream, "received") / number(stream, "encoded");
    assert!(received >= LEAST_DECODED, "{name}: gets what was encoded: {stream}");
}

/// A received video is decoded, and does not freeze for anything that the server did.
fn assert_smooth(name: &str, stream: &Value, late_rounds: u64) {
    assert!(decoded_share(stream) >= LEAST_DECODED, "{name}: decodes what was encoded: {stream}");
    let troubles: f64 = ["lost", "nacks", "plis"].iter().map(|trouble| number(stream, trouble)).sum();
    let untroubled = late_rounds == 0 && troubles == 0.0 && list(stream, "layers").len() == 1;
    assert!(untroubled || number(stream, "freezes") == 0.0, "{name}: does not freeze: {stream}");
}

/// A received audio is there.
fn assert_audible(name: &str, stream: &Value) {
    assert!(number(stream, "packets") > 0.0, "{name}: packets arrive: {stream}");
    assert!(number(stream, "energy") > 0.0, "{name}: it is not silence: {stream}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::panic::catch_unwind;

    #[test]
    fn a_freeze_counts_where_the_server_may_have_a_part_in_it() {
        let frozen =
            || json!({"decoded": 89, "encoded": 90, "freezes": 1, "lost": 0, "nacks": 0, "plis": 0, "layers": ["f"]});
        let passes = |late_rounds, name: &str, value: Value| {
            let mut stream = frozen();
            stream[name] = value;
            catch_unwind(|| assert_smooth("a", &stream, late_rounds)).is_ok()
        };
        assert!(passes(0, "layers", json!(["f"])), "everything came, and in time");
        assert!(!passes(1, "layers", json!(["f"])), "kept too long");
        assert!(!passes(0, "layers", json!(["h", "f"])), "the layer changed");
        for trouble in ["lost", "nacks", "plis"] {
            assert!(!passes(0, trouble, json!(1)), "{trouble}");
        }
        assert!(!passes(0, "decoded", json!(80)), "not decoded");
    }
}
