// A publisher whose camera sends three layers with caps that a test chooses.

/** @param {number[]} caps bit/s of the layers, the smallest first */
function capLayers(caps) {
  const SCALES = [4, 2, 1];
  const RIDS = ["q", "h", "f"];

  const bySize = (encodings) =>
    [...encodings].sort((one, other) => (other.scaleResolutionDownBy ?? 1) - (one.scaleResolutionDownBy ?? 1));
  const cap = (encodings) => {
    if (encodings.length === caps.length) {
      for (const [index, encoding] of bySize(encodings).entries()) encoding.maxBitrate = caps[index];
    }
    return encodings;
  };

  const { addTransceiver } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function (what, init = {}) {
    if (what?.kind !== "video" || what.contentHint === "detail") return addTransceiver.call(this, what, init);
    const own = init.sendEncodings ?? [];
    const three = SCALES.map((scaleResolutionDownBy, index) => ({ rid: RIDS[index], scaleResolutionDownBy }));
    const sendEncodings = cap(own.length === SCALES.length ? own.map((encoding) => ({ ...encoding })) : three);
    return addTransceiver.call(this, what, { ...init, sendEncodings });
  };

  const { setParameters } = RTCRtpSender.prototype;
  RTCRtpSender.prototype.setParameters = function (parameters, ...options) {
    if (this.track?.kind === "video") cap(parameters.encodings);
    return setParameters.call(this, parameters, ...options);
  };
}

/**
 * From the next page on, cameras send three layers of these highest bitrates.
 *
 * @param {import("playwright-core").BrowserContext} context
 * @param {number[]} caps bit/s, the smallest layer first
 */
export async function threeLayers(context, caps) {
  await context.addInitScript(capLayers, caps);
}
