/**
 * What a handshake meets. A browser can't read why one failed, nor how long one waits. So it asks by a plain GET of the
 * same address, which answers what a handshake would meet, and the place of one that waits.
 *
 * @module
 */

import { TEMPORARY_DENIALS, TOKEN_DENIALS } from "./connection.js";

const FIRST_LOOK_MS = 1000;
const NEXT_LOOK_MS = 2000;
const KEPT_PLACE_SECONDS = 0.5; // a place is kept for a short time only
const MAX_LOOKS = 300; // a handshake that waits longer is not told of any more

/**
 * @typedef {object} Problem
 * @property {number} status of HTTP; 0: there was no answer; 426: a handshake would succeed
 * @property {string} code
 * @property {string} detail
 * @property {number} [place] in the queue, 1 is the next
 * @property {number} [waited] seconds in the queue so far, where this client has a place there
 * @property {number} [left] seconds for which the server lets nobody in, after the store of its limits was emptied
 * @property {number} [seconds] until a new attempt has a chance
 */

/**
 * Ask what a handshake would meet.
 *
 * @param {typeof globalThis.fetch} fetch
 * @param {string} address
 * @param {string} [token]
 * @returns {Promise<Problem>}
 */
export async function preflight(fetch, address, token) {
  try {
    /** @type {Record<string, string>} */
    const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
    const answer = await fetch(address, { headers, cache: "no-store" });
    const body = await answer.json().catch(() => ({}));
    const waited = Number.isFinite(body.waitedSeconds) ? body.waitedSeconds : undefined;
    return {
      status: answer.status,
      code: String(body.code ?? ""),
      detail: String(body.detail ?? body.title ?? ""),
      place: Number.isInteger(body.place) ? body.place : undefined,
      waited,
      left: Number.isInteger(body.seconds) ? body.seconds : undefined,
      seconds: waited === undefined ? Number(answer.headers.get("Retry-After") ?? "") || undefined : KEPT_PLACE_SECONDS,
    };
  } catch {
    return { status: 0, code: "unreachable", detail: "the server can't be reached" };
  }
}

/** Whether a fresh token may end the denial. @param {Problem} problem */
export const wantsToken = ({ code }) => TOKEN_DENIALS.has(code);

/** Whether the same request may succeed later. An answer of a proxy has no code. @param {Problem} problem */
export const mayPass = ({ status, code }) =>
  status === 426 || status === 0 || TEMPORARY_DENIALS.has(code) || (code === "" && status >= 500);

/**
 * Tell the place of a handshake in the queue while it waits.
 *
 * @param {() => Promise<Problem>} ask
 * @param {(problem: Problem) => void} tell
 * @returns {() => void} ends it
 */
export function watchQueue(ask, tell) {
  let left = MAX_LOOKS;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer = setTimeout(look, FIRST_LOOK_MS);
  async function look() {
    const problem = await ask();
    if (timer === undefined) return;
    if (problem.place !== undefined && problem.waited !== undefined) tell(problem);
    left -= 1;
    if (left > 0) timer = setTimeout(look, NEXT_LOOK_MS);
  }
  return () => {
    clearTimeout(timer);
    timer = undefined;
  };
}
