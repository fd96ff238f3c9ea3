//! Payload headers of the codecs: what a forwarder must know of a frame without decoding it.

/// What one packet's payload header (or dependency descriptor) says of its frame, for any codec.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FrameFacts {
    /// First packet of a frame (for layered codecs: of a layer frame).
    pub start_of_frame: bool,
    /// Last packet of a frame (for layered codecs: of a layer frame).
    pub end_of_frame: bool,
    /// Belongs to a frame from which decoding can begin.
    pub keyframe: bool,
    /// Temporal layer, 0 the base.
    pub temporal: u8,
    /// Spatial layer, 0 the base.
    pub spatial: u8,
    /// From this frame on a receiver may begin to decode its temporal layer.
    pub switching_point: bool,
    /// No other frame depends on this one.
    pub discardable: bool,
    /// VP8 or VP9 picture id, 15 bits.
    pub picture_id: Option<u16>,
    /// VP8 or VP9 index of the base-layer frame, 8 bits.
    pub tl0_pic_idx: Option<u8>,
    /// Frame number of the dependency descriptor, 16 bits.
    pub frame_number: Option<u16>,
    /// Width and height in pixels, where the payload says so (keyframes).
    pub resolution: Option<(u16, u16)>,
}
