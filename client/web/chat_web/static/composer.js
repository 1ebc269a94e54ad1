/**
 * What the reader sends: a text, a file, or a recording.
 *
 * @module
 */

import { RequestKind } from "./frameproto.js";
import { startRecording } from "./recorder.js";
import { strings } from "./strings.js";
import { $, button, element } from "./view.js";

const MIB = 1024 * 1024;
const TALLEST_PIXELS = 144;
const ENVELOPE_BYTES = 18; // of a frame of chatbot.v2, and the kind

/** The message field and its buttons. */
export class Composer {
  /**
   * @param {{maxFrameBytes: number, maxTextBytes: number}} limits
   * @param {import("./status.js").StatusLine} status
   * @param {(kind: number, body: string | Uint8Array, blob?: Blob) => void} send
   */
  constructor(limits, status, send) {
    this._limits = limits;
    this._status = status;
    this._send = send;
    this._text = /** @type {HTMLTextAreaElement} */ ($("text"));
    this._file = /** @type {HTMLInputElement} */ ($("file"));
    /** @type {Awaited<ReturnType<typeof startRecording>> | null} */
    this._recording = null;
    this._listen();
  }

  _listen() {
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this._sendText();
    });
    this._text.addEventListener("input", () => this._fit());
    this._text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this._sendText();
    });
    $("attach").addEventListener("click", () => this._file.click());
    this._file.addEventListener("change", () => this._choose(this._file.files?.[0]));
    $("record").addEventListener("click", () => this._record());
    $("discard").addEventListener("click", () => {
      this._recording?.discard();
      this._showRecording(null);
    });
  }

  _sendText() {
    const text = this._text.value;
    if (text.trim() === "") return;
    if (new TextEncoder().encode(text).length > this._limits.maxTextBytes) {
      this._status.say(strings.tooLong(this._limits.maxTextBytes));
      return;
    }
    this._text.value = "";
    this._fit();
    this._send(RequestKind.TEXT, text);
  }

  /** @param {Blob} blob */
  async _sendBlob(blob) {
    if (blob.size + ENVELOPE_BYTES > this._limits.maxFrameBytes) {
      this._status.say(strings.tooLarge(`${Math.floor(this._limits.maxFrameBytes / MIB)} MiB`));
      return;
    }
    const kind = blob.type.startsWith("video/") ? RequestKind.VIDEO : RequestKind.VOICE;
    this._send(kind, new Uint8Array(await blob.arrayBuffer()), blob);
  }

  /** Show a file before it is sent. @param {File} [file] */
  _choose(file) {
    this._discard();
    if (file === undefined) return;
    if (!/^(audio|video)\//.test(file.type)) {
      this._status.say(strings.wrongFile);
      return;
    }
    const name = file.type.startsWith("video/") ? "video" : "audio";
    const player = element(name, { controls: "", "aria-label": file.name, src: URL.createObjectURL(file) });
    const sendFile = () => {
      this._discard();
      this._text.focus();
      this._sendBlob(file);
    };
    const send = button(strings.sendFile, sendFile, { id: "send-file" });
    const discard = button(strings.discardFile, () => this._discard(), { class: "plain" });
    $("preview").replaceChildren(element("div", {}, player, send, " ", discard));
    $("preview").hidden = false;
    send.focus();
  }

  _discard() {
    $("preview").hidden = true;
    $("preview").replaceChildren();
    this._file.value = "";
  }

  async _record() {
    const done = this._recording;
    if (done !== null) {
      this._showRecording(null);
      await this._sendBlob(await done.stop());
      return;
    }
    try {
      this._showRecording(await startRecording());
    } catch {
      this._status.say(strings.noMicrophone);
    }
  }

  /** @param {Awaited<ReturnType<typeof startRecording>> | null} now */
  _showRecording(now) {
    this._recording = now;
    const label = now ? strings.stopRecording : strings.record;
    $("record").classList.toggle("recording", now !== null);
    $("record").setAttribute("aria-label", label);
    $("record").title = label;
    $("discard").hidden = now === null;
    if (now === null) this._status.release();
    else this._status.occupy(strings.recording);
  }

  /** Make the field as high as its text. */
  _fit() {
    this._text.style.height = "auto";
    this._text.style.height = `${Math.min(this._text.scrollHeight + 2, TALLEST_PIXELS)}px`;
  }
}
