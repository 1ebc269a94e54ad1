/**
 * The messages of a conversation: those that are said now, and earlier ones from history.
 *
 * @module
 */

import { ConnectionLost, State } from "./chat-client.js";
import { RequestKind, ResponseKind, errorOf } from "./frameproto.js";
import { GrowingReply } from "./reply.js";
import { strings } from "./strings.js";
import { randomUuid } from "./uuid.js";
import { $, addMedia, announce, keepingPlace, markFailed, messageItem, scrollToEnd } from "./view.js";

const SENDING_MS = 250;
const CANCELLED = "cancelled"; // the code of the error that answers what was taken back

/**
 * @typedef {object} Said
 * @property {HTMLElement} item
 * @property {number} kind one of RequestKind
 * @property {string | Uint8Array} body
 * @property {string} id
 * @property {boolean} again it was sent before
 */

/** The messages of one conversation, in the list of the page. */
export class Conversation {
  /**
   * @param {import("./chat-client.js").ChatClient} client
   * @param {import("./history.js").History} history
   * @param {{quietly: <Found>(ask: () => Promise<Found>) => Promise<Found | undefined>, onAnswer: () => void}} options
   *   `quietly` tells a failure of history elsewhere
   */
  constructor(client, history, { quietly, onAnswer }) {
    this.client = client;
    this._history = history;
    this._quietly = quietly;
    this._onAnswer = onAnswer;
    /** @type {string | null} The cursor of the messages before those that are shown. */
    this._older = null;
    this._ended = false;
    /** The replies on the way, oldest first. @type {Map<GrowingReply, AbortController>} */
    this._growing = new Map();
    $("list").replaceChildren();
    $("older").hidden = true;
  }

  /** End it: its answers are shown no more. */
  end() {
    this._ended = true;
    this.client.close();
  }

  /** Show what the state of the connection means for the replies on the way. */
  showConnection() {
    const connected = this.client.state === State.OPEN;
    for (const reply of this._growing.keys()) reply.show(connected, !connected || this.client.cancels);
  }

  /** Stop the newest reply that is on the way. @returns {boolean} there was one */
  stopNewest() {
    const newest = [...this._growing.values()].at(-1);
    if (newest === undefined || (this.client.state === State.OPEN && !this.client.cancels)) return false;
    newest.abort();
    return true;
  }

  /**
   * Send a message and show its reply.
   *
   * @param {number} kind one of RequestKind
   * @param {string | Uint8Array} body
   * @param {Blob} [blob] the file, to show it
   */
  async say(kind, body, blob) {
    const name = kind === RequestKind.VIDEO ? "video" : kind === RequestKind.VOICE ? "voice" : "text";
    const text = typeof body === "string" ? body : null;
    const item = messageItem({ direction: "request", kind: name, text, at: new Date() });
    if (blob) addMedia(item, name === "video" ? "video" : "voice", URL.createObjectURL(blob));
    $("list").append(item);
    await this._answer({ item, kind, body, id: randomUuid(), again: false });
  }

  /** @param {Said} said */
  async _answer(said) {
    const taking = new AbortController();
    const reply = new GrowingReply(() => taking.abort());
    this._growing.set(reply, taking);
    said.item.after(reply.item);
    scrollToEnd();
    this.showConnection();
    const endWatch = this._watchSending(reply, said.body.length);
    const { id, again } = said;
    try {
      const response = await this.client.ask(said.body, said.kind, {
        id,
        again,
        signal: taking.signal,
        onText: (text) => reply.grow(text),
        onProgress: (progress) => reply.tell(progress),
      });
      if (!this._ended) keepingPlace(() => this._showResponse(reply, response));
      this._onAnswer();
    } catch (error) {
      const why = taking.signal.aborted ? strings.takenBack : error instanceof ConnectionLost ? strings.notSent : String(Object(error).message);
      reply.item.remove();
      markFailed(said.item, why, () => this._answer({ ...said, again: !taking.signal.aborted }));
    } finally {
      endWatch();
      this._growing.delete(reply);
    }
  }

  /**
   * Show how much of a message has left this browser, until all of it has.
   *
   * @param {GrowingReply} reply
   * @param {number} size
   * @returns {() => void} ends it
   */
  _watchSending(reply, size) {
    const timer = setInterval(() => {
      const unsent = this.client.unsentBytes;
      if (this.client.state === State.OPEN && unsent > 0) reply.sending(1 - Math.min(unsent, size) / size);
      else reply.sent();
    }, SENDING_MS);
    return () => clearInterval(timer);
  }

  /**
   * @param {GrowingReply} reply
   * @param {import("./frameproto.js").Response} response
   */
  _showResponse(reply, response) {
    const error = response.kind === ResponseKind.ERROR ? errorOf(response) : undefined;
    const stopped = error?.code === CANCELLED;
    const text = error === undefined ? response.text : [stopped ? reply.text : "", stopped ? `*${strings.stopped}*` : error.message];
    const words = typeof text === "string" ? text : text.filter(Boolean).join("\n\n");
    const kind = error !== undefined && !stopped ? "error" : "text";
    const item = messageItem({ direction: "reply", kind, text: words, at: new Date() });
    if (response.voice.length) addMedia(item, "voice", blobAddress(response.voice, "audio/mpeg"));
    if (response.image.length) addMedia(item, "image", blobAddress(response.image, "image/jpeg"));
    reply.item.replaceWith(item);
    announce(`${strings.bot}: ${item.querySelector(".body")?.textContent}`);
  }

  /** Show the newest messages that history has. */
  async showNewest() {
    const page = await this._quietly(() => this._history.messages(this.client.sessionId));
    if (page === undefined || this._ended) return;
    this._prepend(page);
    scrollToEnd();
  }

  /** Show the messages before the first one that is shown. */
  async showOlder() {
    const before = this._older;
    if (before === null || !$("older").hidden) return;
    $("older").textContent = strings.older;
    $("older").hidden = false;
    const page = await this._quietly(() => this._history.messages(this.client.sessionId, before));
    if (this._ended) return;
    $("older").hidden = true;
    if (page === undefined) return;
    const height = $("messages").scrollHeight;
    this._prepend(page);
    $("messages").scrollTop += $("messages").scrollHeight - height;
  }

  /** @param {{messages: import("./history.js").StoredMessage[], before?: string | null}} page */
  _prepend(page) {
    this._older = page.before ?? null;
    $("list").prepend(...page.messages.map((message) => this._storedItem(message)));
    $("older").hidden = this._older !== null || $("list").children.length === 0;
    $("older").textContent = strings.beginning;
  }

  /**
   * Make the list item of a message that history has; its media are fetched when they come into view.
   *
   * @param {import("./history.js").StoredMessage} message
   */
  _storedItem(message) {
    const failed = message.outcome !== "answered" && message.direction === "reply";
    const item = messageItem({ ...message, kind: failed ? "error" : message.kind, at: message.sent_at });
    const parts = Object.entries(message.media);
    if (parts.length === 0) return item;
    const watcher = new IntersectionObserver(async (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      for (const [part, media] of parts) {
        const address = await this._quietly(() => this._history.mediaAddress(media));
        if (address !== undefined) addMedia(item, /** @type {"voice" | "video" | "image"} */ (part), address);
      }
    });
    watcher.observe(item);
    return item;
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {string} type
 */
const blobAddress = (bytes, type) => URL.createObjectURL(new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (bytes)], { type }));
