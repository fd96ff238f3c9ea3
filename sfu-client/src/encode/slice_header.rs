//! What an H.264 encoder says of its references, read from what it wrote (ITU-T H.264 sections 7.3.2.1.1, 7.3.3).
//!
//! ```text
//! slice header:  ue first macroblock, ue type, ue picture parameter set, u(n) frame_num, [ue idr_pic_id],
//!                [u(m) order count], [1 override, ue active references], [1 reordering, (ue op, ue value)*, ue 3],
//!                dec_ref_pic_marking: of an IDR 1 + 1, else 1 adaptive, (ue op, ue values)*, ue 0
//! ```
//! Only streams of one slice per picture without CABAC and without a bottom field's order are read: those of our encoder.

use anyhow::{Context, Result};

/// A slice of an IDR picture, another, and a sequence parameter set.
const IDR: u8 = 5;
const SLICE: u8 = 1;
const SPS: u8 = 7;
/// Operations of reordering: a short-term picture before, a long-term picture, the end.
const SHORT_TERM: u32 = 0;
const LONG_TERM: u32 = 2;
/// Operations of marking.
const SHORT_TO_UNUSED: u32 = 1;
const LONG_TO_UNUSED: u32 = 2;
const SHORT_TO_LONG: u32 = 3;
const MAX_LONG: u32 = 4;
const ALL_UNUSED: u32 = 5;
const CURRENT_TO_LONG: u32 = 6;

/// The fields of a sequence parameter set that slices depend on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SequenceSet {
    frame_num_bits: u32,
    order_bits: u32,
}

impl SequenceSet {
    /// Frame numbers count modulo one more than this.
    pub(super) const fn frame_num_mask(self) -> u32 {
        (1 << self.frame_num_bits) - 1
    }
}

/// Of what a picture is predicted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reference {
    /// Of nothing.
    None,
    /// Of the short-term picture so many frame numbers back.
    Short(u32),
    /// Of the long-term picture in this place.
    Long(u32),
}

/// What becomes a long-term reference with a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Marking {
    /// How many frame numbers back it is; 0: the picture itself.
    pub(super) back: u32,
    /// In which place.
    pub(super) place: u32,
}

/// A slice's references.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SliceHeader {
    pub(super) frame_num: u32,
    /// Of an IDR picture.
    pub(super) idr_pic_id: Option<u32>,
    pub(super) reference: Reference,
    pub(super) marking: Option<Marking>,
}

/// Reads the first slice of a picture in annex B form; keeps the sequence parameter set that comes with it.
///
/// # Errors
/// Where it is not what our encoder writes.
pub(super) fn read(picture: &[u8], sequence: &mut Option<SequenceSet>) -> Result<SliceHeader> {
    for unit in units(picture) {
        let Some((&header, _)) = unit.split_first() else { continue };
        match header & 0x1f {
            SPS => *sequence = Some(sequence_set(unit).context("a sequence parameter set breaks off")?),
            SLICE | IDR => {
                let sequence = sequence.context("a slice came before its parameters")?;
                return slice(unit, sequence).context("a slice header breaks off");
            }
            _ => {}
        }
    }
    anyhow::bail!("a picture without a slice")
}

/// The NAL units between start codes. Zeros at their ends belong to the next start code.
fn units(picture: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = |at: &usize| picture[*at..].starts_with(&[0, 0, 1]);
    let begins: Vec<usize> = (0..picture.len().saturating_sub(3)).filter(starts).map(|at| at + 3).collect();
    let ends: Vec<usize> = begins.iter().skip(1).map(|next| next - 3).chain([picture.len()]).collect();
    begins.into_iter().zip(ends).map(move |(begin, end)| &picture[begin..end.max(begin)])
}

fn sequence_set(unit: &[u8]) -> Option<SequenceSet> {
    let mut bits = Bits::new(unit);
    let profile = bits.bits(8)?;
    bits.bits(16)?;
    bits.number()?;
    // Profiles with more chroma formats have more fields here; ours is the baseline.
    if !matches!(profile, 66 | 77 | 88) {
        return None;
    }
    // At most 16 (section 7.4.2.1.1).
    let frame_num_bits = (bits.number()? + 4).min(16);
    let order_bits = match bits.number()? {
        0 => bits.number()? + 4,
        2 => 0,
        _ => return None,
    };
    Some(SequenceSet { frame_num_bits, order_bits })
}

fn slice(unit: &[u8], sequence: SequenceSet) -> Option<SliceHeader> {
    let (is_idr, is_reference) = (unit[0] & 0x1f == IDR, unit[0] & 0x60 != 0);
    let mut bits = Bits::new(unit);
    bits.number()?;
    let is_predicted = bits.number()? % 5 == 0;
    bits.number()?;
    let frame_num = bits.bits(sequence.frame_num_bits)?;
    let idr_pic_id = if is_idr { Some(bits.number()?) } else { None };
    bits.bits(sequence.order_bits)?;
    let mut reference = Reference::None;
    if is_predicted {
        if bits.bits(1)? == 1 {
            bits.number()?;
        }
        reference = reordered(&mut bits)?;
    }
    let marking = if is_reference && !is_idr { marked(&mut bits)? } else { None };
    Some(SliceHeader { frame_num, idr_pic_id, reference, marking })
}

/// The first reference of the list. Without reordering that is the picture before.
fn reordered(bits: &mut Bits<'_>) -> Option<Reference> {
    let mut first = None;
    if bits.bits(1)? == 1 {
        loop {
            let reference = match bits.number()? {
                SHORT_TERM => Reference::Short(bits.number()? + 1),
                LONG_TERM => Reference::Long(bits.number()?),
                3 => break,
                _ => return None,
            };
            first.get_or_insert(reference);
        }
    }
    Some(first.unwrap_or(Reference::Short(1)))
}

fn marked(bits: &mut Bits<'_>) -> Option<Option<Marking>> {
    let mut marking = None;
    if bits.bits(1)? == 0 {
        return Some(marking);
    }
    loop {
        match bits.number()? {
            0 => return Some(marking),
            SHORT_TO_UNUSED | LONG_TO_UNUSED | MAX_LONG => drop(bits.number()?),
            SHORT_TO_LONG => marking = Some(Marking { back: bits.number()? + 1, place: bits.number()? }),
            CURRENT_TO_LONG => marking = Some(Marking { back: 0, place: bits.number()? }),
            ALL_UNUSED => {}
            _ => return None,
        }
    }
}

/// Reads bits behind a NAL unit's header, without the bytes that prevent start codes.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits of the current byte that were read, and zero bytes before it.
    read: u32,
    zeros: u32,
}

impl<'a> Bits<'a> {
    fn new(unit: &'a [u8]) -> Self {
        Self { bytes: unit, at: 1, read: 0, zeros: 0 }
    }

    fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | self.bit()?))
    }

    fn bit(&mut self) -> Option<u32> {
        let byte = *self.bytes.get(self.at)?;
        let bit = u32::from(byte >> (7 - self.read) & 1);
        self.read += 1;
        if self.read == 8 {
            self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
            (self.at, self.read) = (self.at + 1, 0);
            if self.zeros >= 2 && self.bytes.get(self.at) == Some(&3) {
                (self.at, self.zeros) = (self.at + 1, 0);
            }
        }
        Some(bit)
    }

    /// An unsigned Exp-Golomb number (section 9.1).
    fn number(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.bits(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_prevent_start_codes_are_passed_over() {
        let mut bits = Bits::new(&[0x67, 0, 0, 3, 0, 0x80]);
        assert_eq!((bits.bits(24), bits.number(), bits.bits(8)), (Some(0), Some(0), None));
    }

    #[test]
    fn what_breaks_off_is_an_error() {
        for bytes in
            [&[][..], &[0, 0, 1], &[0, 0, 1, 0x65, 0x88], &[0, 0, 1, 0x67, 66, 0], &[0, 0, 1, 0x67, 100, 0, 0, 255]]
        {
            assert!(read(bytes, &mut None).is_err());
        }
        let sequence = SequenceSet { frame_num_bits: 15, order_bits: 16 };
        for len in 0..6 {
            let bytes = [&[0, 0, 0, 1, 0x41][..], &[0x9a, 0, 0, 3, 1, 0xff][..len]].concat();
            assert!(read(&bytes, &mut Some(sequence)).is_err() || len > 4);
        }
    }
}
