//! Pictures from a camera, with the feature `camera` (Video4Linux by the crate `v4l`; Debian: `libclang-dev`).
//!
//! A thread takes pictures as they come; each is handed out once, the newest first. Read are the raw formats YUYV, NV12 and
//! I420: what a camera only has as JPEG goes by `--file` through ffmpeg.

use super::VideoSource;
use crate::frame::VideoFrame;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use v4l::buffer::Type;
use v4l::io::traits::CaptureStream;
use v4l::prelude::MmapStream;
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC};

/// A camera that shows nothing for so long is gone: in the dark some take half a second for a picture.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pictures that the driver may fill ahead.
const BUFFERS: u32 = 4;

/// How the bytes of a picture lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layout {
    /// Y U Y V, of two pixels each; both rows of a pair have colours.
    Yuyv,
    /// All Y, then U V of two by two pixels each.
    Nv12,
    /// All Y, all U, all V.
    I420,
}

impl Layout {
    /// The dearest last.
    const ALL: [(Self, &'static [u8; 4]); 3] = [(Self::I420, b"YU12"), (Self::Nv12, b"NV12"), (Self::Yuyv, b"YUYV")];
}

/// A running camera. It is closed with this value.
pub struct Camera {
    path: PathBuf,
    size: (usize, usize),
    frame_rate: f64,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    newest: Option<VideoFrame>,
    failed: Option<String>,
    closed: bool,
}

impl Camera {
    /// Opens the camera at `path`, such as `/dev/video0`, in the size and rate nearest to these that it has.
    ///
    /// # Errors
    /// Where there is none, it is in use, or has no pictures that can be read.
    pub fn open(path: &Path, size: (usize, usize), frame_rate: f64) -> Result<Self> {
        let show = || format!("cannot use the camera {}", path.display());
        let device = Device::with_path(path).with_context(show)?;
        let (layout, format) = negotiate(&device, size).with_context(show)?;
        // Each camera has its own rates; it takes the nearest, or says nothing of them.
        let wanted = Parameters::with_fps(frame_rate.round().clamp(1.0, 240.0) as u32);
        let interval = device.set_params(&wanted).or_else(|_| device.params()).map(|found| found.interval);
        let found = interval.ok().filter(|interval| interval.numerator > 0 && interval.denominator > 0);
        let frame_rate =
            found.map_or(frame_rate, |interval| f64::from(interval.denominator) / f64::from(interval.numerator));
        let mut stream = MmapStream::with_buffers(&device, Type::VideoCapture, BUFFERS).with_context(show)?;
        stream.set_timeout(PATIENCE);
        let size = (format.width as usize & !1, format.height as usize & !1);
        VideoFrame::new(size.0, size.1).with_context(show)?;
        let shared = Arc::<Shared>::default();
        let out = Arc::clone(&shared);
        let run = move || {
            let result = capture(&mut stream, layout, (size, format.stride as usize), &out);
            // The crate panics where a stream that failed does not stop; what is left of it is the driver's.
            match result {
                Ok(()) => drop(stream),
                Err(error) => {
                    mem::forget(stream);
                    out.fail(&error);
                }
            }
        };
        thread::Builder::new().name("camera".to_owned()).spawn(run).context("cannot start a thread")?;
        Ok(Self { path: path.to_owned(), size, frame_rate, shared })
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
    }
}

impl VideoSource for Camera {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn frame_rate(&self) -> f64 {
        self.frame_rate
    }

    fn waits(&self) -> bool {
        true
    }

    fn draw(&mut self, _frame: u32, picture: &mut VideoFrame) -> Result<bool> {
        let waits = |state: &mut State| state.newest.is_none() && state.failed.is_none();
        let state = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, waits);
        let (mut state, _) = state.unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &state.failed {
            bail!("the camera {} is gone: {error}", self.path.display());
        }
        let newest = state.newest.take();
        *picture = newest.with_context(|| format!("the camera {} shows nothing any more", self.path.display()))?;
        Ok(true)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: &anyhow::Error) {
        self.lock().failed = Some(format!("{error:#}"));
        self.changed.notify_all();
    }
}

/// Pictures until the camera is closed or fails.
fn capture(
    stream: &mut MmapStream<'_>,
    layout: Layout,
    (size, stride): ((usize, usize), usize),
    shared: &Shared,
) -> Result<()> {
    while !shared.lock().closed {
        let (bytes, meta) = match stream.next() {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                bail!("no picture came for {} s", PATIENCE.as_secs())
            }
            Err(error) => return Err(anyhow!(error)),
        };
        let bytes = bytes.get(..meta.bytesused as usize).unwrap_or(bytes);
        // A picture that was cut off on its way is none.
        if let Some(picture) = read(layout, bytes, size, stride) {
            shared.lock().newest = Some(picture);
            shared.changed.notify_all();
        }
    }
    Ok(())
}

/// Asks for a format that can be read.
fn negotiate(device: &Device, (width, height): (usize, usize)) -> Result<(Layout, Format)> {
    for (layout, code) in Layout::ALL {
        let wanted = Format::new(width as u32, height as u32, FourCC::new(code));
        // A driver answers with what it makes of it.
        if let Ok(found) = device.set_format(&wanted)
            && found.fourcc == FourCC::new(code)
        {
            return Ok((layout, found));
        }
    }
    let offered = device.enum_formats().context("it does not say what it has")?;
    let names: Vec<_> = offered.iter().map(|format| format.fourcc.to_string()).collect();
    ensure!(!names.is_empty(), "it takes no pictures");
    bail!("it has {} only, and none of YU12, NV12 and YUYV", names.join(", "))
}

/// A picture from its bytes, with rows `stride` apart; `None` where there are too few.
fn read(layout: Layout, bytes: &[u8], (width, height): (usize, usize), stride: usize) -> Option<VideoFrame> {
    match layout {
        Layout::Yuyv => read_yuyv(bytes, (width, height), stride),
        Layout::Nv12 => read_nv12(bytes, (width, height), stride),
        Layout::I420 => {
            let (luma, chroma) = bytes.split_at_checked(stride * height)?;
            let (u, v) = chroma.split_at_checked(stride / 2 * (height / 2))?;
            VideoFrame::from_strided(width, height, [(luma, stride), (u, stride / 2), (v, stride / 2)]).ok()
        }
    }
}

fn read_yuyv(bytes: &[u8], (width, height): (usize, usize), stride: usize) -> Option<VideoFrame> {
    let mut picture = VideoFrame::new(width, height).ok()?;
    let (luma, u, v) = picture.planes_mut();
    for y in 0..height {
        let row = bytes.get(y * stride..)?.get(..width * 2)?;
        for (x, [first, cb, second, cr]) in row.as_chunks().0.iter().enumerate() {
            luma[y * width + 2 * x] = *first;
            luma[y * width + 2 * x + 1] = *second;
            let chroma = y / 2 * (width / 2) + x;
            // The mean of two rows.
            let mean = |before: u8, now: u8| if y % 2 == 0 { now } else { before.midpoint(now) };
            (u[chroma], v[chroma]) = (mean(u[chroma], *cb), mean(v[chroma], *cr));
        }
    }
    Some(picture)
}

fn read_nv12(bytes: &[u8], (width, height): (usize, usize), stride: usize) -> Option<VideoFrame> {
    let mut picture = VideoFrame::new(width, height).ok()?;
    let (luma, u, v) = picture.planes_mut();
    for (y, to) in luma.chunks_exact_mut(width).enumerate() {
        to.copy_from_slice(bytes.get(y * stride..)?.get(..width)?);
    }
    for y in 0..height / 2 {
        let row = bytes.get((height + y) * stride..)?.get(..width)?;
        for (x, [cb, cr]) in row.as_chunks().0.iter().enumerate() {
            (u[y * width / 2 + x], v[y * width / 2 + x]) = (*cb, *cr);
        }
    }
    Some(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (4, 2);
    /// Y, U and V of four by two pixels.
    const PICTURE: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 20, 22, 30, 32];

    #[test]
    fn each_layout_becomes_the_same_picture_and_padding_is_left_out() {
        let yuyv = [1, 19, 2, 29, 3, 22, 4, 32, 0, 0, 5, 21, 6, 31, 7, 22, 8, 32, 0, 0];
        let nv12 = [1, 2, 3, 4, 0, 5, 6, 7, 8, 0, 20, 30, 22, 32, 0];
        let i420 = [1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0, 20, 22, 0, 30, 32, 0];
        let all: [(_, &[u8], _); 3] = [(Layout::Yuyv, &yuyv, 10), (Layout::Nv12, &nv12, 5), (Layout::I420, &i420, 6)];
        for (layout, bytes, stride) in all {
            let picture = read(layout, bytes, SIZE, stride).unwrap();
            assert_eq!(picture.data(), PICTURE, "{layout:?}");
            for cut in 0..bytes.len() - 3 {
                assert!(read(layout, &bytes[..cut], SIZE, stride).is_none(), "{layout:?}, {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_camera_is_refused_with_its_name() {
        for path in ["/dev/video-of-nobody", "/dev/null"] {
            let error = Camera::open(Path::new(path), (640, 360), 30.0).err().unwrap();
            assert!(format!("{error:#}").contains(path), "{error:#}");
        }
    }

    #[test]
    fn a_camera_that_is_gone_says_so() {
        let shared = Arc::<Shared>::default();
        let mut camera =
            Camera { path: "/dev/video0".into(), size: SIZE, frame_rate: 30.0, shared: Arc::clone(&shared) };
        let mut picture = VideoFrame::new(SIZE.0, SIZE.1).unwrap();
        shared.lock().newest = read(Layout::I420, &PICTURE, SIZE, SIZE.0);
        assert!(camera.draw(0, &mut picture).unwrap());
        assert_eq!(picture.data(), PICTURE);
        shared.fail(&anyhow!("unplugged"));
        assert_eq!(camera.draw(1, &mut picture).unwrap_err().to_string(), "the camera /dev/video0 is gone: unplugged");
    }
}
