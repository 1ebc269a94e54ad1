/**
 * A conversation with the chatbot that survives broken connections.
 *
 * It connects again by the close code or the denial, with back-off and jitter. Messages are answered in the order in
 * which they were sent. A browser can't read why a handshake failed, so the client asks by a plain GET of the same
 * address, which answers what a handshake would meet.
 *
 * @module
 */

import {
  CONNECT_PATH,
  Parameter,
  Reconnect,
  TEMPORARY_DENIALS,
  TOKEN_DENIALS,
  reconnectAfter,
} from "./connection.js";
import { RequestKind, SUBPROTOCOL_V1, decodeResponse, encodeRequest } from "./frameproto.js";

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
const MAX_REPLY_BYTES = 64 * 1024 * 1024;

/** The connection ended before the message was answered. It may have been answered all the same. */
export class ConnectionLost extends Error {
  /** @param {number} code of the close */
  constructor(code) {
    super(`the connection ended (${code}) before the answer came`);
    this.name = "ConnectionLost";
    this.code = code;
  }
}

/** The server refuses this client, and a later attempt would meet the same. */
export class Denied extends Error {
  /** @param {{status: number, code: string, detail: string}} problem */
  constructor({ status, code, detail }) {
    super(detail || code || `the server answered ${status}`);
    this.name = "Denied";
    this.status = status;
    this.code = code;
  }
}

/**
 * @typedef {object} Options
 * @property {string} url `wss://host`, `https://host`, or the same without TLS
 * @property {string} clientId
 * @property {string} [timeZone] the zone of the browser by default
 * @property {string} [sessionId] a UUID; a new session by default
 * @property {(fresh: boolean) => string | undefined | Promise<string | undefined>} [token] gives the token; `fresh`: the
 *   last one was refused or has expired
 * @property {(change: {state: string, code?: string | number, detail?: string, place?: number, seconds?: number}) => void}
 *   [onState] told of every change: why, and in how many seconds the next attempt begins
 * @property {typeof WebSocket} [WebSocket] the constructor to use where there is no global one
 * @property {typeof fetch} [fetch]
 */

/** A conversation. */
export class ChatClient {
  /** @param {Options} options */
  constructor(options) {
    this.clientId = options.clientId;
    this.timeZone = options.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    this.sessionId = options.sessionId ?? crypto.randomUUID();
    this.state = State.IDLE;
    this._base = baseOf(options.url);
    this._token = options.token ?? (() => undefined);
    this._onState = options.onState ?? (() => {});
    this._WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this._fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    /** Messages without an answer, oldest first. @type {{kind: number, frame: Uint8Array, sent: boolean, resolve: Function, reject: Function}[]} */
    this._pending = [];
    this._socket = null;
    this._failures = 0;
    this._freshToken = false;
    this._timer = undefined;
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
   * @returns {Promise<import("./frameproto.js").Response>}
   * @throws {ConnectionLost} the connection ended after the message was sent
   * @throws {Denied} the server refuses this client
   */
  ask(body, kind = RequestKind.TEXT) {
    if (this.state === State.CLOSED) return Promise.reject(new ConnectionLost(1000));
    const frame = encodeRequest(kind, body);
    return new Promise((resolve, reject) => {
      this._pending.push({ kind, frame, sent: false, resolve, reject });
      if (this.state === State.OPEN) this._flush();
      else this.connect();
    });
  }

  /** End the conversation. Messages without an answer fail. */
  close() {
    clearTimeout(this._timer);
    const socket = this._socket;
    this._socket = null;
    this._change(State.CLOSED);
    this._fail(() => true, new ConnectionLost(1000));
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
    const protocols = token === undefined ? [SUBPROTOCOL_V1] : [SUBPROTOCOL_V1, `bearer.${token}`];
    const socket = new this._WebSocket(`${this._base.replace(/^http/, "ws")}${this._query()}`, protocols);
    socket.binaryType = "arraybuffer";
    this._socket = socket;
    let opened = false;
    socket.addEventListener("open", () => {
      if (socket !== this._socket) return;
      opened = true;
      this._failures = 0;
      this._change(State.OPEN);
      this._flush();
    });
    socket.addEventListener("message", (event) => {
      if (socket === this._socket) this._receive(event.data);
    });
    socket.addEventListener("close", (event) => {
      if (socket !== this._socket) return;
      this._socket = null;
      if (opened) this._lost(event.code);
      else this._refused(token);
    });
  }

  _flush() {
    for (const message of this._pending) {
      if (!message.sent) {
        message.sent = true;
        this._socket.send(message.frame);
      }
    }
  }

  _receive(data) {
    const message = this._pending.find(({ sent }) => sent);
    let response;
    try {
      if (typeof data === "string" || message === undefined) throw new Error("nothing was asked");
      response = decodeResponse(new Uint8Array(data), MAX_REPLY_BYTES);
    } catch {
      const socket = this._socket;
      this._socket = null;
      socket.close(4000);
      this._lost(1002);
      return;
    }
    this._pending.splice(this._pending.indexOf(message), 1);
    message.resolve(response);
  }

  _lost(code) {
    this._fail(({ sent }) => sent, new ConnectionLost(code));
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
        if (this._pending.length > 0) this._again({ code, seconds: 0 });
        else this._change(State.IDLE, { code });
        break;
      default:
        this._again({ code });
    }
  }

  /** Find out why a handshake failed, and act on it. */
  async _refused(token) {
    let problem;
    try {
      const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
      const answer = await this._fetch(`${this._base}${this._query()}`, { headers, cache: "no-store" });
      const body = await answer.json().catch(() => ({}));
      problem = {
        status: answer.status,
        code: String(body.code ?? ""),
        detail: String(body.detail ?? body.title ?? ""),
        place: body.place,
        seconds: Number(answer.headers.get("Retry-After") ?? "") || undefined,
      };
    } catch {
      problem = { status: 0, code: "unreachable", detail: "the server can't be reached" };
    }
    if (this.state !== State.CONNECTING) return;
    if (TOKEN_DENIALS.has(problem.code) && this._failures === 0) {
      this._freshToken = true;
      this._again({ ...problem, seconds: 0 });
    } else if (problem.status === 426 || problem.status === 0 || TEMPORARY_DENIALS.has(problem.code)) {
      this._again(problem);
    } else if (problem.code === "" && problem.status >= 500) {
      this._again(problem); // of a proxy
    } else {
      this._end(new Denied(problem));
    }
  }

  /** Try again after a pause. Without `seconds`, the pause doubles with each failure, and is cut short by chance. */
  _again({ code, detail, place, seconds }) {
    const longest = Math.min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** this._failures);
    const pause = seconds === undefined ? longest * (0.5 + Math.random() / 2) : seconds * (1 + Math.random() / 4);
    this._failures += 1;
    this._change(State.WAITING, { code, detail, place, seconds: pause });
    this._timer = setTimeout(() => this._open(), pause * 1000);
  }

  _end(error) {
    this._change(State.DENIED, { code: error.code, detail: error.message });
    this._fail(() => true, error);
  }

  _fail(which, error) {
    const failed = this._pending.filter(which);
    this._pending = this._pending.filter((message) => !failed.includes(message));
    for (const { reject } of failed) reject(error);
  }

  _change(state, more = {}) {
    this.state = state;
    this._onState({ state, ...more });
  }

  _query() {
    const query = new URLSearchParams({
      [Parameter.CLIENT_ID]: this.clientId,
      [Parameter.TIME_ZONE]: this.timeZone,
      [Parameter.SESSION_ID]: this.sessionId,
    });
    return `${CONNECT_PATH}?${query}`;
  }
}

/** @param {string} url */
function baseOf(url) {
  const { protocol, host, pathname } = new URL(url);
  const scheme = { "ws:": "http:", "wss:": "https:", "http:": "http:", "https:": "https:" }[protocol];
  if (scheme === undefined) throw new TypeError(`${url} is not the address of a chatbot`);
  return `${scheme}//${host}${pathname.replace(/\/+$/, "").replace(new RegExp(`${CONNECT_PATH}$`), "")}`;
}
