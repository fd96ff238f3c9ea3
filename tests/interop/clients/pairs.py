"""Runs the server and lets each client publish to each client, VP8 and H.264 with Opus; prints one table.

Frames are numbered in their pixels. A player waits until so many numbers have passed since its first, and each of them
must have come, once and in order; audio packets are numbered by their RTP timestamps.
"""

import argparse
import contextlib
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import clips
import decode

HERE = Path(__file__).resolve().parent
NODE = ["node"]
# GStreamer's bindings are the distribution's, for its own Python.
SYSTEM_PYTHON = ["/usr/bin/python3"]

# A client: its program, further arguments, and the codecs it has.
CLIENTS = {
    "aiortc": ([sys.executable, "aiortc/client.py"], ["vp8", "h264"]),
    "werift": ([*NODE, "werift/client.mjs"], ["vp8", "h264"]),
    "datachannel": ([*NODE, "datachannel/client.mjs"], ["vp8", "h264"]),
    "wrtc": ([*NODE, "wrtc/client.mjs"], ["vp8"]),
    "gstreamer": ([*SYSTEM_PYTHON, "gstreamer/client.py"], ["vp8", "h264"]),
    "gstreamer-active": ([*SYSTEM_PYTHON, "gstreamer/client.py", "--setup", "active"], ["vp8", "h264"]),
    "gstreamer-passive": ([*SYSTEM_PYTHON, "gstreamer/client.py", "--setup", "passive"], ["vp8", "h264"]),
}
# The others offer `a=setup:actpass`. These are GStreamer again with a fixed DTLS role: they meet each other only.
FIXED_ROLE = {"gstreamer-active", "gstreamer-passive"}
CODECS = ["vp8", "h264"]
STREAM = "camera"

START_PATIENCE = 20
# How long a client may take to end once it has nothing left to do.
END_PATIENCE = 10
# The loudest sample of a tone that was decoded, at least.
AUDIBLE = 1000


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/interop", description=__doc__)
    parser.add_argument(
        "--only",
        default=",,",
        metavar="PUBLISHER,PLAYER,CODEC",
        help="only these; each part may be left empty (any) or name several with `+`: aiortc+werift,,vp8",
    )
    parser.add_argument("--frames", type=int, default=90, help="numbered frames that each player waits for")
    parser.add_argument("--packets", type=int, default=250, help="audio packets that each player waits for")
    parser.add_argument("--seconds", type=int, default=40, help="give up on a player after so many")
    parser.add_argument("--json", metavar="FILE", help="the table as JSON as well")
    parser.add_argument("--keep", metavar="FOLDER", help="keep logs and results there")
    parser.add_argument("--server", default="target/debug/sfu", help="the server's program")
    parser.add_argument("--clients", action="store_true", help="list the clients")
    return parser.parse_args()


def chosen(only):
    """The wanted triples of publisher, player and codec."""
    parts = [set(filter(None, part.split("+"))) for part in (only.split(",") + ["", ""])[:3]]
    for part, known in zip(parts, [CLIENTS, CLIENTS, CODECS]):
        if part - set(known):
            sys.exit(f"unknown in --only: {', '.join(part - set(known))}; known: {', '.join(known)}")
    for publisher, player, codec in itertools.product(CLIENTS, CLIENTS, CODECS):
        if (publisher in FIXED_ROLE) != (player in FIXED_ROLE):
            continue
        if all(not part or one in part for part, one in zip(parts, (publisher, player, codec))):
            yield publisher, player, codec


def free_ports(count):
    """So many different ports: each is held until all are known."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("", 0))
        return [probe.getsockname()[1] for probe in probes]


class Server:
    """The server with development keys, as a child process."""

    def __init__(self, program, folder):
        http_port, media_port = free_ports(2)
        self.url = f"http://127.0.0.1:{http_port}"
        ports = ["--http-port", str(http_port), "--media-port", str(media_port)]
        self.log = open(folder / "server.log", "w")
        self.child = subprocess.Popen([program, "--dev", *ports], stdout=self.log, stderr=self.log, env=quiet_environment())
        # Who publishes must be who the stream is named after; any number may play with one invitation.
        make = [program, "token", "--dev", "--room", "*"]
        self.tokens = {
            role: subprocess.run(make + more, capture_output=True, text=True, check=True).stdout.strip()
            for role, more in {"publish": ["--identity", STREAM], "play": []}.items()
        }

    def wait_until_it_answers(self):
        end = time.monotonic() + START_PATIENCE
        while time.monotonic() < end:
            if self.child.poll() is not None:
                break
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{self.url}/healthz", timeout=START_PATIENCE).close()
                return
            time.sleep(0.05)
        sys.exit(f"the server does not answer; its log: {self.log.name}")

    def keep_metrics(self, file):
        """What it has sent and dropped until now."""
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=START_PATIENCE) as answer:
                file.write_bytes(answer.read())

    def end(self):
        end(self.child)
        self.log.close()


def quiet_environment():
    """This environment with logging at `info` unless told otherwise."""
    return {"RUST_LOG": "info", **os.environ}


def end(child):
    """Ends a child process in good order, or else at once."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Client:
    """A running client."""

    def __init__(self, name, role, codec, server, room, options, folder):
        kind = {"publish": "whip", "play": "whep"}[role]
        self.result_file = folder / f"{room}-{role}-{name}.json"
        self.log = open(self.result_file.with_suffix(".log"), "w")
        seconds = options.seconds if role == "play" else 2 * options.seconds
        command = [
            *CLIENTS[name][0], role, "--url", f"{server.url}/{kind}/{room}/{STREAM}", "--token", server.tokens[role],
            "--codec", codec, "--frames", options.frames, "--packets", options.packets, "--seconds", seconds,
            "--media", folder, "--json", self.result_file,
        ]  # fmt: skip
        self.child = subprocess.Popen(
            [str(part) for part in command], cwd=HERE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log
        )

    def wait_until_ready(self, seconds):
        """Whether a publisher's media flows."""
        readable, _, _ = select.select([self.child.stdout], [], [], seconds)
        return bool(readable) and b"ready" in self.child.stdout.readline()

    def wait(self, deadline):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(max(0, deadline - time.monotonic()))
        return self.finish()

    def finish(self):
        end(self.child)
        self.child.stdout.close()
        self.log.close()
        try:
            return json.loads(self.result_file.read_text())
        except (OSError, ValueError):
            return {"error": f"ended with {self.child.returncode} and no result; see {self.log.name}"}


def judged(count, excused):
    """Received, expected, and what is wrong. So many frames may be missing since a client left them out."""
    if "numbers" not in count:
        received, expected = count["received"], count["expected"]
        wrong = "" if received == expected and received >= count["wanted"] else "lost or too few"
        return received, expected, wrong
    numbers, wanted = count["numbers"], count["wanted"]
    if not numbers:
        return 0, wanted, "nothing came"
    of_interest = [n for n in numbers if numbers[0] <= n < numbers[0] + wanted]
    received = len(set(of_interest))
    faults = [
        (received + excused < wanted, "lost"),
        (len(of_interest) > received, "repeated"),
        (of_interest != sorted(of_interest), "out of order"),
        (count["unreadable"], f"{count['unreadable']} unreadable"),
    ]
    return received, wanted, ", ".join(text for is_so, text in faults if is_so)


def row(publisher, player, codec, result, unsent=0):
    """One line of the table."""
    line = {"publisher": publisher, "player": player, "codec": codec}
    for kind in ("video", "audio"):
        line[kind], line[f"{kind}_expected"] = 0, result.get(kind, {}).get("wanted", 0)
    if "error" in result:
        return {**line, "verdict": "FAILED", "why": result["error"]}
    wrong = []
    # What the publisher's encoder left out, and what came whole to the player and was never shown, the server has not lost.
    skipped = result["video"].get("skipped", 0)
    for kind, excused in (("video", unsent + skipped), ("audio", 0)):
        line[kind], line[f"{kind}_expected"], why = judged(result[kind], excused)
        wrong += [f"{kind}: {why}"] if why else []
    if result["peak"] < AUDIBLE:
        wrong.append("audio: silent")
    if wrong:
        return {**line, "verdict": "FAILED", "why": "; ".join(wrong)}
    is_short = line["video"] < line["video_expected"]
    why = f"the publisher left out {unsent}, the player got and did not show {skipped}" if is_short else ""
    return {**line, "verdict": "ok", "why": why}


def round_of(publisher, players, codec, server, options, folder):
    """One publisher and its players; a row for each."""
    room = f"{publisher}-{codec}"
    lacking = [name for name in [publisher, *players] if codec not in CLIENTS[name][1]]
    if publisher in lacking:
        return [no_codec(publisher, player, codec, publisher) for player in players]
    rows = [no_codec(publisher, player, codec, player) for player in players if player in lacking]
    players = [player for player in players if player not in lacking]
    source = Client(publisher, "publish", codec, server, room, options, folder)
    running = {}
    try:
        if not source.wait_until_ready(options.seconds):
            failed = source.finish().get("error", "the publisher was not ready in time")
            return rows + [row(publisher, player, codec, {"error": f"publisher: {failed}"}) for player in players]
        running = {name: Client(name, "play", codec, server, room, options, folder) for name in players}
        # A player has its own limits for connecting and for playing.
        deadline = time.monotonic() + 2 * options.seconds
        results = {name: player.wait(deadline) for name, player in running.items()}
        unsent = source.finish().get("unsent", 0)
        for name, result in results.items():
            if "rtp" in result:
                result = decode.result(result, codec)
            rows.append(row(publisher, name, codec, result, unsent))
    finally:
        for client in [*running.values(), source]:
            end(client.child)
    return rows


def no_codec(publisher, player, codec, who):
    line = row(publisher, player, codec, {"error": f"{who} has no {codec}"})
    return {**line, "verdict": "n/a"}


def table(rows):
    """The rows in Markdown."""
    lines = ["| publisher | player | codec | frames | audio packets | verdict |", "|---|---|---|---|---|---|"]
    for one in rows:
        counts = [f"{one[kind]}/{one[f'{kind}_expected']}" for kind in ("video", "audio")]
        if one["verdict"] == "n/a":
            counts = ["-", "-"]
        verdict = f"{one['verdict']}: {one['why']}" if one["why"] else one["verdict"]
        lines.append(f"| {one['publisher']} | {one['player']} | {one['codec']} | {' | '.join(counts)} | {verdict} |")
    return "\n".join(lines)


def main():
    options = arguments()
    if options.clients:
        print("\n".join(f"{name}: {', '.join(codecs)}" for name, (_, codecs) in CLIENTS.items()))
        return 0
    wanted = list(chosen(options.only))
    if not wanted:
        sys.exit("no such pair")
    # Ctrl-C and SIGTERM both end what was started, by the `finally`s.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        folder = Path(options.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="sfu-interop-"))).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        say("making the clips")
        clips.write(folder, 2 * options.seconds)
        server = Server(options.server, folder)
        stack.callback(server.end)
        server.wait_until_it_answers()
        rows = []
        for (publisher, codec), pairs in itertools.groupby(sorted(wanted, key=order), lambda pair: (pair[0], pair[2])):
            players = [player for _, player, _ in pairs]
            say(f"{publisher} publishes {codec} to {', '.join(players)}")
            done = round_of(publisher, players, codec, server, options, folder)
            server.keep_metrics(folder / f"{publisher}-{codec}.metrics")
            for one in done:
                say(f"    {one['player']}: {one['verdict']} {one['why']}")
            rows += done
    rows.sort(key=lambda one: order((one["publisher"], one["player"], one["codec"])))
    print(table(rows))
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2) + "\n")
    failed = sum(one["verdict"] == "FAILED" for one in rows)
    say(f"{len(rows)} rows, {failed} failed")
    return 1 if failed else 0


def order(triple):
    """Rounds have one publisher and codec; clients come in the order of their list."""
    publisher, player, codec = triple
    names = list(CLIENTS)
    return names.index(publisher), CODECS.index(codec), names.index(player)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
