"""Encoded clips for the clients that carry RTP but have no codecs: numbered frames in VP8 and H.264, a tone in Opus.

A clip is a row of RTP payloads: frame number (4 bytes), length (2 bytes), payload. It has a key frame each second, since
its player cannot make one when it is asked to.
"""

import math
import struct
from fractions import Fraction

import av
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder

from shared import pattern
from shared.session import AUDIO_RATE, AUDIO_STEP, FRAMES_PER_SECOND

BITRATE = 300_000
OPTIONS = {
    "vp8": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"},
    "h264": {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "level": "31"},
}
CODECS = {"vp8": ("libvpx", Vp8Encoder), "h264": ("libx264", H264Encoder)}


def frame(number):
    """Frame `number` for an encoder, with its time."""
    image = av.VideoFrame(pattern.WIDTH, pattern.HEIGHT, "yuv420p")
    planes = pattern.i420(number)
    at = 0
    for plane in image.planes:
        size = plane.line_size * plane.height
        plane.update(planes[at : at + size])
        at += size
    image.pts = number
    image.time_base = Fraction(1, FRAMES_PER_SECOND)
    return image


def tone(number):
    """20 ms of a tone of 440 Hz, mono."""
    samples = [int(8000 * math.sin(2 * math.pi * 440 * (number * AUDIO_STEP + n) / AUDIO_RATE)) for n in range(AUDIO_STEP)]
    sound = av.AudioFrame(format="s16", layout="mono", samples=AUDIO_STEP)
    sound.planes[0].update(struct.pack(f"<{AUDIO_STEP}h", *samples))
    sound.pts = number * AUDIO_STEP
    sound.sample_rate = AUDIO_RATE
    sound.time_base = Fraction(1, AUDIO_RATE)
    return sound


def video(codec, seconds):
    """The payloads of each frame."""
    library, packetizer = CODECS[codec]
    encoder = av.CodecContext.create(library, "w")
    encoder.width, encoder.height, encoder.pix_fmt = pattern.WIDTH, pattern.HEIGHT, "yuv420p"
    encoder.framerate, encoder.time_base = FRAMES_PER_SECOND, Fraction(1, FRAMES_PER_SECOND)
    encoder.bit_rate, encoder.gop_size = BITRATE, FRAMES_PER_SECOND
    encoder.options = OPTIONS[codec]
    pack = packetizer().pack
    packets = [p for n in range(seconds * FRAMES_PER_SECOND) for p in encoder.encode(frame(n))] + encoder.encode(None)
    return [pack(packet)[0] for packet in packets]


def audio(seconds):
    """The payload of each packet."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = AUDIO_RATE, "mono", "s16"
    encoder.time_base = Fraction(1, AUDIO_RATE)
    packets = [p for n in range(seconds * AUDIO_RATE // AUDIO_STEP) for p in encoder.encode(tone(n))]
    return [[bytes(packet)] for packet in packets]


def write(folder, seconds):
    """Makes `vp8.clip`, `h264.clip` and `opus.clip`."""
    for name, frames in [("vp8", video("vp8", seconds)), ("h264", video("h264", seconds)), ("opus", audio(seconds))]:
        with open(folder / f"{name}.clip", "wb") as file:
            for number, payloads in enumerate(frames):
                for payload in payloads:
                    file.write(struct.pack(">IH", number, len(payload)) + payload)
