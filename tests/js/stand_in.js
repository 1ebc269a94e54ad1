// A server of chatbot.v1 and v2 in this process, for the client: sockets without a network, which a test can cut.
import { decodeRequest, encodeResponse, RequestKind, ResponseKind } from "../../client/web/chat_web/static/frameproto.js";
import {
  ClientType,
  Progress,
  ServerType,
  decodeClientFrame,
  encodeServerFrame,
} from "../../client/web/chat_web/static/frameproto-v2.js";

export const V1 = "chatbot.v1";
export const V2 = "chatbot.v2";

const decoder = new TextDecoder();
const textOf = ({ body }) => decoder.decode(body);
const replyTo = (text) => ({ kind: ResponseKind.TEXT, text: `reply to ${text}` });
const fail = (code) => ({ kind: ResponseKind.ERROR, text: `${code}: it failed` });

/** One connection, as the client sees it. */
class Socket extends EventTarget {
  constructor(server, address, protocols) {
    super();
    Object.assign(this, { server, address: new URL(address), offered: protocols, protocol: "", sent: [], alive: true });
    server.sockets.push(this);
    queueMicrotask(() => server.arrived(this));
  }

  /** What the server answers to the handshake. */
  accept(protocol) {
    this.protocol = protocol;
    this.dispatchEvent(new Event("open"));
  }

  send(frame) {
    if (!this.alive) return;
    this.sent.push(Uint8Array.from(frame));
    this.server.received(this, Uint8Array.from(frame));
  }

  /** The client's goodbye. */
  close(code) {
    this.alive = false;
    this.closedWith = code;
  }

  /** The connection ends. */
  end(code) {
    if (!this.alive) return;
    this.alive = false;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }

  deliver(frame) {
    if (this.alive) this.dispatchEvent(Object.assign(new Event("message"), { data: Uint8Array.from(frame).buffer }));
  }
}

/** A server that answers each name of a message once, and remembers its answers. Override what a test wants otherwise. */
export class StandIn {
  /** @param {{protocol?: string, refuse?: () => object | undefined}} [options] `refuse`: a problem, or let it in */
  constructor({ protocol = V2, refuse = () => undefined } = {}) {
    this.protocol = protocol;
    this.refuse = refuse;
    this.sockets = [];
    this.looks = 0;
    this.turns = new Map(); // how often the bot took each text
    const server = this;
    this.WebSocket = class extends Socket {
      constructor(address, protocols) {
        super(server, address, protocols);
      }
    };
    this.fetch = async () => {
      this.looks += 1;
      const problem = this.refuse() ?? { status: 426, code: "upgrade_required" };
      return { status: problem.status, headers: new Headers(problem.headers), json: async () => problem };
    };
    this._answers = new Map();
  }

  get options() {
    return { url: "ws://stand.in", clientId: "anna", WebSocket: this.WebSocket, fetch: this.fetch };
  }

  get last() {
    return this.sockets.at(-1);
  }

  arrived(socket) {
    if (this.refuse()) socket.end(1006);
    else socket.accept(socket.offered.includes(this.protocol) ? this.protocol : "");
  }

  received(socket, frame) {
    if (socket.protocol !== V2) {
      const text = textOf(decodeRequest(frame));
      this._count(text);
      queueMicrotask(() => socket.deliver(encodeResponse(replyTo(text))));
      return;
    }
    const { type, messageId, request } = decodeClientFrame(frame);
    if (type === ClientType.CANCEL) this.cancelled(socket, messageId);
    else this.asked(socket, messageId, textOf(request), type === ClientType.AGAIN);
  }

  /** Answer a message of v2: status, pieces, response. */
  asked(socket, messageId, text) {
    if (!this._answers.has(messageId)) this._count(text);
    this._answers.set(messageId, replyTo(text));
    const response = this._answers.get(messageId);
    queueMicrotask(() => {
      socket.deliver(status(messageId, Progress.THINKING));
      socket.deliver(piece(messageId, response.text.slice(0, 5)));
      socket.deliver(piece(messageId, response.text.slice(5)));
      socket.deliver(response2(messageId, response));
    });
  }

  cancelled(socket, messageId) {
    queueMicrotask(() => socket.deliver(response2(messageId, fail("cancelled"))));
  }

  _count(text) {
    this.turns.set(text, (this.turns.get(text) ?? 0) + 1);
  }
}

export const status = (messageId, progress) => encodeServerFrame({ type: ServerType.STATUS, messageId, progress });
export const piece = (messageId, text) => encodeServerFrame({ type: ServerType.PIECE, messageId, text });
export const response2 = (messageId, response) => encodeServerFrame({ type: ServerType.RESPONSE, messageId, response });
export { RequestKind, decodeClientFrame };
