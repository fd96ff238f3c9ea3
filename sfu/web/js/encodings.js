// What the camera and the screen are encoded to.

/** Layers from the lowest up, with the heights from which a capture is worth them. */
const LAYERS = [
  { rid: 'q', scale: 4, from: 540 },
  { rid: 'h', scale: 2, from: 270 },
  { rid: 'f', scale: 1, from: 0 },
];

/** Anchor of the bitrate curve: 180 lines at 30 frames per second look fine at 150 kbit/s. */
const ANCHOR_HEIGHT = 180;
const ANCHOR_BITRATE = 150_000;
/** Pixels grow with the square of the height, needed bits a little slower. */
const BITRATE_EXPONENT = 1.66;
const LEAST_BITRATE = 60_000;
const SCREEN_BITRATE = 2_500_000;

/** VP9 and AV1 would read several encodings as one scalable stream unless each names its own mode. */
const SCALABILITY_MODE = { vp9: 'L1T3', av1: 'L1T3' };

/** `sendEncodings` for a camera of this size: up to three simulcast layers, lowest first. */
export function cameraEncodings({ height, fps, codec, simulcast }) {
  const layers = simulcast ? LAYERS.filter((layer) => height >= layer.from) : LAYERS.slice(-1);
  return layers.map(({ rid, scale }) => ({
    ...(layers.length > 1 ? { rid } : {}),
    scaleResolutionDownBy: scale,
    maxBitrate: bitrateFor(height / scale, fps),
    maxFramerate: fps,
    ...(SCALABILITY_MODE[codec] ? { scalabilityMode: SCALABILITY_MODE[codec] } : {}),
  }));
}

/** One layer: text must stay sharp, and a shared screen changes seldom. */
export function screenEncodings() {
  return [{ maxBitrate: SCREEN_BITRATE, maxFramerate: 30 }];
}

/** Bits per second for a picture of so many lines. */
export function bitrateFor(height, fps) {
  const scaled = ANCHOR_BITRATE * (height / ANCHOR_HEIGHT) ** BITRATE_EXPONENT * Math.sqrt(fps / 30);
  return Math.max(LEAST_BITRATE, Math.round(scaled / 1000) * 1000);
}

/** What the server forwards. Each codec more makes every section of an offer longer, and the first offer has a limit. */
const FORWARDED = new Set([
  'audio/opus', 'audio/red',
  'video/vp8', 'video/vp9', 'video/h264', 'video/h265', 'video/av1', 'video/rtx', 'video/flexfec-03',
]);
/** Parity among the media: from those who send, and to those who take no other. */
const PARITY_AMONG = new Set(['video/red', 'video/ulpfec']);

/** The browser's codecs that are of use to send with, or to receive: the `wanted` ones first. */
export function usableCodecs(codecs, wanted, sends) {
  const mime = (codec) => codec.mimeType.toLowerCase();
  const isWanted = (codec) => mime(codec) === `video/${wanted}`;
  const among = sends || !codecs.some((codec) => mime(codec) === 'video/flexfec-03');
  const usable = codecs.filter((codec) => FORWARDED.has(mime(codec)) || (among && PARITY_AMONG.has(mime(codec))));
  return [...usable.filter(isWanted), ...usable.filter((codec) => !isWanted(codec))];
}
