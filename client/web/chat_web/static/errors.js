/**
 * Why a message has no answer.
 *
 * @module
 */

/** The connection ended before the message was answered. It may have been answered all the same. */
export class ConnectionLost extends Error {
  /** @param {number} code of the close */
  constructor(code) {
    super(`the connection ended (${code}) before the answer came`);
    this.name = "ConnectionLost";
    this.code = code;
  }
}

/** The server refuses this client, and a later attempt would meet the same. */
export class Denied extends Error {
  /** @param {{status: number, code: string, detail: string}} problem */
  constructor({ status, code, detail }) {
    super(detail || code || `the server answered ${status}`);
    this.name = "Denied";
    this.status = status;
    this.code = code;
  }
}
