//! One sendmmsg(2): up to so many messages, gathered from the places where their parts stand.

use crate::cmsg::ControlBuffer;
use crate::plan::MAX_PIECES;
use crate::sockaddr::SockAddr;
use arrayvec::ArrayVec;
use std::io;
use std::marker::PhantomData;
use std::os::fd::RawFd;

/// Messages per call. Larger gains nothing measurable, since the cost is per message.
pub(crate) const MESSAGES: usize = 64;
/// Parts of all messages of a call.
const PARTS: usize = MESSAGES + MAX_PIECES;

/// Where a message goes, and how.
pub(crate) struct Address {
    pub(crate) name: SockAddr,
    pub(crate) name_len: libc::socklen_t,
    pub(crate) control: ControlBuffer,
    pub(crate) control_len: usize,
}

/// The messages of a call. Not more memory is written than they need: in a small room they are few.
#[derive(Default)]
pub(crate) struct Call<'a> {
    addresses: ArrayVec<Address, MESSAGES>,
    parts: ArrayVec<libc::iovec, PARTS>,
    /// Number of parts of each message.
    counts: ArrayVec<usize, MESSAGES>,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> Call<'a> {
    /// Adds a message. False, and nothing added, where there is no room.
    pub(crate) fn add(&mut self, bytes: impl ExactSizeIterator<Item = &'a [u8]>, address: Address) -> bool {
        if self.addresses.is_full() || self.parts.remaining_capacity() < bytes.len() {
            return false;
        }
        self.counts.push(bytes.len());
        self.addresses.push(address);
        let part = |bytes: &'a [u8]| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        self.parts.extend(bytes.map(part));
        true
    }

    /// Sends them; how many the kernel took.
    pub(crate) fn send(&mut self, fd: RawFd) -> io::Result<usize> {
        let mut headers = ArrayVec::<libc::mmsghdr, MESSAGES>::new();
        let mut parts = self.parts.as_mut_slice();
        for (address, &count) in self.addresses.iter_mut().zip(&self.counts) {
            let (own, rest) = parts.split_at_mut(count);
            parts = rest;
            // SAFETY: all-zero is a valid mmsghdr: no name, no buffer, no control.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = (&raw mut address.name).cast();
            header.msg_hdr.msg_namelen = address.name_len;
            header.msg_hdr.msg_iov = own.as_mut_ptr();
            header.msg_hdr.msg_iovlen = own.len();
            header.msg_hdr.msg_control = address.control.as_mut_ptr();
            header.msg_hdr.msg_controllen = address.control_len;
            headers.push(header);
        }
        let count = headers.len() as u32; // at most MESSAGES
        // SAFETY: every pointer in `headers` points into self or to bytes that self borrows; all outlive the call, and
        // the kernel only reads through msg_iov.
        let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}
