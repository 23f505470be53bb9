"""aiortc as a WHIP publisher or a WHEP player.

    aiortc_peer.py publish URL TOKEN CODEC
    aiortc_peer.py play    URL TOKEN CODEC FOLDER FRAMES SECONDS

A publisher sends colour bars and a tone of 440 Hz until its standard input ends. A player decodes until
it has enough, writes the last picture and the last second of sound into FOLDER, and says so.
"""

import asyncio
import sys

import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer

from whip_client import Decoded, Session, report


def prefer(transceiver, mime):
    codecs = RTCRtpSender.getCapabilities(mime.split("/")[0]).codecs
    chosen = [codec for codec in codecs if codec.mimeType.lower() in (mime.lower(), "video/rtx")]
    if not any(codec.mimeType.lower() == mime.lower() for codec in chosen):
        sys.exit(f"this stack has no {mime}")
    transceiver.setCodecPreferences(chosen)


async def negotiate(connection, url, token):
    @connection.on("connectionstatechange")
    def on_state():
        report(event="state", state=connection.connectionState)

    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp
    session = await asyncio.to_thread(Session, url, token, offer)
    await connection.setRemoteDescription(RTCSessionDescription(session.answer, "answer"))
    return session


async def standard_input_ends():
    await asyncio.to_thread(sys.stdin.read)


async def publish(url, token, codec):
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    bars = MediaPlayer("smptebars=size=320x240:rate=30", format="lavfi")
    tone = MediaPlayer("sine=frequency=440:sample_rate=48000", format="lavfi")
    video = connection.addTransceiver(bars.video, direction="sendonly")
    prefer(video, f"video/{codec}")
    connection.addTransceiver(tone.audio, direction="sendonly")
    session = await negotiate(connection, url, token)
    await standard_input_ends()
    await asyncio.to_thread(session.end)
    await connection.close()


async def play(url, token, codec, folder, frames, seconds):
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    decoded = Decoded(folder, int(frames), float(seconds))
    enough = asyncio.Event()

    def done():
        if decoded.enough():
            enough.set()

    async def take_pictures(track):
        while True:
            frame = (await track.recv()).reformat(format="yuv420p")
            planes = b"".join(
                bytes(plane)[row * plane.line_size : row * plane.line_size + plane.width]
                for plane in frame.planes
                for row in range(plane.height)
            )
            decoded.add_picture(frame.width, frame.height, planes)
            done()

    async def take_sound(track):
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48000)
        while True:
            for frame in resampler.resample(await track.recv()):
                decoded.add_sound(bytes(frame.planes[0])[: 2 * frame.samples])
            done()

    tasks = []

    @connection.on("track")
    def on_track(track):
        take = take_pictures if track.kind == "video" else take_sound
        tasks.append(asyncio.ensure_future(take(track)))

    video = connection.addTransceiver("video", direction="recvonly")
    prefer(video, f"video/{codec}")
    connection.addTransceiver("audio", direction="recvonly")
    session = await negotiate(connection, url, token)
    # Whoever started this player ends it when it has waited long enough; then it says how far it came.
    stop = asyncio.ensure_future(standard_input_ends())
    waiting = [asyncio.ensure_future(enough.wait()), stop, *tasks]
    finished, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in finished:
        if task in tasks:
            task.result()
    for task in tasks:
        task.cancel()
    await asyncio.to_thread(session.end)
    await connection.close()
    if not enough.is_set():
        sys.exit(f"only {decoded}")
    decoded.write()


if __name__ == "__main__":
    asyncio.run({"publish": publish, "play": play}[sys.argv[1]](*sys.argv[2:]))
    # A thread may still wait for standard input, which nobody needs any more.
    sys.stdout.flush()
    import os

    os._exit(0)
