/**
 * What this browser remembers: who the reader is, and for this tab the conversation and the token.
 *
 * @module
 */

import { randomUuid } from "./uuid.js";

/** A storage in memory, where the browser denies its own to a frame of another site. */
class Forgetful {
  constructor() {
    /** @type {Map<string, string>} */
    this._kept = new Map();
  }

  /** @param {string} name */
  getItem(name) {
    return this._kept.get(name) ?? null;
  }

  /** @param {string} name @param {string} value */
  setItem(name, value) {
    this._kept.set(name, value);
  }

  /** @param {string} name */
  removeItem(name) {
    this._kept.delete(name);
  }
}

/** @param {"localStorage" | "sessionStorage"} name */
function storage(name) {
  try {
    globalThis[name].getItem("clientId");
    return globalThis[name];
  } catch {
    return new Forgetful();
  }
}

/**
 * @typedef {object} Given what the address or the page around this one says
 * @property {string} [clientId]
 * @property {string} [timeZone]
 * @property {(fresh: boolean) => string | undefined | Promise<string | undefined>} [token]
 */

/** What is remembered. What was given counts more, and is not stored. */
export class Memory {
  /** @param {Given} given */
  constructor(given) {
    this._given = given;
    this._browser = storage("localStorage");
    this._tab = storage("sessionStorage");
  }

  get clientId() {
    if (this._given.clientId) return this._given.clientId;
    const known = this._browser.getItem("clientId") ?? `web-${randomUuid().slice(0, 8)}`;
    this._browser.setItem("clientId", known);
    return known;
  }

  set clientId(value) {
    this._given.clientId = undefined;
    this._browser.setItem("clientId", value);
  }

  get timeZone() {
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    return this._given.timeZone ?? this._browser.getItem("timeZone") ?? own;
  }

  set timeZone(value) {
    this._given.timeZone = undefined;
    this._browser.setItem("timeZone", value);
  }

  /** The token that the reader entered. */
  get token() {
    return this._tab.getItem("token") ?? "";
  }

  set token(value) {
    if (value) this._tab.setItem("token", value);
    else this._tab.removeItem("token");
  }

  get sessionId() {
    return this._tab.getItem("sessionId") ?? undefined;
  }

  set sessionId(value) {
    if (value) this._tab.setItem("sessionId", value);
  }

  /** Return the token to use. @param {boolean} [fresh] the last one was refused */
  currentToken(fresh = false) {
    if (this._given.token && !this.token) return this._given.token(fresh);
    return this.token || undefined;
  }
}
