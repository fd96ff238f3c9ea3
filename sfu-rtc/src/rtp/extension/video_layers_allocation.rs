//! Video layers allocation (video-layers-allocation00): which layers a sender produces, at what bitrate and size.
//!
//! ```text
//! |RID| NS| sl_bm |   this stream's index, streams - 1, spatial layers of every stream (one bit each)
//! | sl_bm | sl_bm |   where sl_bm is 0: per stream, to a whole byte
//! |#tl|#tl|#tl|#tl|   temporal layers - 1 of each spatial layer, to a whole byte
//! | kbit/s (LEB128), for each temporal layer, lower ones included |
//! | width - 1 (16) | height - 1 (16) | frame rate (8) |   optional, for each spatial layer
//! ```

use crate::codec::bits::leb128;
use crate::units::Bitrate;
use arrayvec::ArrayVec;

/// Most simulcast streams: the index has two bits.
const MAX_STREAMS: usize = 4;
/// Most spatial layers of a stream: the mask has four bits.
const MAX_SPATIAL: usize = 4;
/// Most temporal layers of a spatial layer: their count has two bits.
const MAX_TEMPORAL: usize = 4;

/// What a sender produces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VideoLayersAllocation {
    /// Index of the stream that carries this, in the order of a=simulcast.
    pub stream: u8,
    /// Every active spatial layer of every stream; none while all are paused.
    pub layers: ArrayVec<AllocatedLayer, { MAX_STREAMS * MAX_SPATIAL }>,
}

/// One spatial layer of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllocatedLayer {
    /// Index of its stream.
    pub stream: u8,
    /// Spatial layer within the stream.
    pub spatial: u8,
    /// Target bitrate up to each temporal layer, lower ones included.
    pub bitrates: ArrayVec<Bitrate, MAX_TEMPORAL>,
    /// Width and height, where told.
    pub resolution: Option<(u16, u16)>,
    /// Frames per second, where told.
    pub frame_rate: Option<u8>,
}

impl VideoLayersAllocation {
    /// From the extension's bytes.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (&first, mut rest) = value.split_first()?;
        let mut allocation = Self { stream: first >> 6, layers: ArrayVec::new() };
        if first == 0 && rest.is_empty() {
            return Some(allocation);
        }
        let streams = (first >> 4) & 3;
        let masks = read_masks(first & 0x0f, usize::from(streams) + 1, &mut rest)?;
        for (stream, mask) in (0..=streams).zip(masks) {
            let active = (0..MAX_SPATIAL as u8).filter(|spatial| mask & (1 << spatial) != 0);
            allocation.layers.extend(active.map(|spatial| AllocatedLayer::inactive(stream, spatial)));
        }
        allocation.read_bitrates(&mut rest)?;
        if !rest.is_empty() {
            allocation.read_sizes(rest)?;
        }
        Some(allocation)
    }

    fn read_bitrates(&mut self, rest: &mut &[u8]) -> Option<()> {
        let (counts, after) = rest.split_at_checked(self.layers.len().div_ceil(4))?;
        *rest = after;
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let count = (counts[index / 4] >> (6 - 2 * (index % 4))) & 3;
            for _ in 0..=count {
                let (kbps, len) = leb128(rest)?;
                *rest = &rest[len..];
                layer.bitrates.push(Bitrate::from_bps(kbps.saturating_mul(1_000)));
            }
        }
        Some(())
    }

    fn read_sizes(&mut self, rest: &[u8]) -> Option<()> {
        let sizes = rest.chunks(5);
        for (layer, size) in self.layers.iter_mut().zip(sizes) {
            let [w0, w1, h0, h1, frame_rate] = *size.first_chunk::<5>()?;
            let one_more = |high, low| u16::from_be_bytes([high, low]).saturating_add(1);
            layer.resolution = Some((one_more(w0, w1), one_more(h0, h1)));
            layer.frame_rate = Some(frame_rate);
        }
        Some(())
    }
}

impl AllocatedLayer {
    fn inactive(stream: u8, spatial: u8) -> Self {
        Self { stream, spatial, bitrates: ArrayVec::new(), resolution: None, frame_rate: None }
    }
}

/// The mask of each stream: the common one, or one each.
fn read_masks(common: u8, streams: usize, rest: &mut &[u8]) -> Option<[u8; MAX_STREAMS]> {
    if common != 0 {
        return Some([common; MAX_STREAMS]);
    }
    let (bytes, after) = rest.split_at_checked(streams.div_ceil(2))?;
    *rest = after;
    let mut masks = [0; MAX_STREAMS];
    for (stream, mask) in masks.iter_mut().enumerate().take(streams) {
        *mask = if stream % 2 == 0 { bytes[stream / 2] >> 4 } else { bytes[stream / 2] & 0x0f };
    }
    Some(masks)
}
