//! Framing of datagrams on a TCP connection (RFC 4571 section 2).
//!
//! ```text
//!  0                   1
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
//! +-------------------------------+
//! |            LENGTH             |  of the datagram that follows
//! +-------------------------------+
//! ```

/// Longest frame taken: more than any path's MTU, so a longer one is no media.
pub(crate) const MAX_FRAME: usize = 2_048;
/// Bytes of the length.
pub(crate) const HEADER: usize = 2;

/// A frame longer than [`MAX_FRAME`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Oversized;

/// Length of the frame at the beginning of `bytes`, its header left out; `None` while it is not there whole.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<usize>, Oversized> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(*header));
    if len > MAX_FRAME {
        return Err(Oversized);
    }
    Ok((rest.len() >= len).then_some(len))
}

/// The header of a frame with `datagram`; `None` where it is too long for one.
pub(crate) fn header(datagram: &[u8]) -> Option<[u8; HEADER]> {
    Some(u16::try_from(datagram.len()).ok()?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_when_whole() {
        assert_eq!(first(&[]), Ok(None));
        assert_eq!(first(&[0]), Ok(None));
        assert_eq!(first(&[0, 2, 7]), Ok(None));
        assert_eq!(first(&[0, 2, 7, 8, 9]), Ok(Some(2)));
        assert_eq!(first(&[0, 0]), Ok(Some(0)));
        assert_eq!(first(&[0xff, 0xff]), Err(Oversized));
        assert_eq!(header(&[1, 2, 3]), Some([0, 3]));
        assert_eq!(header(&[0; 70_000]), None);
    }
}
