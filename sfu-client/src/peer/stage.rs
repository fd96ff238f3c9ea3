//! What our interceptors have in common: a packet passes through, unless the stage looks at it, changes it or adds others.

use interceptor::{Interceptor, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use sfu_rtc::rtp::extension::ExtensionKind;
use std::collections::VecDeque;
use std::time::Instant;

/// What goes on from a stage.
#[derive(Default)]
pub(super) struct Passed {
    /// Towards the application.
    pub(super) read: VecDeque<TaggedPacket>,
    /// Towards the wire.
    pub(super) write: VecDeque<TaggedPacket>,
}

/// One thing that is done to packets on their way; what a stage does not override, it leaves as it is.
pub(super) trait Stage: Send + Sync + Sized + 'static {
    /// A packet has come from the wire.
    fn read(&mut self, message: TaggedPacket, passed: &mut Passed) {
        passed.read.push_back(message);
    }

    /// A packet goes to the wire.
    ///
    /// # Errors
    /// Where it cannot be written as it is.
    fn write(&mut self, message: TaggedPacket, passed: &mut Passed) -> Result<(), Error> {
        passed.write.push_back(message);
        Ok(())
    }

    /// It is the time that [`Stage::poll_timeout`] said.
    fn timeout(&mut self, _now: Instant, _passed: &mut Passed) {}

    /// When there is something to do.
    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }

    /// A stream that we send begins.
    fn bind_local(&mut self, _info: &StreamInfo) {}
    /// A stream that we send has ended.
    fn unbind_local(&mut self, _info: &StreamInfo) {}
    /// A stream that we receive begins.
    fn bind_remote(&mut self, _info: &StreamInfo) {}
    /// A stream that we receive has ended.
    fn unbind_remote(&mut self, _info: &StreamInfo) {}

    /// As an interceptor.
    fn staged(self) -> Staged<Self> {
        Staged { stage: self, passed: Passed::default() }
    }
}

/// A stage with what has passed it.
pub(super) struct Staged<S> {
    stage: S,
    passed: Passed,
}

impl<S: Stage> Protocol<TaggedPacket, TaggedPacket, ()> for Staged<S> {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.stage.read(message, &mut self.passed);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.passed.read.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.stage.write(message, &mut self.passed)
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.passed.write.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.stage.timeout(now, &mut self.passed);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.stage.poll_timeout()
    }
}

impl<S: Stage> Interceptor for Staged<S> {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.stage.bind_local(info);
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.stage.unbind_local(info);
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.stage.bind_remote(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.stage.unbind_remote(info);
    }
}

/// The id that was negotiated for a header extension.
pub(super) fn extension_id(info: &StreamInfo, kind: ExtensionKind) -> Option<u8> {
    let known = info.rtp_header_extensions.iter().find(|known| known.uri == kind.uri())?;
    u8::try_from(known.id).ok()
}
