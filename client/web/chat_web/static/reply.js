/**
 * A reply that is on the way: what happens to it, its text while it grows, and the button that stops it.
 *
 * @module
 */

import { markdown } from "./markdown.js";
import { strings } from "./strings.js";
import { button, element, keepingPlace } from "./view.js";

/** A reply without its end. */
export class GrowingReply {
  /** @param {() => void} stop */
  constructor(stop) {
    this.text = "";
    this._drawing = false;
    this._sending = false;
    this._body = element("div", { class: "body", dir: "auto" });
    this._words = element("span", {});
    this._stop = button(strings.stop, () => {
      this._stop.setAttribute("disabled", "");
      stop();
    });
    const dots = element("span", { class: "dots", "aria-hidden": "true" });
    const note = element("p", { class: "progress" }, dots, " ", this._words, " ", this._stop);
    /** The item of the list. */
    this.item = element("li", { class: "reply growing" }, this._body, note);
    this.show(false, false);
  }

  /**
   * Show whether the message can be with the server, and can be stopped.
   *
   * @param {boolean} connected
   * @param {boolean} stoppable
   */
  show(connected, stoppable) {
    this._words.textContent = connected ? strings.working : strings.unsent;
    this._stop.hidden = !stoppable;
  }

  /** All of the message has left this browser. */
  sent() {
    if (this._sending) this._words.textContent = strings.working;
    this._sending = false;
  }

  /** @param {number} progress one of Progress */
  tell(progress) {
    this._sending = false;
    this._words.textContent = strings.progress[progress] ?? strings.working;
  }

  /** @param {number} share of the message that has left this browser, below 1 */
  sending(share) {
    this._sending = true;
    this._words.textContent = strings.sending(Math.floor(100 * share));
  }

  /** Show the text so far, once for each picture that the screen draws. @param {string} text */
  grow(text) {
    this.text = text;
    if (this._drawing) return;
    this._drawing = true;
    requestAnimationFrame(() => {
      this._drawing = false;
      if (this.item.isConnected) keepingPlace(() => this._body.replaceChildren(...markdown(this.text)));
    });
  }
}
