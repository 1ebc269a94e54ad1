/**
 * The constants of a connection: address, parameters, and the close codes with what a client does next.
 *
 * docs/protocol.md explains them; a test compares this table with `frameproto.connection` in Python.
 *
 * @module
 */

export const CONNECT_PATH = "/connect";

/** The names of the address's parameters. */
export const Parameter = Object.freeze({
  CLIENT_ID: "clientId",
  TIME_ZONE: "timeZone",
  SESSION_ID: "sessionId",
  WAIT_ID: "waitId",
});

/** When a client connects again after a close. */
export const Reconnect = Object.freeze({
  NEVER: "never",
  AT_ONCE: "at_once",
  LATER: "later",
  WHEN_READY: "when_ready",
  FRESH_TOKEN: "fresh_token",
});

/** What a client does after each close code. @type {Readonly<Record<number, string>>} */
export const CLOSE_CODES = Object.freeze({
  1000: Reconnect.NEVER,
  1001: Reconnect.LATER,
  1002: Reconnect.NEVER,
  1005: Reconnect.LATER,
  1006: Reconnect.LATER,
  1007: Reconnect.NEVER,
  1009: Reconnect.NEVER,
  1011: Reconnect.LATER,
  1012: Reconnect.AT_ONCE,
  1013: Reconnect.LATER,
  4000: Reconnect.WHEN_READY,
  4001: Reconnect.NEVER,
  4002: Reconnect.WHEN_READY,
  4003: Reconnect.FRESH_TOKEN,
});

/**
 * Return what a client does after a close.
 *
 * @param {number} code
 * @returns {string} one of Reconnect
 */
export const reconnectAfter = (code) => CLOSE_CODES[code] ?? Reconnect.LATER;

/** The codes of denials after which the same request may succeed later. */
export const TEMPORARY_DENIALS = Object.freeze(
  new Set([
    "cluster_full",
    "line_full",
    "client_limit",
    "pod_full",
    "token_keys_unavailable",
    "limits_learning",
    "limits_unavailable",
    "draining",
    "internal",
  ]),
);

/** The codes of denials that a fresh token may end. */
export const TOKEN_DENIALS = Object.freeze(new Set(["token_missing", "token_expired", "token_key_unknown"]));
