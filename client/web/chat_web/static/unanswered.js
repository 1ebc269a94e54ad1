/**
 * The messages without an answer, oldest first: what is sent, sent again, told and taken back. It has no I/O.
 *
 * With chatbot.v2 a message keeps its name over connections, and is sent again until it is answered. With chatbot.v1 a
 * message fails with the connection that carried it, as nobody knows whether it arrived.
 *
 * @module
 */

import { dialectOf } from "./dialect.js";
import { ConnectionLost } from "./errors.js";

const MAX_CUTS = 10;

/**
 * @typedef {object} AskOptions
 * @property {string} [id] the message's name, a UUID; a new one by default
 * @property {boolean} [again] a message of this name may have reached the server before
 * @property {(text: string) => void} [onText] told of the reply's text so far, each time there is more. After a
 *   reconnect it begins anew, from an empty text
 * @property {(progress: number) => void} [onProgress] told of what happens to the message, one of Progress
 * @property {AbortSignal} [signal] takes the message back
 */

/**
 * @typedef {AskOptions & import("./dialect.js").Sent & {
 *   resolve: (response: import("./frameproto.js").Response) => void, reject: (error: unknown) => void,
 *   sent?: boolean, carried?: boolean, cuts?: number, text?: string}} Message
 *   `sent`: a connection carried it; `carried`: this one did; `cuts`: so many ended when it was the next to be answered
 */

/** The messages of a conversation that have no answer yet. */
export class Unanswered {
  /** @param {number} window how many of them may be on the way */
  constructor(window) {
    this._window = window;
    /** @type {Message[]} */
    this._messages = [];
    this._dialect = dialectOf("");
    /** @type {((frame: Uint8Array) => void) | null} */
    this._send = null;
  }

  get size() {
    return this._messages.length;
  }

  /** Whether messages have names: they can be taken back, and sent again. */
  get names() {
    return this._dialect.names;
  }

  /** @param {Message} message */
  add(message) {
    this._messages.push(message);
    message.signal?.addEventListener("abort", () => this._takeBack(message));
    this._flush();
  }

  /**
   * A connection is open.
   *
   * @param {string} subprotocol
   * @param {(frame: Uint8Array) => void} send
   */
  opened(subprotocol, send) {
    this._dialect = dialectOf(subprotocol);
    this._send = send;
    if (!this.names) this.fail(new ConnectionLost(1006), ({ sent }) => sent ?? false);
    this._flush();
  }

  /**
   * The connection ended.
   *
   * @param {number} code
   */
  lost(code) {
    this._send = null;
    this.fail(new DOMException("it was taken back", "AbortError"), ({ signal }) => signal?.aborted ?? false);
    const next = this._messages.find(({ carried }) => carried);
    if (next !== undefined) next.cuts = (next.cuts ?? 0) + 1;
    this.fail(new ConnectionLost(code), ({ carried, cuts = 0 }) => !!carried && (!this.names || cuts >= MAX_CUTS));
    for (const message of this._messages) {
      message.carried = false;
      if (message.text) message.onText?.((message.text = ""));
    }
  }

  /**
   * Return what a frame says, and of which message; none: it was given up.
   *
   * @param {Uint8Array} frame
   * @returns {{message?: Message, heard: import("./dialect.js").Heard}}
   * @throws {Error} it is no frame, or nothing was asked
   */
  read(frame) {
    const heard = this._dialect.read(frame);
    const oldest = this._messages.find(({ carried }) => carried);
    if (heard.id === undefined && oldest === undefined) throw new TypeError("nothing was asked");
    const message = heard.id === undefined ? oldest : this._messages.find(({ id }) => id === heard.id);
    return { message, heard };
  }

  /**
   * Tell what was read.
   *
   * @param {Message} message
   * @param {import("./dialect.js").Heard} heard
   */
  tell(message, { response, text, progress }) {
    if (response !== undefined) {
      this._messages.splice(this._messages.indexOf(message), 1);
      message.resolve(response);
      this._flush();
    } else if (text !== undefined) {
      message.text = (message.text ?? "") + text;
      message.onText?.(message.text);
    } else if (progress !== undefined) {
      message.onProgress?.(progress);
    }
  }

  /**
   * Give messages up.
   *
   * @param {Error} error
   * @param {(message: Message) => boolean} [which] all by default
   */
  fail(error, which = () => true) {
    const failed = this._messages.filter(which);
    this._messages = this._messages.filter((message) => !failed.includes(message));
    for (const { reject } of failed) reject(error);
  }

  _flush() {
    for (const message of this._messages.slice(0, this._window)) {
      if (this._send === null) return;
      if (message.carried) continue;
      const frame = this._dialect.request(message);
      Object.assign(message, { carried: true, sent: true, again: true }); // before it is sent, which may end the connection
      this._send(frame);
    }
  }

  /** @param {Message} message */
  _takeBack(message) {
    if (!this._messages.includes(message)) return;
    if (message.carried && this.names) {
      this._send?.(this._dialect.cancel(message.id)); // its response says what happened
      return;
    }
    message.reject(message.signal?.reason);
    if (!message.carried) this._messages.splice(this._messages.indexOf(message), 1);
  }
}
