//! The payloads of a temporal unit, put together again (AV1 RTP payload specification section 5).

use super::{CONTINUES, Elements, HAS_EXTENSION, HAS_SIZE, Obu};

/// In the aggregation header: the last element goes on in the next packet.
const GOES_ON: u8 = 0x40;
const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;

/// The temporal unit that these payloads carry, all of them and in order, in the low-overhead format: every open bitstream
/// unit with its size, without temporal delimiters. `None` where one is damaged, or one before, between or after them is
/// missing.
pub fn temporal_unit<P: AsRef<[u8]>>(payloads: &[P]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(payloads.iter().map(|payload| payload.as_ref().len() + 2).sum());
    // A unit whose end has not come.
    let (mut unit, mut is_open) = (Vec::new(), false);
    for payload in payloads {
        let (&aggregation, elements) = payload.as_ref().split_first()?;
        if (aggregation & CONTINUES != 0) != is_open || elements.is_empty() {
            return None;
        }
        let mut elements = Elements::new(aggregation, elements).peekable();
        while let Some(element) = elements.next() {
            unit.extend_from_slice(element?);
            is_open = aggregation & GOES_ON != 0 && elements.peek().is_none();
            if !is_open {
                append(&unit, &mut out)?;
                unit.clear();
            }
        }
    }
    (!is_open && !out.is_empty()).then_some(out)
}

fn append(unit: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let parsed = Obu::parse(unit)?;
    if matches!(parsed.unit_type, TEMPORAL_DELIMITER | TILE_LIST) {
        return Some(());
    }
    out.push(unit[0] | HAS_SIZE);
    if unit[0] & HAS_EXTENSION != 0 {
        out.push(unit[1]);
    }
    let mut size = parsed.content.len();
    while size > 0x7f {
        out.push(size as u8 | 0x80);
        size >>= 7;
    }
    out.push(size as u8);
    out.extend_from_slice(parsed.content);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_get_their_sizes_and_come_together() {
        let long = [[0x34, 0x48].as_slice(), &[7; 300]].concat();
        let payloads = [
            // A temporal delimiter, a sequence header, and the beginning of a frame of an upper layer.
            [&[0x78, 1, 0x10, 3, 0x08, 1, 2], &long[..100]].concat(),
            [&[0xd0], &long[100..200]].concat(),
            // Its end; a frame header that has its size already.
            [&[0x80, 102], &long[200..], &[4, 0x1a, 2, 5, 6]].concat(),
        ];
        let expected = [&[0x0a, 2, 1, 2, 0x36, 0x48, 0xac, 2], &[7; 300][..], &[0x1a, 2, 5, 6]].concat();
        assert_eq!(temporal_unit(&payloads), Some(expected));
        for missing in 0..3 {
            let rest: Vec<_> = (0..3).filter(|at| *at != missing).map(|at| &payloads[at]).collect();
            let is_noticed = temporal_unit(&rest).is_none();
            // A piece between two others leaves no trace here: sequence numbers tell.
            assert_eq!(is_noticed, missing != 1, "{missing}");
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let none: [&[u8]; 0] = [];
        assert_eq!(temporal_unit(&none), None);
        // Nothing; no element; one that leaves the packet; units of an extension or size that is missing; a delimiter alone.
        for payload in
            [&[][..], &[0x10], &[0x00, 9, 0x30], &[0x10, 0x06], &[0x10, 0x34], &[0x10, 0x32], &[0x10, 0x12, 0]]
        {
            assert_eq!(temporal_unit(&[payload]), None, "{payload:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_come(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5)) {
            let total: usize = payloads.iter().map(Vec::len).sum();
            // A unit of one byte gains a size of one.
            prop_assert!(temporal_unit(&payloads).is_none_or(|unit| unit.len() <= 2 * total));
        }
    }
}
