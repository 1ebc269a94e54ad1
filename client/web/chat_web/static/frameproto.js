/**
 * The binary frame protocol in JavaScript: requests out, responses in. It has no I/O and no dependencies.
 *
 * docs/protocol.md describes the frames. The shared test vectors in libs/frameproto/vectors hold this module and the
 * Python package to the same bytes.
 *
 * @module
 */

/** The subprotocol that a client offers in the handshake. */
export const SUBPROTOCOL_V1 = "chatbot.v1";

/** The one that names messages; its frames are in frameproto-v2.js. */
export const SUBPROTOCOL_V2 = "chatbot.v2";

/** The usual size limit of a frame, in bytes. */
export const DEFAULT_MAX_FRAME_BYTES = 16 * 1024 * 1024;

/** The first byte of a request: what its body is. */
export const RequestKind = Object.freeze({ TEXT: 0, VOICE: 1, VIDEO: 2 });

/** The first byte of a response. */
export const ResponseKind = Object.freeze({ TEXT: 0, VOICE: 1, VIDEO: 2, ERROR: 3 });

/** The media that follow the text of a response, by kind, in the order of the frame. @type {Readonly<Record<number, string[]>>} */
const PARTS = Object.freeze({
  [ResponseKind.TEXT]: [],
  [ResponseKind.VOICE]: ["voice"],
  [ResponseKind.VIDEO]: ["voice", "image"],
  [ResponseKind.ERROR]: [],
});

/** @type {Set<number>} */
const REQUEST_KINDS = new Set(Object.values(RequestKind));
/** @type {Set<number>} */
const RESPONSE_KINDS = new Set(Object.values(ResponseKind));
const HEADER_BYTES = 9;
const SIZE_LIMIT = 2 ** 32;
const ERROR_TEXT = /^([a-z][a-z0-9_]{0,63}): (.+)$/s;
const EMPTY = new Uint8Array();

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A frame that the protocol does not allow. `code` is stable; docs/protocol.md lists the codes. */
export class FrameError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = "FrameError";
    this.code = code;
  }
}

/**
 * @typedef {object} Request
 * @property {number} kind one of RequestKind
 * @property {Uint8Array} body UTF-8, MP3 or MP4; a view of the frame when it was decoded
 */

/**
 * @typedef {object} Response
 * @property {number} kind one of ResponseKind
 * @property {string} text
 * @property {Uint8Array} voice MP3; empty where the kind has none
 * @property {Uint8Array} image JPEG; empty where the kind has none
 */

/**
 * Return the frame of a request.
 *
 * @param {number} kind one of RequestKind
 * @param {Uint8Array | string} body a string for a text, bytes for everything else
 * @returns {Uint8Array}
 * @throws {FrameError} the kind is unknown, the body is empty, or the text is not valid
 */
export function encodeRequest(kind, body) {
  if (!REQUEST_KINDS.has(kind)) throw new FrameError("frame_kind_unknown", `${kind} is not a kind of request`);
  const bytes = typeof body === "string" ? encodeText(body) : body;
  if (bytes.length === 0) throw new FrameError("frame_body_empty", "the frame has a kind but no body");
  if (kind === RequestKind.TEXT && typeof body !== "string") decodeText(bytes);
  return join([Uint8Array.of(kind), bytes]);
}

/**
 * Return the request in a frame. Its body is a view of the frame.
 *
 * @param {Uint8Array} frame
 * @param {number} [maxBytes]
 * @returns {Request}
 * @throws {FrameError} the frame is not what the protocol allows
 */
export function decodeRequest(frame, maxBytes = DEFAULT_MAX_FRAME_BYTES) {
  checkSize(frame, maxBytes);
  const kind = frame[0];
  if (!REQUEST_KINDS.has(kind)) throw new FrameError("frame_kind_unknown", `${kind} is not a kind of request`);
  const body = frame.subarray(1);
  if (body.length === 0) throw new FrameError("frame_body_empty", "the frame has a kind but no body");
  if (kind === RequestKind.TEXT) decodeText(body);
  return { kind, body };
}

/**
 * Return the frame of a response.
 *
 * @param {{kind: number, text: string, voice?: Uint8Array, image?: Uint8Array}} response
 * @returns {Uint8Array}
 * @throws {FrameError} the response is not what the protocol allows
 */
export function encodeResponse({ kind, text, voice = EMPTY, image = EMPTY }) {
  if (!RESPONSE_KINDS.has(kind)) throw new FrameError("frame_kind_unknown", `${kind} is not a kind of response`);
  checkParts(kind, text, { voice, image });
  const bytes = encodeText(text);
  if (bytes.length >= SIZE_LIMIT || voice.length >= SIZE_LIMIT) {
    throw new FrameError("frame_too_large", "text and voice must each be under 4 GiB");
  }
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  header.setUint8(0, kind);
  header.setUint32(1, bytes.length);
  header.setUint32(5, voice.length);
  return join([new Uint8Array(header.buffer), bytes, voice, image]);
}

/**
 * Return the response in a frame. Voice and image are views of the frame.
 *
 * @param {Uint8Array} frame
 * @param {number} [maxBytes]
 * @returns {Response}
 * @throws {FrameError} the frame is not what the protocol allows
 */
export function decodeResponse(frame, maxBytes = DEFAULT_MAX_FRAME_BYTES) {
  checkSize(frame, maxBytes);
  const kind = frame[0];
  if (!RESPONSE_KINDS.has(kind)) throw new FrameError("frame_kind_unknown", `${kind} is not a kind of response`);
  if (frame.length < HEADER_BYTES) {
    throw new FrameError("frame_truncated", `a response begins with ${HEADER_BYTES} bytes; the frame has ${frame.length}`);
  }
  const header = new DataView(frame.buffer, frame.byteOffset, HEADER_BYTES);
  const voiceAt = HEADER_BYTES + header.getUint32(1);
  const imageAt = voiceAt + header.getUint32(5); // a sum of two sizes is exact in a double
  if (imageAt > frame.length) {
    throw new FrameError("frame_truncated", `text and voice end at byte ${imageAt}; the frame has ${frame.length}`);
  }
  const text = decodeText(frame.subarray(HEADER_BYTES, voiceAt));
  const voice = frame.subarray(voiceAt, imageAt);
  const image = frame.subarray(imageAt);
  checkParts(kind, text, { voice, image });
  return { kind, text, voice, image };
}

/**
 * Return code and message of an error response.
 *
 * @param {Response} response
 * @returns {{code: string, message: string}}
 */
export function errorOf(response) {
  const found = response.kind === ResponseKind.ERROR ? ERROR_TEXT.exec(response.text) : null;
  if (found === null) throw new TypeError("this response is not an error");
  return { code: found[1], message: found[2] };
}

/**
 * @param {number} kind
 * @param {string} text
 * @param {Record<string, Uint8Array>} media
 */
function checkParts(kind, text, media) {
  if (text === "") throw new FrameError("frame_body_empty", "the response has no text");
  for (const [part, content] of Object.entries(media)) {
    const wanted = PARTS[kind].includes(part);
    if (content.length > 0 && !wanted) {
      throw new FrameError("frame_part_unexpected", `a response of kind ${kind} has no ${part}`);
    }
    if (content.length === 0 && wanted) {
      throw new FrameError("frame_part_missing", `a response of kind ${kind} lacks its ${part}`);
    }
  }
  if (kind === ResponseKind.ERROR && !ERROR_TEXT.test(text)) {
    throw new FrameError("frame_error_invalid", 'the text of an error frame is not "code: message"');
  }
}

/**
 * Pass when a frame has at least one byte and at most `maxBytes`.
 *
 * @param {Uint8Array} frame
 * @param {number} maxBytes
 * @throws {FrameError} it has not
 */
export function checkSize(frame, maxBytes) {
  if (frame.length === 0) throw new FrameError("frame_empty", "the frame has no bytes");
  if (frame.length > maxBytes) {
    throw new FrameError("frame_too_large", `the frame has ${frame.length} bytes; the limit is ${maxBytes}`);
  }
}

/**
 * Return a text as strict UTF-8.
 *
 * @param {string} text
 * @returns {Uint8Array}
 * @throws {FrameError} it holds a lone surrogate
 */
export function encodeText(text) {
  if (/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(text)) {
    throw new FrameError("frame_text_invalid", "the text holds a lone surrogate, which UTF-8 cannot encode");
  }
  return encoder.encode(text);
}

/**
 * Return strict UTF-8 as a text.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 * @throws {FrameError} it is not UTF-8
 */
export function decodeText(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new FrameError("frame_text_invalid", "the text is not valid UTF-8");
  }
}

/**
 * Return bytes one after the other.
 *
 * @param {Uint8Array[]} pieces
 * @returns {Uint8Array}
 */
export function join(pieces) {
  const joined = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}
