//! Sound from a microphone, with the feature `microphone` (ALSA by the crate `cpal`; Debian: `libasound2-dev`).
//!
//! The device has a clock of its own. What it hands out waits here until it is asked for: silence stands in where there is
//! too little, and the oldest is left out where there is too much.

use super::{AudioSource, SAMPLE_RATE};
use anyhow::{Context, Result, anyhow, bail, ensure};
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{ErrorKind, FromSample, Sample, SampleFormat, SizedSample, StreamConfig, SupportedStreamConfig};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What may wait: a device hands out 10 to 50 ms at a time.
const MOST: usize = SAMPLE_RATE as usize / 8;
/// What is left of it where it was more.
const USUAL: usize = SAMPLE_RATE as usize / 25;
/// A device that hands out nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(3);

/// A running microphone. It is closed with this value.
pub struct Microphone {
    heard: Arc<Mutex<Heard>>,
    name: String,
    /// The stream's thread ends once this is gone.
    _open: mpsc::Sender<()>,
}

/// What the device has handed out.
struct Heard {
    samples: VecDeque<i16>,
    /// Between two that are handed out there is as much as the device has before it begins.
    is_running: bool,
    at: Instant,
    failed: Option<String>,
}

impl Microphone {
    /// Opens the microphone of this name, or the system's first; names are those that `doctor` lists.
    ///
    /// # Errors
    /// Where there is none, or it is in use, or does not have 48 kHz.
    pub fn open(name: Option<&str>) -> Result<Self> {
        let device = find(name)?;
        let name = device.description().map_or_else(|_| "the microphone".to_owned(), |known| known.name().to_owned());
        let config = choose(&device).with_context(|| format!("cannot use {name}"))?;
        let heard = Heard { samples: VecDeque::new(), is_running: false, at: Instant::now(), failed: None };
        let heard = Arc::new(Mutex::new(heard));
        let (open_out, open) = mpsc::channel();
        let (begun_out, begun) = mpsc::channel();
        let shared = Arc::clone(&heard);
        // Streams are not to leave the thread that made them.
        let run = move || match begin(&device, &config, &shared) {
            Ok(_stream) => {
                drop(begun_out.send(Ok(())));
                // It says nothing; it ends.
                let _ = open.recv();
            }
            Err(error) => drop(begun_out.send(Err(error))),
        };
        thread::Builder::new().name("microphone".to_owned()).spawn(run).context("cannot start a thread")?;
        begun.recv().context("the microphone's thread broke down")?.with_context(|| format!("cannot open {name}"))?;
        Ok(Self { heard, name, _open: open_out })
    }

    /// The names of all that there are.
    pub fn names() -> Vec<String> {
        let devices = cpal::default_host().input_devices().into_iter().flatten();
        devices.filter_map(|device| Some(device.description().ok()?.name().to_owned())).collect()
    }
}

impl AudioSource for Microphone {
    fn fill(&mut self, samples: &mut [i16]) -> Result<bool> {
        let mut heard = lock(&self.heard);
        if let Some(error) = &heard.failed {
            bail!("{} is gone: {error}", self.name);
        }
        ensure!(heard.at.elapsed() < PATIENCE, "{} hands out nothing any more", self.name);
        heard.take(samples);
        Ok(true)
    }
}

impl Heard {
    fn push(&mut self, samples: impl Iterator<Item = i16>) {
        self.at = Instant::now();
        self.samples.extend(samples);
        if self.samples.len() > MOST {
            self.samples.drain(..self.samples.len() - USUAL);
        }
    }

    fn take(&mut self, out: &mut [i16]) {
        // A device that was late has some more before it goes on, so that it is not late each time.
        self.is_running = if self.is_running { self.samples.len() >= out.len() } else { self.samples.len() >= USUAL };
        let count = if self.is_running { out.len() } else { 0 };
        for (sample, heard) in out.iter_mut().zip(self.samples.drain(..count)) {
            *sample = heard;
        }
        out[count..].fill(0);
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find(name: Option<&str>) -> Result<cpal::Device> {
    let host = cpal::default_host();
    let Some(name) = name else { return host.default_input_device().context("there is no microphone") };
    let is_named = |device: &cpal::Device| device.description().is_ok_and(|known| known.name() == name);
    let mut devices = host.input_devices().context("the microphones cannot be listed")?;
    devices.find(is_named).with_context(|| format!("there is no microphone {name:?}, but {:?}", Microphone::names()))
}

/// 48 kHz in as few channels as there are.
fn choose(device: &cpal::Device) -> Result<SupportedStreamConfig> {
    let offered = device.supported_input_configs().context("it does not say what it has")?;
    let known = |format| matches!(format, SampleFormat::I16 | SampleFormat::I32 | SampleFormat::F32);
    let fits = offered
        .filter(|config| known(config.sample_format()))
        .filter_map(|config| config.try_with_sample_rate(SAMPLE_RATE));
    fits.min_by_key(|config| (config.channels(), config.sample_format() != SampleFormat::I16))
        .context("it has no samples of 16 or 32 bits at 48 kHz")
}

fn begin(device: &cpal::Device, config: &SupportedStreamConfig, heard: &Arc<Mutex<Heard>>) -> Result<cpal::Stream> {
    let stream = match config.sample_format() {
        SampleFormat::I16 => build::<i16>(device, config, heard),
        SampleFormat::I32 => build::<i32>(device, config, heard),
        SampleFormat::F32 => build::<f32>(device, config, heard),
        other => Err(anyhow!("samples of {other} are not read")),
    }?;
    stream.play()?;
    Ok(stream)
}

fn build<T: SizedSample>(
    device: &cpal::Device,
    config: &SupportedStreamConfig,
    heard: &Arc<Mutex<Heard>>,
) -> Result<cpal::Stream>
where
    i16: FromSample<T>,
{
    let channels = usize::from(config.channels()).max(1);
    let (heard, told) = (Arc::clone(heard), Arc::clone(heard));
    let on_sound = move |data: &[T], _: &cpal::InputCallbackInfo| {
        let mono = data.chunks_exact(channels).map(|frame| {
            let sum: i32 = frame.iter().map(|sample| i32::from(i16::from_sample(*sample))).sum();
            // A mean of values of 16 bits.
            (sum / channels as i32) as i16
        });
        lock(&heard).push(mono);
    };
    let on_error = move |error: cpal::Error| match error.kind() {
        // It goes on.
        ErrorKind::DeviceChanged | ErrorKind::Xrun | ErrorKind::RealtimeDenied => tracing::debug!(%error, "microphone"),
        _ => lock(&told).failed = Some(error.to_string()),
    };
    Ok(device.build_input_stream(StreamConfig::from(*config), on_sound, on_error, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard() -> Heard {
        Heard { samples: VecDeque::new(), is_running: false, at: Instant::now(), failed: None }
    }

    #[test]
    fn silence_stands_in_for_what_is_late_and_the_oldest_goes_where_there_is_too_much() {
        let (mut heard, mut out) = (heard(), [7; 960]);
        heard.push(std::iter::repeat_n(1, USUAL - 1));
        heard.take(&mut out);
        assert_eq!(out, [0; 960], "it begins with some in reserve");
        heard.push(std::iter::once(1));
        heard.take(&mut out);
        assert_eq!(out, [1; 960]);
        heard.push((0..MOST).map(|_| 2).chain(std::iter::repeat_n(3, USUAL)));
        heard.take(&mut out);
        assert_eq!((out, heard.samples.len()), ([3; 960], USUAL - 960));
        heard.take(&mut out);
        heard.take(&mut out);
        assert_eq!(out, [0; 960]);
    }

    #[test]
    fn a_microphone_that_is_gone_says_so() {
        let mut microphone =
            Microphone { heard: Arc::new(Mutex::new(heard())), name: "mic".to_owned(), _open: mpsc::channel().0 };
        assert!(microphone.fill(&mut [0; 960]).unwrap());
        lock(&microphone.heard).failed = Some("unplugged".to_owned());
        assert_eq!(microphone.fill(&mut [0; 960]).unwrap_err().to_string(), "mic is gone: unplugged");
        *lock(&microphone.heard) = Heard { at: Instant::now() - PATIENCE, ..heard() };
        assert!(microphone.fill(&mut [0; 960]).unwrap_err().to_string().contains("nothing any more"));
    }
}
