"""GStreamer's webrtcbin publishes by WHIP and plays by WHEP."""

import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst, GstApp, GstSdp, GstWebRTC  # noqa: E402, F401 (GstApp adds methods to appsrc and appsink)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from shared import pattern  # noqa: E402
from shared.session import (  # noqa: E402
    CONNECT_PATIENCE,
    FRAMES_PER_SECOND,
    AudioCount,
    Count,
    Session,
    arguments,
    say_ready,
    write_result,
)

RAW = f"video/x-raw,format=I420,width={pattern.WIDTH},height={pattern.HEIGHT},framerate={FRAMES_PER_SECOND}/1"
ENCODE = {
    "vp8": "vp8enc deadline=1 target-bitrate=300000 ! rtpvp8pay picture-id-mode=15-bit",
    # With several threads a frame has several slices, before each of which rtph264pay puts SPS and PPS; rtph264depay
    # takes those for the beginning of another frame.
    "h264": "x264enc threads=1 tune=zerolatency speed-preset=ultrafast bitrate=300"
    " ! video/x-h264,profile=constrained-baseline"
    " ! rtph264pay aggregate-mode=zero-latency config-interval=-1",
}
DECODE = {"VP8": "rtpvp8depay ! vp8dec", "H264": "rtph264depay ! h264parse ! openh264dec", "OPUS": "rtpopusdepay ! opusdec"}
PAYLOAD_TYPE = {"audio": 97, "video": 96}
H264_PROFILE = ",packetization-mode=(string)1,profile-level-id=(string)42e01f"
# A pipeline is never taken down: where media never flowed that waits for ever. So it may not be forgotten either.
PIPELINES = []
# How often states are looked at, in seconds.
GLANCE = 0.02


def rtp_caps(kind, codec):
    """What is wanted of a payloader, or of the peer."""
    name = "OPUS,clock-rate=48000,encoding-params=(string)2" if kind == "audio" else f"{codec.upper()},clock-rate=90000"
    feedback = ",rtcp-fb-nack=true,rtcp-fb-nack-pli=true" if kind == "video" else ""
    return f"application/x-rtp,media={kind},payload={PAYLOAD_TYPE[kind]},encoding-name={name}{feedback}"


def wait_for(is_true, seconds):
    end = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > end:
            return False
        time.sleep(GLANCE)
    return True


def promised(element, action, *details):
    """Calls and waits; the promise, whose reply lives as long as it does."""
    promise = Gst.Promise.new()
    element.emit(action, *details, promise)
    promise.wait()
    return promise


def description(kind, text):
    _, message = GstSdp.SDPMessage.new_from_text(text)
    return GstWebRTC.WebRTCSessionDescription.new(kind, message)


def connect(peer, session, options):
    """Offers with the DTLS role wanted, and waits for the connection."""
    # Each value is kept in a variable: it points into the one before.
    promise = promised(peer, "create-offer", None)
    reply = promise.get_reply()
    offer = reply.get_value("offer")
    text = offer.sdp.as_text().replace("a=setup:actpass", f"a=setup:{options.setup}")
    promised(peer, "set-local-description", description(GstWebRTC.WebRTCSDPType.OFFER, text))
    complete = GstWebRTC.WebRTCICEGatheringState.COMPLETE
    if not wait_for(lambda: peer.get_property("ice-gathering-state") == complete, CONNECT_PATIENCE):
        raise RuntimeError("no candidates were gathered")
    local = peer.get_property("local-description")
    answer = session.begin(local.sdp.as_text())
    promised(peer, "set-remote-description", description(GstWebRTC.WebRTCSDPType.ANSWER, answer))
    states = GstWebRTC.WebRTCPeerConnectionState
    wait_for(lambda: peer.get_property("connection-state") in (states.CONNECTED, states.FAILED), CONNECT_PATIENCE)
    if peer.get_property("connection-state") != states.CONNECTED:
        connection, ice = (peer.get_property(name).value_nick for name in ("connection-state", "ice-connection-state"))
        raise RuntimeError(f"not connected: {connection}, ICE {ice}")


def check_bus(pipeline):
    """Raises what the pipeline complains of."""
    message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
    if message:
        error, details = message.parse_error()
        raise RuntimeError(f"{error.message} ({details})")


def push(source, number):
    frame = Gst.Buffer.new_wrapped(pattern.i420(number))
    frame.duration = Gst.SECOND // FRAMES_PER_SECOND
    frame.pts = number * frame.duration
    source.push_buffer(frame)


def publish(options, session):
    pipeline = Gst.parse_launch(
        f"webrtcbin name=peer bundle-policy=max-bundle "
        f"audiotestsrc is-live=true volume=0.3 ! opusenc ! rtpopuspay ! {rtp_caps('audio', options.codec)} ! peer. "
        f"appsrc name=source format=time is-live=true caps={RAW} ! {ENCODE[options.codec]} "
        f"! {rtp_caps('video', options.codec)} ! peer."
    )
    peer, source = pipeline.get_by_name("peer"), pipeline.get_by_name("source")
    PIPELINES.append(pipeline)
    told = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: told.set())
    pipeline.set_state(Gst.State.PLAYING)
    try:
        push(source, 0)
        # An offer needs to know what comes in.
        if not wait_for(lambda: all(pad.get_current_caps() for pad in peer.sinkpads), CONNECT_PATIENCE):
            check_bus(pipeline)
            raise RuntimeError("the encoders give nothing")
        for n in range(len(peer.sinkpads)):
            transceiver = peer.emit("get-transceiver", n)
            transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        connect(peer, session, options)
        say_ready()
        start, number = time.monotonic(), 1
        while not told.wait(max(0, start + number / FRAMES_PER_SECOND - time.monotonic())):
            push(source, number)
            number += 1
            check_bus(pipeline)
            if time.monotonic() > start + options.seconds:
                break
    finally:
        session.end()
    return {}


class Player:
    def __init__(self, options):
        self.pipeline = Gst.Pipeline.new()
        PIPELINES.append(self.pipeline)
        self.peer = Gst.ElementFactory.make("webrtcbin")
        self.peer.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.peer)
        self.video, self.audio, self.peak = Count(options.frames), AudioCount(options.packets), 0
        for kind in ("audio", "video"):
            profile = H264_PROFILE if (kind, options.codec) == ("video", "h264") else ""
            caps = Gst.Caps.from_string(rtp_caps(kind, options.codec) + profile)
            self.peer.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, caps)
        self.peer.connect("pad-added", self.decode)

    def decode(self, _, pad):
        """Something comes: decodes it."""
        if pad.direction != Gst.PadDirection.SRC:
            return
        name = pad.get_current_caps().get_structure(0).get_string("encoding-name")
        raw = "audio/x-raw,format=S16LE" if name == "OPUS" else "video/x-raw,format=I420"
        convert = "audioconvert" if name == "OPUS" else "videoconvert"
        part = Gst.parse_bin_from_description(
            f"{DECODE[name]} ! {convert} ! {raw} ! appsink name=sink emit-signals=true sync=false", True
        )
        sink = part.get_by_name("sink")
        sink.connect("new-sample", self.hear if name == "OPUS" else self.see)
        if name == "OPUS":
            pad.add_probe(Gst.PadProbeType.BUFFER, self.count_packet)
        self.pipeline.add(part)
        part.sync_state_with_parent()
        pad.link(part.get_static_pad("sink"))

    def count_packet(self, _, info):
        (timestamp,) = struct.unpack(">I", info.get_buffer().extract_dup(4, 4))
        self.audio.add_timestamp(timestamp)
        return Gst.PadProbeReturn.OK

    def see(self, sink):
        sample = sink.emit("pull-sample")
        shape, buffer = sample.get_caps().get_structure(0), sample.get_buffer()
        width, height = shape.get_value("width"), shape.get_value("height")
        # Rows of I420 are padded to four bytes; this width needs none.
        self.video.add(pattern.number(buffer.extract_dup(0, width * height), width, width, height))
        return Gst.FlowReturn.OK

    def hear(self, sink):
        buffer = sink.emit("pull-sample").get_buffer()
        samples = memoryview(buffer.extract_dup(0, buffer.get_size())).cast("h")
        self.peak = max(self.peak, *samples)
        return Gst.FlowReturn.OK

    def result(self):
        return {"video": self.video.result(), "audio": self.audio.result(), "peak": self.peak}


def play(options, session):
    player = Player(options)
    player.pipeline.set_state(Gst.State.PLAYING)
    try:
        connect(player.peer, session, options)

        def is_complete():
            check_bus(player.pipeline)
            return player.video.is_complete() and player.audio.is_complete()

        wait_for(is_complete, options.seconds)
        return player.result()
    finally:
        session.end()


def main():
    options = arguments(__doc__)
    Gst.init(None)
    try:
        result = {"publish": publish, "play": play}[options.role](options, Session(options.url, options.token))
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    write_result(options.json, result)
    # Without a wait for the pipelines' threads.
    os._exit("error" in result)


main()
