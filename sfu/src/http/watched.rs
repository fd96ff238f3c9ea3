//! A stream that is watched, and whose reading is ended where it goes too far.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at once: HTTP's buffer has 8 kB at first. It grows for a peer that fills it in one read, and doubles
/// where what comes in small pieces does not fit; either stays so while nothing comes.
const MOST_AT_ONCE: usize = 8 * 1024 - 1;

/// A connection, plain or over TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What reading is held to, and who is told of what is written.
pub(super) trait Watch<S>: Unpin {
    /// Whether anything more may be read.
    fn before_read(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// These bytes were read. An error ends the stream instead.
    fn on_read(&mut self, bytes: &[u8], stream: &mut S) -> io::Result<()>;

    /// So many bytes were taken.
    fn on_write(&mut self, _bytes: usize) {}

    /// All that was written has been taken.
    fn on_flush(&mut self) {}

    /// The stream is about to be dropped.
    fn on_drop(&mut self, _stream: &mut S) {}
}

/// `S`, held to `W` when it is read; written as it is, of which `W` is told.
pub(super) struct Watched<S, W: Watch<S>> {
    stream: S,
    watch: W,
}

impl<S, W: Watch<S>> Watched<S, W> {
    pub(super) fn new(stream: S, watch: W) -> Self {
        Self { stream, watch }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S, W: Watch<S>> Drop for Watched<S, W> {
    fn drop(&mut self) {
        self.watch.on_drop(&mut self.stream);
    }
}

impl<S: AsyncRead + Unpin, W: Watch<S>> AsyncRead for Watched<S, W> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, watch } = &mut *self;
        watch.before_read()?;
        let room = buf.remaining().min(MOST_AT_ONCE);
        let mut piece = ReadBuf::new(buf.initialize_unfilled_to(room));
        let polled = Pin::new(&mut *stream).poll_read(cx, &mut piece);
        let read = piece.filled().len();
        watch.on_read(piece.filled(), stream)?;
        buf.advance(read);
        polled
    }
}

impl<S: AsyncWrite + Unpin, W: Watch<S>> Watched<S, W> {
    fn tell(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.watch.on_write(*bytes);
        }
    }
}

impl<S: AsyncWrite + Unpin, W: Watch<S>> AsyncWrite for Watched<S, W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.tell(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.watch.on_flush();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.tell(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
