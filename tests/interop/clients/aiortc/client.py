"""aiortc publishes by WHIP and plays by WHEP."""

import asyncio
import signal
import sys
import time
from pathlib import Path

# This folder has the library's name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

import clips
from shared import pattern
from shared.session import (
    AUDIO_RATE,
    AUDIO_STEP,
    CONNECT_PATIENCE,
    FRAMES_PER_SECOND,
    AudioCount,
    Count,
    Session,
    arguments,
    say_ready,
    write_result,
)


class Paced(MediaStreamTrack):
    """A track whose frame `n` comes at n / per_second."""

    def __init__(self, kind, per_second, make):
        super().__init__()
        self.kind = kind
        self.per_second = per_second
        self.make = make
        self.number = 0
        self.start = None

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        self.start = self.start or time.monotonic()
        await asyncio.sleep(self.start + self.number / self.per_second - time.monotonic())
        frame = self.make(self.number)
        self.number += 1
        return frame


def prefer(peer, codec):
    """Offers one video codec and its retransmission, and Opus."""
    wanted = {f"video/{codec}", "video/rtx", "audio/opus"}
    for transceiver in peer.getTransceivers():
        codecs = RTCRtpSender.getCapabilities(transceiver.kind).codecs
        transceiver.setCodecPreferences([one for one in codecs if one.mimeType.lower() in wanted])


async def connect(peer, session):
    connected = asyncio.Event()

    @peer.on("connectionstatechange")
    def _():
        if peer.connectionState == "connected":
            connected.set()

    await peer.setLocalDescription(await peer.createOffer())
    answer = await asyncio.to_thread(session.begin, peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await asyncio.wait_for(connected.wait(), CONNECT_PATIENCE)


async def publish(options, session, peer):
    peer.addTransceiver(Paced("audio", AUDIO_RATE / AUDIO_STEP, clips.tone), "sendonly")
    peer.addTransceiver(Paced("video", FRAMES_PER_SECOND, clips.frame), "sendonly")
    prefer(peer, options.codec)
    await connect(peer, session)
    say_ready()
    told = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, told.set)
    try:
        await asyncio.wait_for(told.wait(), options.seconds)
    except asyncio.TimeoutError:
        pass
    return {}


async def count_video(track, count):
    while not count.is_complete():
        frame = await track.recv()
        plane = frame.planes[0]
        count.add(pattern.number(bytes(plane), plane.line_size, frame.width, frame.height))


async def count_audio(track, count, peaks):
    while not count.is_complete():
        frame = await track.recv()
        count.add_timestamp(frame.pts)
        peaks.append(max(memoryview(bytes(frame.planes[0])).cast("h")))


async def play(options, session, peer):
    video, audio, peaks = Count(options.frames), AudioCount(options.packets), [0]
    receivers = [peer.addTransceiver(kind, "recvonly").receiver for kind in ("video", "audio")]
    prefer(peer, options.codec)
    await connect(peer, session)
    tracks = [receiver.track for receiver in receivers]
    if None in tracks:
        raise RuntimeError("the answer has audio or video refused")
    both = asyncio.gather(count_video(tracks[0], video), count_audio(tracks[1], audio, peaks))
    try:
        await asyncio.wait_for(both, options.seconds)
    except (asyncio.TimeoutError, MediaStreamError):
        pass  # the counts tell how far it came
    return {"video": video.result(), "audio": audio.result(), "peak": max(peaks)}


async def main():
    options = arguments(__doc__)
    session = Session(options.url, options.token)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    result = {"error": "ended early"}
    try:
        result = await {"publish": publish, "play": play}[options.role](options, session, peer)
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    finally:
        await asyncio.to_thread(session.end)
        await peer.close()
        write_result(options.json, result)
    sys.exit("error" in result)


asyncio.run(main())
