"""Counts what a client without codecs received: decodes its recorded RTP packets.

A recording is a row of packets: kind (1 byte, 1 is video), length (2 bytes), RTP packet.
"""

import struct

import av
from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import vp8_depayload
from aiortc.rtp import RtpPacket

from shared import pattern
from shared.session import AudioCount, Count

DEPAYLOAD = {"vp8": vp8_depayload, "h264": h264_depayload}


def packets(file):
    """The audio and the video packets, in order of their sequence numbers and without repetitions."""
    data = open(file, "rb").read()
    kinds = ({}, {})
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from(">BH", data, at)
        packet = RtpPacket.parse(data[at + 3 : at + 3 + length])
        seen = kinds[kind]
        first = next(iter(seen.values())).sequence_number if seen else packet.sequence_number
        order = (packet.sequence_number - first + 0x8000) & 0xFFFF
        if packet.payload:  # without one it is padding
            seen.setdefault(order, packet)
        at += 3 + length
    return [[seen[order] for order in sorted(seen)] for seen in kinds]


def video_numbers(received, codec, wanted):
    count = Count(wanted)
    decoder = av.CodecContext.create(codec, "r")
    frames = {}
    for packet in received:
        frames.setdefault(packet.timestamp, []).append(packet)
    for parts in frames.values():
        data = b"".join(DEPAYLOAD[codec](part.payload) for part in parts)
        try:
            images = decoder.decode(av.Packet(data))
        except av.error.FFmpegError:
            count.add(None)
            continue
        for image in images:
            plane = image.planes[0]
            count.add(pattern.number(bytes(plane), plane.line_size, image.width, image.height))
    return count


def audio_numbers(received, wanted):
    count = AudioCount(wanted)
    decoder = av.CodecContext.create("libopus", "r")
    peak = 0
    for packet in received:
        count.add_timestamp(packet.timestamp)
        try:
            sounds = decoder.decode(av.Packet(packet.payload))
        except av.error.FFmpegError:
            count.add(None)
            continue
        for sound in sounds:
            peak = max(peak, *memoryview(bytes(sound.planes[0])).cast("h"))
    return count, peak


def result(recording, codec):
    """The same result that a client with codecs gives."""
    audio, video = packets(recording["rtp"])
    wanted = recording["wanted"]
    sound, peak = audio_numbers(audio, wanted["audio"])
    images = video_numbers(video, codec, wanted["video"])
    return {**recording, "video": images.result(), "audio": sound.result(), "peak": peak}
