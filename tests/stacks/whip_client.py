"""The HTTP half of a WHIP or WHEP client, for the peers of this folder, and how they report.

Only the standard library: what is tested is the WebRTC stack beside it.
"""

import json
import sys
import urllib.parse
import urllib.request


class Session:
    """A session that a server made of an offer."""

    def __init__(self, url, token, offer):
        self.token = token
        response = self._request("POST", url, offer)
        if response.status != 201:
            raise RuntimeError(f"POST {url}: {response.status}")
        self.url = urllib.parse.urljoin(url, response.headers["Location"])
        self.answer = response.read().decode()

    def end(self):
        """Ends it, as RFC 9725 section 4.2 wants a client that goes away to do."""
        self._request("DELETE", self.url)

    def _request(self, method, url, body=None):
        request = urllib.request.Request(url, method=method, data=body and body.encode())
        request.add_header("Authorization", f"Bearer {self.token}")
        if body:
            request.add_header("Content-Type", "application/sdp")
        try:
            return urllib.request.urlopen(request, timeout=20)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {url}: {error.code} {error.read().decode()}") from error


def report(**fields):
    """Says something to the program that started this one, a line of JSON each."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class Decoded:
    """What a player decoded: how much, the last picture, and the last second of sound."""

    def __init__(self, folder, frames, seconds):
        self.folder = folder
        self.frames_wanted = frames
        self.samples_wanted = int(seconds * 48000)
        self.frames = 0
        self.size = (0, 0)
        self.picture = b""
        self.samples = b""
        self.sample_count = 0

    def add_picture(self, width, height, i420):
        self.frames += 1
        self.size = (width, height)
        self.picture = i420

    def add_sound(self, s16_mono):
        self.sample_count += len(s16_mono) // 2
        self.samples = (self.samples + s16_mono)[-2 * 48000:]

    def enough(self):
        return self.frames >= self.frames_wanted and self.sample_count >= self.samples_wanted

    def write(self):
        with open(f"{self.folder}/picture.i420", "wb") as file:
            file.write(self.picture)
        with open(f"{self.folder}/sound.s16", "wb") as file:
            file.write(self.samples)
        report(event="decoded", frames=self.frames, width=self.size[0], height=self.size[1])

    def __str__(self):
        return f"{self.frames} pictures of {self.size}, {self.sample_count} samples"
