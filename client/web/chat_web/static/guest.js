/**
 * The page as a widget: what the page around it says, over a channel that widget.js opens.
 *
 * @module
 */

const ANSWER_MS = 10_000;

/** The page around this one, whose widget this is. */
export class Host {
  /**
   * @param {MessagePort} port
   * @param {{clientId?: string, timeZone?: string, hasToken?: boolean}} configuration
   */
  constructor(port, configuration) {
    this._port = port;
    this._configuration = configuration;
    this._questions = 0;
  }

  /** What it says of the reader. @returns {import("./memory.js").Given} */
  get given() {
    const { clientId, timeZone, hasToken } = this._configuration;
    return { clientId, timeZone, token: hasToken ? (fresh) => this._token(fresh) : undefined };
  }

  /** Ask it to hide the widget. */
  hide() {
    this._port.postMessage({ type: "hide" });
  }

  /** @param {boolean} fresh @returns {Promise<string | undefined>} */
  _token(fresh) {
    const id = (this._questions += 1);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the page around this one gave no token")), ANSWER_MS);
      /** @param {MessageEvent} event */
      const listen = ({ data }) => {
        if (data.type !== "token" || data.id !== id) return;
        clearTimeout(timer);
        this._port.removeEventListener("message", listen);
        if (typeof data.token === "string" && data.token !== "") resolve(data.token);
        else reject(new Error("the page around this one gave no token"));
      };
      this._port.addEventListener("message", listen);
      this._port.postMessage({ type: "token", id, fresh });
    });
  }
}

/**
 * Wait for the page around this one. Only pages of allowed origins have this one in a frame: `frame-ancestors` of the
 * policy says which.
 *
 * @returns {Promise<Host>}
 */
export function findHost() {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("there is no page around this one")), ANSWER_MS);
    /** @param {MessageEvent} event */
    const listen = ({ source, data, ports }) => {
      if (source !== window.parent || data?.chatbot !== "configuration" || ports.length !== 1) return;
      clearTimeout(timer);
      window.removeEventListener("message", listen);
      ports[0].start();
      resolve(new Host(ports[0], data.configuration));
    };
    window.addEventListener("message", listen);
    window.parent.postMessage({ chatbot: "ready" }, "*"); // which page it is, this one can't know; it says nothing secret
  });
}
