//! What scenarios that count media return, and what must be true of it.

use crate::attempts::note_pause;
use serde_json::Value;
use std::time::Duration;

/// Share of the frames encoded in the forwarded layer that must be decoded.
const LEAST_DECODED: f64 = 0.95;
/// Concealed share of audio samples beyond which one would hear it.
const MOST_CONCEALED: f64 = 0.02;

/// The number of this name; fails where there is none.
pub fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// The list of this name; fails where there is none.
pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// Every tab decodes the picture of every other, smoothly, and hears everybody. All streams are printed before the first
/// fault ends the test: whether one of them suffered or all tells where to look.
pub fn assert_all_flow(result: &Value, tabs: usize) {
    assert_eq!(list(result, "tabs").len(), tabs);
    for tab in list(result, "tabs") {
        let name = tab["name"].as_str().unwrap_or_default();
        note_pause(name, Duration::from_secs_f64(number(tab, "paused") / 1_000.0));
        list(tab, "video").iter().for_each(|stream| print_stream(name, stream));
    }
    for tab in list(result, "tabs") {
        let name = tab["name"].as_str().unwrap_or_default();
        assert_eq!(tab["state"], "connected", "{name}");
        let video = list(tab, "video");
        assert_eq!(video.len(), tabs - 1, "{name} receives everybody's picture: {tab:#}");
        for stream in video {
            assert_smooth(name, stream);
        }
        let audio = list(tab, "audio");
        assert_eq!(audio.len(), tabs - 1, "{name} receives everybody's sound: {tab:#}");
        for stream in audio {
            assert_audible(name, stream);
        }
    }
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

/// A received picture is complete, large enough and does not freeze.
pub fn assert_smooth(name: &str, stream: &Value) {
    assert!(
        list(stream, "layers").iter().all(Value::is_string),
        "{name}: the picture has the size of a layer: {stream}"
    );
    assert!(number(stream, "encoded") > 0.0, "{name}: the sender encodes: {stream}");
    assert!(decoded_share(stream) >= LEAST_DECODED, "{name}: decodes what was encoded: {stream}");
    assert_eq!(number(stream, "freezes"), 0.0, "{name}: does not freeze: {stream}");
    assert!(number(stream, "width") >= 320.0 && number(stream, "height") >= 180.0, "{name}: is large enough: {stream}");
}

/// A received sound is there.
pub fn assert_audible(name: &str, stream: &Value) {
    assert!(number(stream, "packets") > 0.0, "{name}: packets arrive: {stream}");
    assert!(number(stream, "energy") > 0.0, "{name}: it is not silence: {stream}");
    let concealed = number(stream, "concealed") / number(stream, "samples").max(1.0);
    assert!(concealed <= MOST_CONCEALED, "{name}: little is concealed ({concealed:.4}): {stream}");
}
