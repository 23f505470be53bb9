"""GStreamer's webrtcbin as a WHIP publisher or a WHEP player.

    gstreamer_peer.py publish URL TOKEN CODEC
    gstreamer_peer.py play    URL TOKEN CODEC FOLDER FRAMES SECONDS

A publisher sends colour bars and a tone of 440 Hz until its standard input ends. A player decodes until
it has enough, writes the last picture and the last second of sound into FOLDER, and says so.
"""

import hashlib
import re
import ssl
import subprocess
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

from whip_client import Decoded, Session, report  # noqa: E402

# Encoder, payloader and caps of each codec, under payload types as browsers use them.
VIDEO = {
    "vp8": (
        "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=60 target-bitrate=400000 error-resilient=default"
        " ! rtpvp8pay picture-id-mode=15-bit",
        "VP8",
        96,
        "",
    ),
    "vp9": (
        "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=60 target-bitrate=400000 lag-in-frames=0"
        " ! rtpvp9pay picture-id-mode=15-bit",
        "VP9",
        98,
        "",
    ),
    "h264": (
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60 bitrate=400"
        " ! video/x-h264,profile=constrained-baseline"
        " ! rtph264pay config-interval=-1 aggregate-mode=zero-latency",
        "H264",
        102,
        ",packetization-mode=(string)1,profile-level-id=(string)42e01f",
    ),
}


DECODERS = {
    "VP8": "rtpvp8depay ! vp8dec",
    "VP9": "rtpvp9depay ! vp9dec",
    "H264": "rtph264depay ! avdec_h264",
    "OPUS": "rtpopusdepay ! opusdec",
}


def video_caps(codec, profile=""):
    _, name, pt, _ = VIDEO[codec]
    return (
        f"application/x-rtp,media=video,encoding-name={name},payload={pt},clock-rate=90000"
        f",rtcp-fb-nack-pli=(boolean)true,rtcp-fb-ccm-fir=(boolean)true{profile}"
    )


AUDIO_CAPS = "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,encoding-params=(string)2"


def certificate():
    """A key and a certificate on P-256, as RFC 8827 section 6.5 has them. GStreamer's own are RSA, which
    this server's DTLS does not take from a client."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=peer -keyout - -out -"
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


def fingerprint(pem):
    """Of the certificate in a text that may hold its key, too (RFC 8122 section 5)."""
    der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE-----") :].strip())
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())


class Peer:
    def __init__(self, url, token):
        self.url, self.token = url, token
        self.certificate = certificate()
        self.transceivers = []
        self.loop = GLib.MainLoop()
        self.session = None
        self.failure = None

    def watch(self, pipeline):
        self.pipeline = pipeline
        self.webrtc = pipeline.get_by_name("webrtc")
        # The server of a test is on loopback only, where libnice does not look by itself. The agent is
        # kept here: its reference floats until Python takes it, and it must not go with it.
        self.ice = self.webrtc.get_property("ice-agent")
        self.ice.emit("add-local-ip-address", "127.0.0.1")
        bus = pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)
        self.webrtc.connect("notify::ice-gathering-state", self.on_gathering)
        self.webrtc.connect("notify::connection-state", self.on_state)

    def on_error(self, _, message):
        error, debug = message.parse_error()
        self.fail(f"{error.message} ({debug})")

    def fail(self, words):
        self.failure = self.failure or words
        self.loop.quit()

    def offer(self, *_):
        self.webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.on_offer, None))

    def on_offer(self, promise, _):
        # The description lies in the reply, which has to live as long.
        reply = promise.get_reply()
        # The offer made the transport, which now takes the certificate.
        transceiver = self.webrtc.emit("get-transceiver", 0)
        end = transceiver.get_property("sender") or transceiver.get_property("receiver")
        end.get_property("transport").set_property("certificate", self.certificate)
        self.restart_decoders()
        self.webrtc.emit("set-local-description", reply.get_value("offer"), None)

    def restart_decoders(self):
        """A DTLS decoder looks after its connection from the moment it is made ready, and a new certificate
        is a new connection."""
        elements = self.webrtc.iterate_recurse()
        while (step := elements.next())[0] == Gst.IteratorResult.OK:
            if step[1].get_name().startswith("dtlsdec"):
                step[1].set_state(Gst.State.NULL)
                step[1].sync_state_with_parent()

    def on_gathering(self, webrtc, _):
        complete = webrtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE
        if complete and self.session is None:
            GLib.idle_add(self.negotiate)

    def negotiate(self):
        offer = self.webrtc.get_property("local-description").sdp.as_text()
        offer = re.sub("a=fingerprint:.*", f"a=fingerprint:sha-256 {fingerprint(self.certificate)}", offer)
        try:
            self.session = Session(self.url, self.token, offer)
        except (OSError, RuntimeError) as error:
            self.fail(f"{error}\n{offer}")
            return False
        _, sdp = GstSdp.SDPMessage.new_from_text(self.session.answer)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.webrtc.emit("set-remote-description", answer, None)
        return False

    def on_state(self, webrtc, _):
        state = webrtc.get_property("connection-state")
        report(event="state", state=state.value_nick)
        if state == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            self.fail("the connection failed")

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        try:
            self.loop.run()
        finally:
            if self.session is not None:
                self.session.end()
            self.pipeline.set_state(Gst.State.NULL)
        if self.failure:
            sys.exit(self.failure)


def publish(url, token, codec):
    encoder, _, _, _ = VIDEO[codec]
    peer = Peer(url, token)
    peer.watch(
        Gst.parse_launch(
            "webrtcbin name=webrtc bundle-policy=max-bundle"
            f" videotestsrc is-live=true pattern=smpte ! video/x-raw,width=320,height=240,framerate=30/1"
            f" ! videoconvert ! {encoder} ! {video_caps(codec)} ! queue ! webrtc.sink_0"
            " audiotestsrc is-live=true wave=sine freq=440 ! audioconvert ! audioresample"
            f" ! opusenc ! rtpopuspay ! {AUDIO_CAPS} ! queue ! webrtc.sink_1"
        )
    )
    index = 0
    while (transceiver := peer.webrtc.emit("get-transceiver", index)) is not None:
        transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        index += 1
    # Once the encoders have said what they send.
    peer.webrtc.connect("on-negotiation-needed", peer.offer)
    # The end of standard input is the order to stop.
    threading.Thread(target=lambda: (sys.stdin.read(), GLib.idle_add(peer.loop.quit)), daemon=True).start()
    peer.run()


def play(url, token, codec, folder, frames, seconds):
    peer = Peer(url, token)
    decoded = Decoded(folder, int(frames), float(seconds))
    pipeline = Gst.Pipeline.new()
    webrtc = Gst.ElementFactory.make("webrtcbin", "webrtc")
    webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
    pipeline.add(webrtc)
    peer.watch(pipeline)

    def done():
        if decoded.enough() and peer.loop.is_running():
            peer.loop.quit()

    def on_picture(sink):
        sample = sink.emit("pull-sample")
        shape = sample.get_caps().get_structure(0)
        buffer = sample.get_buffer()
        decoded.add_picture(
            shape.get_value("width"), shape.get_value("height"), buffer.extract_dup(0, buffer.get_size())
        )
        done()
        return Gst.FlowReturn.OK

    def on_sound(sink):
        buffer = sink.emit("pull-sample").get_buffer()
        decoded.add_sound(buffer.extract_dup(0, buffer.get_size()))
        done()
        return Gst.FlowReturn.OK

    def on_pad(_, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        shape = pad.get_current_caps().get_structure(0)
        if shape.get_value("media") == "video":
            tail, take = "videoconvert ! video/x-raw,format=I420", on_picture
        else:
            tail, take = "audioconvert ! audioresample ! audio/x-raw,format=S16LE,rate=48000,channels=1", on_sound
        decoder = DECODERS[shape.get_value("encoding-name")]
        chain = Gst.parse_bin_from_description(
            f"queue ! {decoder} ! {tail} ! appsink name=out emit-signals=true sync=false", True
        )
        chain.get_by_name("out").connect("new-sample", take)
        pipeline.add(chain)
        chain.sync_state_with_parent()
        pad.link(chain.get_static_pad("sink"))

    webrtc.connect("pad-added", on_pad)
    pipeline.set_state(Gst.State.READY)
    # What a publisher's H264 is, its parameter sets say; a player names what it takes.
    for caps in (video_caps(codec, VIDEO[codec][3]), AUDIO_CAPS):
        transceiver = webrtc.emit(
            "add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(caps)
        )
        transceiver.set_property("do-nack", True)
        # As with the agent: a reference that floats until Python takes it.
        peer.transceivers.append(transceiver)
    GLib.idle_add(peer.offer)
    # Whoever started this player ends it when it has waited long enough; then it says how far it came.
    threading.Thread(
        target=lambda: (sys.stdin.read(), GLib.idle_add(peer.fail, f"only {decoded}")), daemon=True
    ).start()
    peer.run()
    decoded.write()


if __name__ == "__main__":
    Gst.init(None)
    {"publish": publish, "play": play}[sys.argv[1]](*sys.argv[2:])
