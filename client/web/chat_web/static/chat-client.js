/**
 * A conversation with the chatbot that survives broken connections.
 *
 * It connects again by the close code or the denial, with back-off and jitter. Messages are answered in the order in
 * which they were sent. Where the server speaks chatbot.v2, what is unanswered is sent again after a reconnect, and
 * answered once.
 *
 * @module
 */

import { CONNECT_PATH, Parameter, Reconnect, reconnectAfter } from "./connection.js";
import { SUBPROTOCOLS } from "./dialect.js";
import { ConnectionLost, Denied } from "./errors.js";
import { RequestKind, encodeRequest } from "./frameproto.js";
import { mayPass, preflight, wantsToken, watchQueue } from "./preflight.js";
import { Unanswered } from "./unanswered.js";
import { randomUuid } from "./uuid.js";

export { ConnectionLost, Denied } from "./errors.js";

/** What a client is doing. */
export const State = Object.freeze({
  IDLE: "idle", // not connected, and nothing to send
  CONNECTING: "connecting",
  OPEN: "open",
  WAITING: "waiting", // before the next attempt
  DENIED: "denied", // for good: the application must change something
  CLOSED: "closed", // by close()
});

const FIRST_PAUSE_SECONDS = 0.5;
const LONGEST_PAUSE_SECONDS = 30;
const DEFAULT_WINDOW = 10;

/**
 * @typedef {object} Change
 * @property {string} state one of State
 * @property {string | number} [code] of the close or the denial before it
 * @property {string} [detail]
 * @property {number} [place] in the queue, 1 is the next
 * @property {number} [waited] seconds in the queue so far
 * @property {number} [left] seconds for which the server lets nobody in, after the store of its limits was emptied
 * @property {number} [seconds] until the next attempt begins
 */

/**
 * @typedef {object} Options
 * @property {string} url `wss://host`, `https://host`, or the same without TLS
 * @property {string} clientId
 * @property {string} [timeZone] the zone of the browser by default
 * @property {string} [sessionId] a UUID; a new session by default
 * @property {number} [window] how many messages may be on the way: 10, or what the server says of itself
 * @property {(fresh: boolean) => string | undefined | Promise<string | undefined>} [token] gives the token; `fresh`: the
 *   last one was refused or has expired
 * @property {(change: Change) => void} [onState] told of every change, and of the place in the queue
 * @property {typeof globalThis.WebSocket} [WebSocket] the constructor to use where there is no global one
 * @property {typeof globalThis.fetch} [fetch]
 */

/** A conversation. */
export class ChatClient {
  /** @param {Options} options */
  constructor(options) {
    this.clientId = options.clientId;
    this.timeZone = options.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    this.sessionId = options.sessionId ?? randomUuid();
    /** @type {string} one of State */
    this.state = State.IDLE;
    this._base = baseOf(options.url);
    this._token = options.token ?? (() => undefined);
    this._onState = options.onState ?? (() => {});
    this._WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this._fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    this._unanswered = new Unanswered(options.window ?? DEFAULT_WINDOW);
    /** @type {WebSocket | null} */
    this._socket = null;
    this._failures = 0;
    this._freshToken = false;
    this._waitId = ""; // names the place in the queue, from the first attempt until a connection is open
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._timer = undefined;
  }

  /** Whether messages can be taken back. It is known once a connection was open: chatbot.v1 has no way to. */
  get cancels() {
    return this._unanswered.names;
  }

  /** How many bytes of messages wait in this browser to be sent. */
  get unsentBytes() {
    return this._socket?.bufferedAmount ?? 0;
  }

  /** Connect, if this client is not connected yet. It stays connected until `close`. */
  connect() {
    if (this.state === State.IDLE || this.state === State.DENIED || this.state === State.WAITING) {
      clearTimeout(this._timer);
      this._open();
    }
  }

  /**
   * Send a message and return its response, which may be an error response.
   *
   * @param {Uint8Array | string} body a string is a text
   * @param {number} [kind] one of RequestKind
   * @param {import("./unanswered.js").AskOptions} [options]
   * @returns {Promise<import("./frameproto.js").Response>}
   * @throws {ConnectionLost} the connection ended after the message was sent, and it can't be sent again
   * @throws {Denied} the server refuses this client
   * @throws {DOMException} `AbortError`: it was taken back, and there is no response
   */
  ask(body, kind = RequestKind.TEXT, options = {}) {
    if (this.state === State.CLOSED) return Promise.reject(new ConnectionLost(1000));
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    return new Promise((resolve, reject) => {
      encodeRequest(kind, body); // what is no message fails here, and not when it is sent
      const { id = randomUuid(), again = false } = options;
      this._unanswered.add({ ...options, id, again, kind, body, resolve, reject });
      this.connect();
    });
  }

  /** End the conversation. Messages without an answer fail. */
  close() {
    clearTimeout(this._timer);
    const socket = this._socket;
    this._socket = null;
    this._change(State.CLOSED);
    this._unanswered.fail(new ConnectionLost(1000));
    socket?.close(1000);
  }

  async _open() {
    this._change(State.CONNECTING);
    let token;
    try {
      token = await this._token(this._freshToken);
    } catch (error) {
      this._again({ code: "token_unavailable", detail: String(error) });
      return;
    }
    if (this.state !== State.CONNECTING) return;
    this._freshToken = false;
    this._waitId ||= randomUuid();
    const protocols = token === undefined ? [...SUBPROTOCOLS] : [...SUBPROTOCOLS, `bearer.${token}`];
    const socket = new this._WebSocket(`${this._base.replace(/^http/, "ws")}${this._query()}`, protocols);
    this._socket = socket;
    this._listen(socket, token);
  }

  /**
   * @param {WebSocket} socket
   * @param {string | undefined} token
   */
  _listen(socket, token) {
    socket.binaryType = "arraybuffer";
    let opened = false;
    const ask = () => this._preflight(token);
    const endWatch = watchQueue(ask, ({ code, place, waited, left }) =>
      this._change(State.CONNECTING, { code, place, waited, left }),
    );
    socket.addEventListener("open", () => {
      endWatch();
      if (socket !== this._socket) return;
      opened = true;
      this._waitId = "";
      this._change(State.OPEN);
      this._unanswered.opened(socket.protocol, (frame) => socket.send(/** @type {Uint8Array<ArrayBuffer>} */ (frame)));
    });
    socket.addEventListener("message", (event) => {
      if (socket === this._socket) this._receive(event.data);
    });
    socket.addEventListener("close", (event) => {
      endWatch();
      if (socket !== this._socket) return;
      this._socket = null;
      if (opened) this._lost(event.code);
      else this._refused(token);
    });
  }

  /** @param {ArrayBuffer | string} data */
  _receive(data) {
    let read;
    try {
      if (typeof data === "string") throw new TypeError("a server sends bytes");
      read = this._unanswered.read(new Uint8Array(data));
    } catch {
      const socket = this._socket;
      this._socket = null;
      socket?.close(4000);
      this._lost(1002);
      return;
    }
    this._failures = 0;
    if (read.message !== undefined) this._unanswered.tell(read.message, read.heard);
  }

  /** @param {number} code */
  _lost(code) {
    this._unanswered.lost(code);
    switch (reconnectAfter(code)) {
      case Reconnect.NEVER:
        this._end(new Denied({ status: 0, code: String(code), detail: `the server closed the connection (${code})` }));
        break;
      case Reconnect.FRESH_TOKEN:
        this._freshToken = true;
        this._again({ code, seconds: 0 });
        break;
      case Reconnect.AT_ONCE:
        this._again({ code, seconds: Math.random() });
        break;
      case Reconnect.WHEN_READY:
        if (this._unanswered.size > 0) this._again({ code });
        else this._change(State.IDLE, { code });
        break;
      default:
        this._again({ code });
    }
  }

  /** Find out why a handshake failed, and act on it. @param {string | undefined} token */
  async _refused(token) {
    const problem = await this._preflight(token);
    if (this.state !== State.CONNECTING) return;
    if (wantsToken(problem) && this._failures === 0) {
      this._freshToken = true;
      this._again({ ...problem, seconds: 0 });
    } else if (mayPass(problem)) {
      this._again(problem);
    } else {
      this._end(new Denied(problem));
    }
  }

  /**
   * Try again after a pause. Without `seconds`, the pause doubles with each failure, and is cut short by chance.
   *
   * @param {Omit<Change, "state">} why
   */
  _again({ seconds, ...why }) {
    const longest = Math.min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** this._failures);
    const pause = seconds === undefined ? longest * (0.5 + Math.random() / 2) : seconds * (1 + Math.random() / 4);
    this._failures += 1;
    this._change(State.WAITING, { ...why, seconds: pause });
    this._timer = setTimeout(() => this._open(), pause * 1000);
  }

  /** @param {Denied} error */
  _end(error) {
    this._change(State.DENIED, { code: error.code, detail: error.message });
    this._unanswered.fail(error);
  }

  /**
   * @param {string} state
   * @param {Omit<Change, "state">} [more]
   */
  _change(state, more = {}) {
    this.state = state;
    this._onState({ state, ...more });
  }

  /** @param {string | undefined} token */
  _preflight(token) {
    return preflight(this._fetch, `${this._base}${this._query()}`, token);
  }

  _query() {
    const query = new URLSearchParams({
      [Parameter.CLIENT_ID]: this.clientId,
      [Parameter.TIME_ZONE]: this.timeZone,
      [Parameter.SESSION_ID]: this.sessionId,
      [Parameter.WAIT_ID]: this._waitId,
    });
    return `${CONNECT_PATH}?${query}`;
  }
}

/** @param {string} url */
function baseOf(url) {
  const { protocol, host, pathname } = new URL(url);
  const schemes = new Map([["ws:", "http:"], ["wss:", "https:"], ["http:", "http:"], ["https:", "https:"]]);
  const scheme = schemes.get(protocol);
  if (scheme === undefined) throw new TypeError(`${url} is not the address of a chatbot`);
  return `${scheme}//${host}${pathname.replace(/\/+$/, "").replace(new RegExp(`${CONNECT_PATH}$`), "")}`;
}
