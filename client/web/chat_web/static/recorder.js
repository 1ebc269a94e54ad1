/**
 * Recording a voice note with the microphone of the browser.
 *
 * @module
 */

const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

/** A recording that is under way. `startRecording` makes one. */
class Recording {
  /** @param {MediaStream} stream */
  constructor(stream) {
    this._stream = stream;
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    this._recorder = new MediaRecorder(stream, mimeType ? { mimeType } : {});
    /** @type {Blob[]} */
    this._chunks = [];
    this._recorder.addEventListener("dataavailable", ({ data }) => this._chunks.push(data));
    this._recorder.start();
  }

  /** End it, and return what was recorded. @returns {Promise<Blob>} */
  stop() {
    return new Promise((resolve) => {
      this._recorder.addEventListener("stop", () => resolve(new Blob(this._chunks, { type: this._recorder.mimeType })));
      this._end();
    });
  }

  /** End it, and throw it away. */
  discard() {
    this._end();
  }

  _end() {
    this._recorder.stop();
    for (const track of this._stream.getTracks()) track.stop();
  }
}

/** Ask for the microphone and begin. @throws {DOMException} it can't be used */
export async function startRecording() {
  return new Recording(await navigator.mediaDevices.getUserMedia({ audio: true }));
}
