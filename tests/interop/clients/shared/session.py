"""What the Python clients share: the command line, WHIP and WHEP over HTTP, counting, and the result."""

import argparse
import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request

FRAMES_PER_SECOND = 15
AUDIO_RATE = 48_000
# Opus packets of 20 ms (RFC 7587: the RTP clock is always 48 kHz).
AUDIO_STEP = 960
HTTP_PATIENCE = 10
# Seconds until candidates are gathered, and again until the connection stands.
CONNECT_PATIENCE = 10


def arguments(description):
    """The command line that every client here has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("role", choices=["publish", "play"])
    parser.add_argument("--url", required=True, help="the WHIP or WHEP endpoint")
    parser.add_argument("--token", default="", help="bearer token")
    parser.add_argument("--codec", choices=["vp8", "h264"], required=True)
    parser.add_argument("--setup", choices=["actpass", "active", "passive"], default="actpass", help="DTLS role offered")
    parser.add_argument("--frames", type=int, default=90, help="numbered frames to wait for (play)")
    parser.add_argument("--packets", type=int, default=250, help="audio packets to wait for (play)")
    parser.add_argument("--seconds", type=float, default=30, help="give up after so many")
    parser.add_argument("--media", default="", help="folder with the encoded clips, for clients that do not encode")
    parser.add_argument("--json", required=True, help="file for the result")
    return parser.parse_args()


class Session:
    """A WHIP (RFC 9725) or WHEP session: POST of the offer, DELETE at the end."""

    def __init__(self, url, token):
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.location = None

    def begin(self, offer):
        """Posts the offer; the answer."""
        headers = {**self.headers, "Content-Type": "application/sdp"}
        request = urllib.request.Request(self.url, offer.encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=HTTP_PATIENCE) as response:
                self.location = urllib.parse.urljoin(self.url, response.headers["Location"])
                return response.read().decode()
        except urllib.error.HTTPError as refused:
            raise RuntimeError(f"HTTP {refused.code}: {refused.read().decode()}") from None

    def end(self):
        """Ends the session; one that the server has ended before is no error."""
        if self.location:
            request = urllib.request.Request(self.location, headers=self.headers, method="DELETE")
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(request, timeout=HTTP_PATIENCE).close()
            self.location = None


class Count:
    """Numbers as they come, until `wanted` of them must have passed."""

    def __init__(self, wanted):
        self.wanted = wanted
        self.numbers = []
        self.unreadable = 0

    def add(self, number):
        if number is None:
            self.unreadable += 1
        else:
            self.numbers.append(number)

    def is_complete(self):
        return bool(self.numbers) and max(self.numbers) - self.numbers[0] + 1 >= self.wanted

    def result(self):
        return {"numbers": self.numbers, "unreadable": self.unreadable, "wanted": self.wanted}


class AudioCount(Count):
    """Audio packets, numbered by their RTP timestamps."""

    def __init__(self, wanted):
        super().__init__(wanted)
        self.first = None

    def add_timestamp(self, timestamp):
        if self.first is None:
            self.first = timestamp
        passed = (timestamp - self.first) & 0xFFFFFFFF
        if passed >= 1 << 31:
            passed -= 1 << 32
        self.add(round(passed / AUDIO_STEP))


def write_result(path, result):
    with open(path, "w") as file:
        json.dump(result, file)


def say_ready():
    """Tells who started this publisher that media flows."""
    print("ready", flush=True)
