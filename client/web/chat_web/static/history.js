/**
 * What was said before, read from the history service.
 *
 * @module
 */

/** The history service refused a request, or can't be reached. */
export class HistoryError extends Error {
  /** @param {number} status @param {string} code @param {string} detail */
  constructor(status, code, detail) {
    super(detail || code || `history answered ${status}`);
    this.name = "HistoryError";
    this.status = status;
    this.code = code;
  }
}

/**
 * @typedef {object} StoredMessage
 * @property {string} id
 * @property {string} session_id
 * @property {"request" | "reply"} direction
 * @property {string} kind
 * @property {string | null} text
 * @property {string} outcome
 * @property {string} sent_at
 * @property {Record<string, {href: string}>} media
 */

/** @typedef {{id: string, title: string | null, started_at: string}} StoredSession */

/** A client of the history service. */
export class History {
  /**
   * @param {string} address of the service, without `/v1`
   * @param {{clientId: string, token?: () => string | undefined | Promise<string | undefined>}} options
   */
  constructor(address, { clientId, token = () => undefined }) {
    this.address = address.replace(/\/+$/, "").replace(/\/v1$/, "");
    this._client = encodeURIComponent(clientId);
    this._token = token;
  }

  /**
   * One page of sessions, latest first.
   *
   * @param {string} [cursor]
   * @returns {Promise<{sessions: StoredSession[], next?: string | null}>}
   */
  sessions(cursor) {
    return this._get(`/v1/clients/${this._client}/sessions`, { limit: 30, cursor });
  }

  /**
   * One page of the newest messages of a session, or of those before a cursor.
   *
   * @param {string} session
   * @param {string} [before]
   * @returns {Promise<{messages: StoredMessage[], before?: string | null}>}
   */
  messages(session, before) {
    return this._get(`/v1/sessions/${encodeURIComponent(session)}/messages`, { limit: 50, before });
  }

  /**
   * One page of the messages with all of these words, newest first.
   *
   * @param {string} words
   * @param {string} [cursor]
   * @returns {Promise<{messages: StoredMessage[], next?: string | null}>}
   */
  search(words, cursor) {
    return this._get(`/v1/clients/${this._client}/search`, { q: words, limit: 30, cursor });
  }

  /** An address of a media part that a player can open for a while. @param {{href: string}} media */
  async mediaAddress(media) {
    const { href } = await this._request(`${media.href}/address`, { method: "POST" });
    return new URL(href, this.address).href;
  }

  /**
   * @param {string} path
   * @param {Record<string, unknown>} parameters
   */
  _get(path, parameters) {
    const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
    const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    return this._request(`${path}?${query}`, {});
  }

  /**
   * @param {string} path
   * @param {RequestInit} options
   */
  async _request(path, options) {
    const token = await this._token();
    /** @type {Record<string, string>} */
    const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
    let answer;
    try {
      answer = await fetch(this.address + path, { ...options, headers, cache: "no-store" });
    } catch {
      throw new HistoryError(0, "unreachable", "history can't be reached");
    }
    const body = await answer.json().catch(() => undefined);
    // An answer that broke off is no answer: a server that ends has sent the head already.
    if (body === undefined && answer.ok) throw new HistoryError(0, "unreachable", "history can't be reached");
    if (!answer.ok) throw new HistoryError(answer.status, String(body?.code ?? ""), String(body?.detail ?? ""));
    return body;
  }
}
