//! A bot that joins a room, plays a WAV file (16-bit PCM) once, and leaves.
//!
//! ```sh
//! cargo run -p sfu-client --example wav_bot -- ws://127.0.0.1:7880 demo announcement.wav
//! ```

use anyhow::Result;
use sfu_client::capture::WavReader;
use sfu_client::publish::PublishOptions;
use sfu_client::publisher::Publisher;
use sfu_client::send::AudioSettings;
use sfu_client::signal::{JoinOptions, Target};
use std::env;
use std::path::Path;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, room, file] = arguments.as_slice() else {
        anyhow::bail!("usage: wav_bot SERVER ROOM FILE");
    };
    let sound = Box::new(WavReader::open(Path::new(file))?.once());
    let target = Target::Native(JoinOptions::new(server, room, "wav_bot"));
    let publisher = Publisher::start(PublishOptions::new(target).audio(sound, AudioSettings::default())).await?;
    // Until the file is over.
    let report = publisher.finished().await?;
    println!("played {:.1} s", report.audio.frames as f64 * 0.02);
    Ok(())
}
