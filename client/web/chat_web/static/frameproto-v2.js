/**
 * The frames of chatbot.v2 in JavaScript: an envelope that names a message, and behind it a frame of v1, or less.
 *
 * docs/protocol-v2.md describes the frames. The shared test vectors in libs/frameproto/vectors hold this module and the
 * Python package to the same bytes. Message ids are strings: UUIDs in lower case, as `crypto.randomUUID()` makes them.
 *
 * @module
 */

import {
  DEFAULT_MAX_FRAME_BYTES,
  FrameError,
  ResponseKind,
  checkSize,
  decodeRequest,
  decodeResponse,
  decodeText,
  encodeRequest,
  encodeResponse,
  encodeText,
  join,
} from "./frameproto.js";

/** The first byte of what a client sends. */
export const ClientType = Object.freeze({ REQUEST: 0, AGAIN: 1, CANCEL: 2 });

/** The first byte of what a server sends. */
export const ServerType = Object.freeze({ RESPONSE: 0, PIECE: 1, STATUS: 2 });

/** What happens to a message at the moment. */
export const Progress = Object.freeze({ WAITING: 0, LISTENING: 1, THINKING: 2, SPEAKING: 3 });

/** The id in a response that is about a frame whose own id cannot be read. */
export const NO_MESSAGE = "00000000-0000-0000-0000-000000000000";

const ENVELOPE_BYTES = 17;
const NOTHING = Object.freeze({ kind: -1, text: "", voice: new Uint8Array(), image: new Uint8Array() });
/** @type {Set<number>} */
const CLIENT_TYPES = new Set(Object.values(ClientType));
/** @type {Set<number>} */
const SERVER_TYPES = new Set(Object.values(ServerType));
/** @type {Set<number>} */
const PROGRESS = new Set(Object.values(Progress));
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * @typedef {object} ClientFrame
 * @property {number} type one of ClientType
 * @property {string} messageId
 * @property {import("./frameproto.js").Request} [request] of everything but a cancel
 */

/**
 * @typedef {object} ServerFrame
 * @property {number} type one of ServerType
 * @property {string} messageId
 * @property {import("./frameproto.js").Response} [response] of a response
 * @property {string} [text] of a piece
 * @property {number} [progress] of a status; one of Progress
 */

/**
 * Return the frame of a request.
 *
 * @param {string} messageId chosen by the client, new for each message
 * @param {number} kind one of RequestKind
 * @param {Uint8Array | string} body a string for a text, bytes for everything else
 * @param {{again?: boolean}} [options] `again`: it was sent before, over a connection that broke
 * @returns {Uint8Array}
 * @throws {FrameError} the id is nil or none, or the request is not what the protocol allows
 */
export function encodeMessageRequest(messageId, kind, body, { again = false } = {}) {
  const type = again ? ClientType.AGAIN : ClientType.REQUEST;
  return join([envelope(type, messageId), encodeRequest(kind, body)]);
}

/**
 * Return the frame that takes a message back.
 *
 * @param {string} messageId
 * @returns {Uint8Array}
 * @throws {FrameError} the id is nil or none
 */
export function encodeCancel(messageId) {
  return envelope(ClientType.CANCEL, messageId);
}

/**
 * Return what a client sent. The body of a request is a view of the frame.
 *
 * @param {Uint8Array} frame
 * @param {number} [maxBytes]
 * @returns {ClientFrame}
 * @throws {FrameError} the frame is not what the protocol allows
 */
export function decodeClientFrame(frame, maxBytes = DEFAULT_MAX_FRAME_BYTES) {
  const { type, messageId, payload } = open(frame, maxBytes, CLIENT_TYPES, "client");
  if (type !== ClientType.CANCEL) checkHasPayload(payload, "request");
  checkId(messageId);
  if (type !== ClientType.CANCEL) return { type, messageId, request: decodeRequest(payload, maxBytes) };
  if (payload.length > 0) throw new FrameError("frame_part_unexpected", "a cancel has nothing behind its id");
  return { type, messageId };
}

/**
 * Return the frame of what a server sends.
 *
 * @param {ServerFrame} frame
 * @returns {Uint8Array}
 * @throws {FrameError} it is not what the protocol allows
 */
export function encodeServerFrame({ type, messageId, response = NOTHING, text = "", progress = -1 }) {
  switch (type) {
    case ServerType.RESPONSE: {
      const mayBeNil = response.kind === ResponseKind.ERROR;
      return join([envelope(type, messageId, mayBeNil), encodeResponse(response)]);
    }
    case ServerType.PIECE: {
      const head = envelope(type, messageId);
      if (text === "") throw new FrameError("frame_body_empty", "the piece has no text");
      return join([head, encodeText(text)]);
    }
    case ServerType.STATUS: {
      const head = envelope(type, messageId);
      if (!PROGRESS.has(progress)) throw new FrameError("frame_status_unknown", `${progress} is not a status`);
      return join([head, Uint8Array.of(progress)]);
    }
    default:
      throw new FrameError("frame_kind_unknown", `${type} is not a type of server frame`);
  }
}

/**
 * Return what a server sent. Voice and image are views of the frame.
 *
 * @param {Uint8Array} frame
 * @param {number} [maxBytes]
 * @returns {ServerFrame}
 * @throws {FrameError} the frame is not what the protocol allows
 */
export function decodeServerFrame(frame, maxBytes = DEFAULT_MAX_FRAME_BYTES) {
  const { type, messageId, payload } = open(frame, maxBytes, SERVER_TYPES, "server");
  switch (type) {
    case ServerType.RESPONSE:
      checkHasPayload(payload, "response");
      if (payload[0] !== ResponseKind.ERROR) checkId(messageId);
      return { type, messageId, response: decodeResponse(payload, maxBytes) };
    case ServerType.PIECE: {
      checkId(messageId);
      const text = decodeText(payload);
      if (text === "") throw new FrameError("frame_body_empty", "the piece has no text");
      return { type, messageId, text };
    }
    case ServerType.STATUS:
      checkHasPayload(payload, "status");
      checkId(messageId);
      if (!PROGRESS.has(payload[0])) throw new FrameError("frame_status_unknown", `${payload[0]} is not a status`);
      if (payload.length > 1) throw new FrameError("frame_part_unexpected", "a status has nothing behind its one byte");
      return { type, messageId, progress: payload[0] };
    default:
      throw new FrameError("frame_kind_unknown", `${type} is not a type of server frame`);
  }
}

/**
 * @param {Uint8Array} frame
 * @param {number} maxBytes
 * @param {Set<number>} types
 * @param {string} side
 */
function open(frame, maxBytes, types, side) {
  checkSize(frame, maxBytes);
  const type = frame[0];
  if (!types.has(type)) throw new FrameError("frame_kind_unknown", `${type} is not a type of ${side} frame`);
  if (frame.length < ENVELOPE_BYTES) {
    throw new FrameError("frame_truncated", `a frame begins with ${ENVELOPE_BYTES} bytes; it has ${frame.length}`);
  }
  const hex = Array.from(frame.subarray(1, ENVELOPE_BYTES), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const messageId = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return { type, messageId, payload: frame.subarray(ENVELOPE_BYTES) };
}

/**
 * @param {number} type
 * @param {string} messageId
 * @param {boolean} [mayBeNil]
 */
function envelope(type, messageId, mayBeNil = false) {
  if (!mayBeNil) checkId(messageId);
  if (!UUID.test(messageId)) throw new FrameError("frame_id_invalid", "a message id is a UUID with hyphens");
  const bytes = new Uint8Array(ENVELOPE_BYTES);
  const hex = messageId.replaceAll("-", "");
  bytes[0] = type;
  for (let at = 0; at < 16; at += 1) bytes[at + 1] = Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}

/** @param {string} messageId */
function checkId(messageId) {
  if (messageId === NO_MESSAGE) throw new FrameError("frame_id_invalid", "the message id is nil");
}

/**
 * @param {Uint8Array} payload
 * @param {string} name
 */
function checkHasPayload(payload, name) {
  if (payload.length === 0) throw new FrameError("frame_truncated", `a ${name} has something behind its message id`);
}
