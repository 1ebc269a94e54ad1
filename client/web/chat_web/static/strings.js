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
  noTitle: (/** @type {string} */ when) => `Conversation of ${when}`,
  search: "Search",
  searchHint: "Words in your messages",
  nothingFound: "No message has all of these words.",
  settings: "Settings",
  messages: "Messages",
  message: "Message",
  messageHint: "Write a message",
  send: "Send",
  record: "Record a voice note",
  stopRecording: "Stop and send the voice note",
  cancelRecording: "Discard the recording",
  recording: "Recording",
  seconds: (/** @type {number} */ seconds) => `${seconds} s`,
  secondsLeft: (/** @type {number} */ seconds) => `${seconds} s left.`,
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
  progress: ["Waiting for its turn", "Listening", "Thinking", "Speaking"],
  working: "The bot is working",
  sending: (/** @type {number} */ percent) => `Sending, ${percent} %`,
  unsent: "Waiting for the connection",
  stop: "Stop",
  stopped: "You stopped this reply.",
  takenBack: "You took this message back.",
  older: "Loading older messages",
  beginning: "This is the beginning of the conversation.",
  clientId: "Client id",
  timeZone: "Time zone",
  token: "Token, where the server asks for one",
  save: "Save",
  cancel: "Cancel",
  idle: "Not connected. Your next message connects.",
  connecting: "Connecting",
  queue: (/** @type {number} */ place) => `You are number ${place} in the queue.`,
  open: "Connected",
  nextAttempt: (/** @type {number} */ seconds) => `Next attempt in ${seconds} s.`,
  retry: "Try now",
  lost: "The connection was lost.",
  notSent: "This message may not have been answered.",
  resend: "Send again",
  tooLarge: (/** @type {string} */ limit) => `This file is too large. The server accepts ${limit}.`,
  tooLong: (/** @type {number} */ limit) => `This text is too long. The server accepts ${limit} bytes.`,
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
    token_keys_unavailable: "The server can't check tokens at the moment.",
    internal: "The server met a fault of its own.",
    client_id_malformed: "The client id is not valid.",
    time_zone_unknown: "The server does not know this time zone.",
    time_zone_not_served: "The server does not serve your time zone.",
    token_missing: "The server asks for a token. Enter one in the settings.",
    token_expired: "The token has expired. Enter a new one in the settings.",
    token_invalid: "The server does not accept this token.",
    token_key_unknown: "The server does not know the key of this token.",
    token_unavailable: "The page around this one gave no token.",
    client_not_yours: "The token is for another client id.",
    origin_not_allowed: "Pages from here may not connect to this server.",
    1012: "The server is being replaced.",
    1013: "The server can't hold the connection at the moment.",
    4000: "The connection was closed because nothing was said.",
    4003: "The token has expired.",
  },
};

/** @type {typeof en} */
const de = {
  title: "Chatbot",
  skip: "Zum Nachrichtenfeld springen",
  sessions: "Gespräche",
  newSession: "Neues Gespräch",
  noSessions: "Noch keine Gespräche.",
  noTitle: (when) => `Gespräch vom ${when}`,
  search: "Suchen",
  searchHint: "Wörter in Ihren Nachrichten",
  nothingFound: "Keine Nachricht enthält alle diese Wörter.",
  settings: "Einstellungen",
  messages: "Nachrichten",
  message: "Nachricht",
  messageHint: "Nachricht schreiben",
  send: "Senden",
  record: "Sprachnachricht aufnehmen",
  stopRecording: "Aufnahme beenden und senden",
  cancelRecording: "Aufnahme verwerfen",
  recording: "Aufnahme",
  seconds: (seconds) => `${seconds} s`,
  secondsLeft: (seconds) => `Noch ${seconds} s.`,
  attach: "Sprachnachricht oder Video aus einer Datei senden",
  sendFile: "Diese Datei senden",
  discardFile: "Verwerfen",
  menu: "Gespräche zeigen",
  closeMenu: "Gespräche verbergen",
  you: "Sie",
  bot: "Bot",
  voiceNote: "Sprachnachricht",
  video: "Video",
  picture: "Bild vom Bot",
  progress: ["Wartet, bis sie an der Reihe ist", "Hört zu", "Denkt nach", "Spricht"],
  working: "Der Bot arbeitet",
  sending: (percent) => `Wird gesendet, ${percent} %`,
  unsent: "Wartet auf die Verbindung",
  stop: "Anhalten",
  stopped: "Sie haben diese Antwort angehalten.",
  takenBack: "Sie haben diese Nachricht zurückgenommen.",
  older: "Ältere Nachrichten werden geladen",
  beginning: "Hier beginnt das Gespräch.",
  clientId: "Kennung",
  timeZone: "Zeitzone",
  token: "Token, falls der Server eines verlangt",
  save: "Speichern",
  cancel: "Abbrechen",
  idle: "Nicht verbunden. Ihre nächste Nachricht verbindet.",
  connecting: "Verbindung wird aufgebaut",
  queue: (place) => `Sie sind Nummer ${place} in der Schlange.`,
  open: "Verbunden",
  nextAttempt: (seconds) => `Nächster Versuch in ${seconds} s.`,
  retry: "Jetzt versuchen",
  lost: "Die Verbindung ist abgebrochen.",
  notSent: "Diese Nachricht wurde vielleicht nicht beantwortet.",
  resend: "Noch einmal senden",
  tooLarge: (limit) => `Diese Datei ist zu groß. Der Server nimmt bis ${limit}.`,
  tooLong: (limit) => `Dieser Text ist zu lang. Der Server nimmt bis ${limit} Bytes.`,
  wrongFile: "Wählen Sie eine Ton- oder Videodatei.",
  noMicrophone: "Das Mikrofon ist nicht verfügbar. Erlauben Sie es im Browser, oder senden Sie eine Datei.",
  reasons: {
    unreachable: "Der Server ist nicht erreichbar.",
    cluster_full: "Alle Plätze sind belegt.",
    line_full: "Es warten schon zu viele.",
    client_limit: "Sie haben so viele offene Verbindungen, wie erlaubt sind. Schließen Sie eine davon.",
    pod_full: "Dieser Server hat im Moment keinen Platz.",
    draining: "Der Server wird ersetzt.",
    limits_learning: "Der Server stellt seine Grenzen wieder her.",
    limits_unavailable: "Der Server kann seine Grenzen nicht prüfen.",
    token_keys_unavailable: "Der Server kann im Moment keine Token prüfen.",
    internal: "Im Server ist ein Fehler aufgetreten.",
    client_id_malformed: "Die Kennung ist nicht gültig.",
    time_zone_unknown: "Der Server kennt diese Zeitzone nicht.",
    time_zone_not_served: "Der Server bedient Ihre Zeitzone nicht.",
    token_missing: "Der Server verlangt ein Token. Tragen Sie eines in den Einstellungen ein.",
    token_expired: "Das Token ist abgelaufen. Tragen Sie ein neues in den Einstellungen ein.",
    token_invalid: "Der Server nimmt dieses Token nicht an.",
    token_key_unknown: "Der Server kennt den Schlüssel dieses Tokens nicht.",
    token_unavailable: "Die umgebende Seite hat kein Token geliefert.",
    client_not_yours: "Das Token gehört zu einer anderen Kennung.",
    origin_not_allowed: "Seiten von hier dürfen sich mit diesem Server nicht verbinden.",
    1012: "Der Server wird ersetzt.",
    1013: "Der Server kann die Verbindung im Moment nicht halten.",
    4000: "Die Verbindung wurde geschlossen, weil nichts gesagt wurde.",
    4003: "Das Token ist abgelaufen.",
  },
};

export const LANGUAGES = Object.freeze({ en, de });

/**
 * Return the first of some languages that there is.
 *
 * @param {readonly string[]} wanted tags such as `de-AT`
 * @returns {keyof typeof LANGUAGES}
 */
export function chooseLanguage(wanted) {
  const known = /** @type {(keyof typeof LANGUAGES)[]} */ (Object.keys(LANGUAGES));
  const found = wanted.map((tag) => known.find((language) => tag.toLowerCase().split("-")[0] === language));
  return found.find(Boolean) ?? "en";
}

const asked = new URLSearchParams(globalThis.location?.hash.slice(1)).get("lang");

/** The language of this page: the one in its address, or the first of the browser's. */
export const language = chooseLanguage(asked ? [asked] : (globalThis.navigator?.languages ?? []));

/** That language as the reader's own country writes dates in it. */
export const locale = globalThis.navigator?.languages?.find((tag) => tag.split("-")[0] === language) ?? language;

export const strings = LANGUAGES[language];

/**
 * Say in words why something happened.
 *
 * @param {string | number | undefined} code
 * @param {string} [detail]
 */
export const reason = (code, detail) =>
  /** @type {Record<string, string>} */ (strings.reasons)[code ?? ""] ?? (detail || strings.lost);
