/**
 * The line that says how the connection is.
 *
 * @module
 */

import { State } from "./chat-client.js";
import { reason, strings } from "./strings.js";
import { $ } from "./view.js";

/**
 * The line above the message field. Screen readers are told the words, and not the seconds that change all the time.
 * While it is occupied, changes of the connection wait.
 */
export class StatusLine {
  constructor() {
    /** @type {import("./chat-client.js").Change} */
    this._change = { state: State.IDLE };
    this._busy = false;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this._clock = undefined;
  }

  /** Tell a change of the connection. @param {import("./chat-client.js").Change} change */
  tell(change) {
    this._change = change;
    if (!this._busy) this._show();
  }

  /** Say something until the connection changes. @param {string} words */
  say(words) {
    this._say(words);
  }

  /** Say something, with the seconds since then, until `release`. @param {string} words */
  occupy(words) {
    this._busy = true;
    this._say(words, 0, 1, strings.seconds);
  }

  /** Tell of the connection again. */
  release() {
    this._busy = false;
    this._show();
  }

  _show() {
    const { state, code, detail, place, waited, left, seconds = 0 } = this._change;
    $("retry").hidden = state !== State.WAITING && state !== State.DENIED;
    const queue = place ? `${reason(code, detail)} ${strings.queue(place)}` : undefined;
    switch (state) {
      case State.WAITING:
        this._say(queue ?? reason(code, detail), Math.ceil(seconds), -1, strings.nextAttempt);
        break;
      case State.DENIED:
        this._say(reason(code, detail));
        break;
      case State.OPEN:
        this._say(strings.open);
        break;
      case State.CONNECTING:
        if (queue === undefined) this._say(strings.connecting);
        else if (left !== undefined) this._say(queue, left, -1, strings.secondsLeft);
        else this._say(queue, Math.round(waited ?? 0), 1, strings.seconds);
        break;
      default:
        this._say(strings.idle);
    }
  }

  /**
   * @param {string} words
   * @param {number} [count] of seconds
   * @param {1 | -1} [step]
   * @param {(seconds: number) => string} [spell]
   */
  _say(words, count = 0, step = 1, spell = () => "") {
    clearInterval(this._clock);
    if ($("status-text").textContent !== words) $("status-text").textContent = words;
    const show = () => ($("status-time").textContent = count > 0 ? spell(count) : "");
    show();
    this._clock = setInterval(() => {
      count = Math.max(0, count + step);
      show();
    }, 1000);
  }
}
