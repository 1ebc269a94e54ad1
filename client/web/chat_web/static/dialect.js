/**
 * What a client says and hears in each version of the protocol, without I/O.
 *
 * @module
 */

import { SUBPROTOCOL_V1, SUBPROTOCOL_V2, decodeResponse, encodeRequest } from "./frameproto.js";
import { decodeServerFrame, encodeCancel, encodeMessageRequest } from "./frameproto-v2.js";

const MAX_REPLY_BYTES = 64 * 1024 * 1024;

/**
 * @typedef {object} Sent what a client has sent, or will send
 * @property {string} id
 * @property {number} kind one of RequestKind
 * @property {Uint8Array | string} body
 * @property {boolean} again it may have reached the server over an earlier connection
 */

/**
 * @typedef {object} Heard what a server says about a message
 * @property {string} [id] of the message; none: the oldest one that was sent
 * @property {import("./frameproto.js").Response} [response]
 * @property {string} [text] that continues the reply
 * @property {number} [progress] one of Progress
 */

/**
 * @typedef {object} Dialect
 * @property {boolean} names messages have names: they can be sent again, and taken back
 * @property {(message: Sent) => Uint8Array} request
 * @property {(id: string) => Uint8Array} cancel
 * @property {(frame: Uint8Array) => Heard} read throws a FrameError
 */

/** @type {Dialect} */
const V1 = {
  names: false,
  request: ({ kind, body }) => encodeRequest(kind, body),
  cancel: () => {
    throw new TypeError("chatbot.v1 can't take a message back");
  },
  read: (frame) => ({ response: decodeResponse(frame, MAX_REPLY_BYTES) }),
};

/** @type {Dialect} */
const V2 = {
  names: true,
  request: ({ id, kind, body, again }) => encodeMessageRequest(id, kind, body, { again }),
  cancel: encodeCancel,
  read: (frame) => {
    const { type, messageId, ...heard } = decodeServerFrame(frame, MAX_REPLY_BYTES);
    return { id: messageId, ...heard };
  },
};

/** The subprotocols that a client offers, the best first. */
export const SUBPROTOCOLS = Object.freeze([SUBPROTOCOL_V2, SUBPROTOCOL_V1]);

/**
 * Return the dialect of the subprotocol that a server chose. A server that chose none speaks v1.
 *
 * @param {string} subprotocol
 * @returns {Dialect}
 */
export const dialectOf = (subprotocol) => (subprotocol === SUBPROTOCOL_V2 ? V2 : V1);
