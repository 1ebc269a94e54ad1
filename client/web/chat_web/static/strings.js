/**
 * Every sentence of the page, by language. A new language is one more object with the same names.
 *
 * @module
 */

const en = {
  title: "Chatbot",
  skip: "Skip to the message field",
  sessions: "Conversations",
  newSession: "New conversation",
  noSessions: "No conversations yet.",
  noTitle: (when) => `Conversation of ${when}`,
  search: "Search",
  searchHint: "Words in your messages",
  nothingFound: "No message has all of these words.",
  settings: "Settings",
  message: "Message",
  messageHint: "Write a message",
  send: "Send",
  record: "Record a voice note",
  stopRecording: "Stop and send the voice note",
  cancelRecording: "Discard the recording",
  recordingFor: (seconds) => `Recording, ${seconds} s`,
  attach: "Send a voice note or a video from a file",
  sendFile: "Send this file",
  discardFile: "Discard",
  menu: "Show conversations",
  closeMenu: "Hide conversations",
  you: "You",
  bot: "Bot",
  voiceNote: "Voice note",
  video: "Video",
  picture: "Picture from the bot",
  working: "The bot is working",
  older: "Loading older messages",
  beginning: "This is the beginning of the conversation.",
  clientId: "Client id",
  clientIdHint: "1 to 64 letters, digits or . _ : -",
  timeZone: "Time zone",
  token: "Token, where the server asks for one",
  save: "Save",
  cancel: "Cancel",
  idle: "Not connected. Your next message connects.",
  connecting: "Connecting",
  queue: (place) => `All slots are taken. You are number ${place} in the queue.`,
  open: "Connected",
  waiting: (why, seconds) => `${why} Next attempt in ${seconds} s.`,
  retry: "Try now",
  lost: "The connection was lost.",
  notSent: "This message may not have been answered.",
  resend: "Send again",
  tooLarge: (limit) => `This file is too large. The server accepts ${limit}.`,
  wrongFile: "Choose a sound or a video file.",
  noMicrophone: "The microphone can't be used. Allow it in your browser, or send a file.",
  reasons: {
    unreachable: "The server can't be reached.",
    cluster_full: "All slots are taken.",
    line_full: "Too many clients are waiting.",
    client_limit: "You have as many open connections as are allowed. Close one of them.",
    pod_full: "This server has no room at the moment.",
    draining: "The server is being replaced.",
    limits_learning: "The server is recovering its limits.",
    limits_unavailable: "The server can't check its limits.",
    client_id_malformed: "The client id is not valid.",
    time_zone_unknown: "The server does not know this time zone.",
    time_zone_not_served: "The server does not serve your time zone.",
    token_missing: "The server asks for a token. Enter one in the settings.",
    token_expired: "The token has expired. Enter a new one in the settings.",
    token_invalid: "The server does not accept this token.",
    client_not_yours: "The token is for another client id.",
    origin_not_allowed: "Pages from here may not connect to this server.",
    1012: "The server is being replaced.",
    1013: "The server can't hold the connection at the moment.",
    4000: "The connection was closed because nothing was said.",
    4003: "The token has expired.",
  },
};

const LANGUAGES = { en };

/** The sentences of the first language of the browser that there is. */
export const strings =
  (globalThis.navigator?.languages ?? []).map((tag) => LANGUAGES[tag.slice(0, 2)]).find(Boolean) ?? en;

/** Why something happened, by its code, in words. @param {string | number | undefined} code @param {string} [detail] */
export const reason = (code, detail) => strings.reasons[code] ?? (detail || strings.lost);
