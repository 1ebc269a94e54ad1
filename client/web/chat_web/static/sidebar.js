/**
 * The sidebar: earlier conversations, and the search in them.
 *
 * @module
 */

import { reason, strings } from "./strings.js";
import { $, button, clock, element } from "./view.js";

/** The list of conversations. */
export class Sidebar {
  /** @param {{open: (sessionId?: string) => void}} options called when the reader chooses a conversation, or a new one */
  constructor({ open }) {
    this._open = open;
    /** @type {import("./history.js").History | undefined} */
    this._history = undefined;
    this._current = "";
    /** @type {string | undefined} The cursor of the conversations behind those that are shown. */
    this._next = undefined;
    $("menu").addEventListener("click", () => this._showMenu(!$("sidebar").classList.contains("shown")));
    $("new-session").addEventListener("click", () => this._choose());
    $("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this._search();
    });
    $("search").addEventListener("search", () => this._search());
    $("sidebar").addEventListener("scroll", () => this._showMore());
  }

  /**
   * Show the conversations of a client.
   *
   * @param {import("./history.js").History} history
   * @param {string} current the id of the conversation that is open
   */
  show(history, current) {
    this._history = history;
    this._current = current;
    return this.refresh();
  }

  /** Read the conversations anew. */
  refresh() {
    return this._showSessions();
  }

  /**
   * Return what history answers. A failure is told here, and the conversation goes on without it.
   *
   * @template Found
   * @param {() => Promise<Found>} ask
   * @returns {Promise<Found | undefined>}
   */
  async quietly(ask) {
    try {
      return await ask();
    } catch (error) {
      const { status, code, message } = Object(error);
      if (status !== 404) $("sessions-note").textContent = reason(code, message);
      return undefined;
    }
  }

  /** @param {string} [cursor] */
  async _showSessions(cursor) {
    const page = await this.quietly(async () => this._history?.sessions(cursor));
    if (page === undefined) return;
    const items = page.sessions.map(({ id, title, started_at: at }) => this._item(id, title ?? strings.noTitle(clock(at))));
    if (cursor === undefined) $("sessions").replaceChildren(...items);
    else $("sessions").append(...items);
    this._next = page.next ?? undefined;
    $("sessions-note").textContent = $("sessions").children.length === 0 ? strings.noSessions : "";
  }

  _showMore() {
    const left = $("sidebar").scrollHeight - $("sidebar").scrollTop - $("sidebar").clientHeight;
    const next = this._next;
    if (left >= 80 || next === undefined) return;
    this._next = undefined;
    this._showSessions(next);
  }

  async _search() {
    const words = /** @type {HTMLInputElement} */ ($("search")).value;
    if (words.trim() === "") {
      await this.refresh();
      return;
    }
    const page = await this.quietly(async () => this._history?.search(words));
    if (page === undefined) return;
    this._next = undefined;
    $("sessions").replaceChildren(...page.messages.map((found) => this._item(found.session_id, found.text ?? found.kind)));
    $("sessions-note").textContent = page.messages.length === 0 ? strings.nothingFound : "";
  }

  /**
   * @param {string} id
   * @param {string} title
   */
  _item(id, title) {
    const made = button(title, () => this._choose(id), { dir: "auto" });
    if (id === this._current) made.setAttribute("aria-current", "true");
    return element("li", {}, made);
  }

  /** @param {string} [sessionId] */
  _choose(sessionId) {
    this._showMenu(false);
    this._open(sessionId);
  }

  /** @param {boolean} shown */
  _showMenu(shown) {
    $("sidebar").classList.toggle("shown", shown);
    $("menu").setAttribute("aria-expanded", String(shown));
    $("menu").setAttribute("aria-label", shown ? strings.closeMenu : strings.menu);
  }
}
