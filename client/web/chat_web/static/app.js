/**
 * The page: it connects, shows the conversation, and reads earlier ones from history.
 *
 * @module
 */

import { ChatClient, ConnectionLost, State } from "./chat-client.js";
import { RequestKind, ResponseKind, errorOf } from "./frameproto.js";
import { History } from "./history.js";
import { startRecording } from "./recorder.js";
import { reason, strings } from "./strings.js";
import { addMedia, clock, element, markFailed, messageItem, translate } from "./view.js";

const BASE = new URL(".", import.meta.url);
const MIB = 1024 * 1024;
const DELIVERY_MS = 1000; // an exchange is usually in history by then
const PARAMETERS = new URLSearchParams(location.hash.slice(1));
const $ = (id) => document.getElementById(id);

/** What this browser remembers. The token is kept for this tab only. */
const memory = {
  get clientId() {
    return PARAMETERS.get("clientId") ?? remembered(localStorage, "clientId", () => `web-${crypto.randomUUID().slice(0, 8)}`);
  },
  get timeZone() {
    return localStorage.getItem("timeZone") ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  },
  get token() {
    return sessionStorage.getItem("token") ?? undefined;
  },
};

function remembered(storage, name, make) {
  if (storage.getItem(name) === null) storage.setItem(name, make());
  return storage.getItem(name);
}

/** @type {{historyAddress: string, maxFrameBytes: number, maxTextBytes: number}} */
let server;
/** @type {ChatClient} */
let client;
/** @type {History} */
let history;
let recording = null;
let chosen = null;
let unanswered = 0;
let older = null; // the cursor of the messages before those that are shown
let countdown;
let lastChange = { state: State.IDLE };

async function start() {
  translate(document);
  document.title = strings.title;
  document.documentElement.lang = "en";
  document.body.classList.toggle("embedded", PARAMETERS.has("embedded"));
  const found = await (await fetch(new URL(".well-known/chatbot", BASE))).json();
  server = {
    historyAddress: found.history ?? BASE.href,
    maxFrameBytes: found.max_frame_bytes,
    maxTextBytes: found.max_text_bytes,
  };
  begin(sessionStorage.getItem("sessionId") ?? undefined);
}

/** Begin a conversation, or go on with one. @param {string} [sessionId] */
function begin(sessionId) {
  client?.close();
  client = new ChatClient({
    url: BASE.href,
    clientId: memory.clientId,
    timeZone: memory.timeZone,
    sessionId,
    token: () => memory.token,
    onState: (change) => showState(change),
  });
  history = new History(server.historyAddress, { clientId: memory.clientId, token: () => memory.token });
  sessionStorage.setItem("sessionId", client.sessionId);
  unanswered = 0;
  older = null;
  $("list").replaceChildren();
  showWorking();
  client.connect();
  if (sessionId !== undefined) showNewest(sessionId);
  showSessions();
}

function showState(change) {
  lastChange = change;
  if (recording === null) tellState(change);
}

function tellState({ state, code, detail, place, seconds }) {
  clearInterval(countdown);
  $("retry").hidden = state !== State.WAITING && state !== State.DENIED;
  const say = (words) => ($("status-text").textContent = words);
  switch (state) {
    case State.WAITING: {
      let left = Math.ceil(seconds);
      const why = place ? strings.queue(place) : reason(code, detail);
      say(strings.waiting(why, left));
      countdown = setInterval(() => left > 1 && say(strings.waiting(why, --left)), 1000);
      break;
    }
    case State.DENIED:
      say(reason(code, detail));
      break;
    case State.OPEN:
      say(strings.open);
      break;
    case State.CONNECTING:
      say(strings.connecting);
      break;
    default:
      say(strings.idle);
  }
}

const atEnd = () => $("messages").scrollHeight - $("messages").scrollTop - $("messages").clientHeight < 80;

/** Do something to the messages, and stay at their end when the reader was there. */
function keepingPlace(change) {
  const stay = atEnd();
  change();
  if (stay) $("messages").scrollTop = $("messages").scrollHeight;
}

function showWorking() {
  $("working").hidden = unanswered === 0;
}

/**
 * Send a message and show its reply.
 *
 * @param {number} kind
 * @param {string | Uint8Array} body
 * @param {Blob} [blob] the file, to show it
 */
async function say(kind, body, blob) {
  const item = messageItem({
    direction: "request",
    kind: kind === RequestKind.VIDEO ? "video" : kind === RequestKind.VOICE ? "voice" : "text",
    text: typeof body === "string" ? body : null,
    at: new Date(),
  });
  if (blob) addMedia(item, kind === RequestKind.VIDEO ? "video" : "voice", URL.createObjectURL(blob));
  keepingPlace(() => $("list").append(item));
  $("messages").scrollTop = $("messages").scrollHeight;
  await answer(item, kind, body);
}

async function answer(item, kind, body) {
  unanswered += 1;
  showWorking();
  const asked = client;
  try {
    const response = await asked.ask(body, kind);
    if (asked === client) keepingPlace(() => showResponse(item, response));
    setTimeout(() => showSessions(), DELIVERY_MS);
  } catch (error) {
    const why = error instanceof ConnectionLost ? strings.notSent : error.message;
    markFailed(item, why, () => answer(item, kind, body));
  } finally {
    if (asked === client) {
      unanswered -= 1;
      keepingPlace(showWorking);
    }
  }
}

function showResponse(request, response) {
  const failed = response.kind === ResponseKind.ERROR;
  const text = failed ? errorOf(response).message : response.text;
  const item = messageItem({ direction: "reply", kind: failed ? "error" : "text", text, at: new Date() });
  if (response.voice.length) addMedia(item, "voice", blobAddress(response.voice, "audio/mpeg"));
  if (response.image.length) addMedia(item, "image", blobAddress(response.image, "image/jpeg"));
  const waiting = request.nextElementSibling;
  if (waiting) $("list").insertBefore(item, waiting);
  else $("list").append(item);
}

const blobAddress = (bytes, type) => URL.createObjectURL(new Blob([bytes], { type }));

/** Show the newest messages of a session. */
async function showNewest(sessionId) {
  const page = await quietly(() => history.messages(sessionId));
  if (page === undefined || sessionId !== client.sessionId) return;
  older = page.before ?? null;
  $("list").prepend(...page.messages.map(storedItem));
  $("messages").scrollTop = $("messages").scrollHeight;
  showBeginning();
}

async function showOlder() {
  if (older === null || !$("older").hidden) return;
  const sessionId = client.sessionId;
  $("older").textContent = strings.older;
  $("older").hidden = false;
  const page = await quietly(() => history.messages(sessionId, older));
  $("older").hidden = true;
  if (page === undefined || sessionId !== client.sessionId) return;
  older = page.before ?? null;
  const height = $("messages").scrollHeight;
  $("list").prepend(...page.messages.map(storedItem));
  $("messages").scrollTop += $("messages").scrollHeight - height;
  showBeginning();
}

function showBeginning() {
  $("older").hidden = older !== null || $("list").children.length === 0;
  $("older").textContent = strings.beginning;
}

/** Make the list item of a message that history has; its media are fetched when they come into view. */
function storedItem(message) {
  const failed = message.outcome !== "answered" && message.direction === "reply";
  const item = messageItem({ ...message, kind: failed ? "error" : message.kind, at: message.sent_at });
  const parts = Object.entries(message.media);
  if (parts.length > 0) {
    const watcher = new IntersectionObserver(async (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      for (const [part, media] of parts) {
        const address = await quietly(() => history.mediaAddress(media));
        if (address !== undefined) addMedia(item, part, address);
      }
    });
    watcher.observe(item);
  }
  return item;
}

async function showSessions(cursor) {
  const page = await quietly(() => history.sessions(cursor));
  if (page === undefined) return;
  const items = page.sessions.map((session) => sessionItem(session.id, session.title ?? strings.noTitle(clock(session.started_at))));
  if (cursor === undefined) $("sessions").replaceChildren(...items);
  else $("sessions").append(...items);
  $("sessions").dataset.next = page.next ?? "";
  $("sessions-note").textContent = $("sessions").children.length === 0 ? strings.noSessions : "";
}

function sessionItem(id, title) {
  const button = element("button", { type: "button" }, title);
  if (id === client.sessionId) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => {
    showMenu(false);
    begin(id);
  });
  return element("li", {}, button);
}

async function search(words) {
  if (words.trim() === "") {
    showSessions();
    return;
  }
  const page = await quietly(() => history.search(words));
  if (page === undefined) return;
  $("sessions").dataset.next = "";
  $("sessions").replaceChildren(...page.messages.map((found) => sessionItem(found.session_id, found.text ?? found.kind)));
  $("sessions-note").textContent = page.messages.length === 0 ? strings.nothingFound : "";
}

/** Return what history answers; a failure is told in the sidebar, and the conversation goes on without it. */
async function quietly(ask) {
  try {
    return await ask();
  } catch (error) {
    if (error.status !== 404) $("sessions-note").textContent = reason(error.code, error.message);
    return undefined;
  }
}

function showMenu(shown) {
  $("sidebar").classList.toggle("shown", shown);
  $("menu").setAttribute("aria-expanded", String(shown));
  $("menu").setAttribute("aria-label", shown ? strings.closeMenu : strings.menu);
}

async function sendText() {
  const text = $("text").value;
  if (text.trim() === "") return;
  if (new TextEncoder().encode(text).length > server.maxTextBytes) {
    $("status-text").textContent = strings.tooLarge(`${server.maxTextBytes} bytes`);
    return;
  }
  $("text").value = "";
  grow();
  await say(RequestKind.TEXT, text);
}

async function sendBlob(blob) {
  if (blob.size >= server.maxFrameBytes) {
    $("status-text").textContent = strings.tooLarge(`${Math.floor(server.maxFrameBytes / MIB)} MiB`);
    return;
  }
  const kind = blob.type.startsWith("video/") ? RequestKind.VIDEO : RequestKind.VOICE;
  await say(kind, new Uint8Array(await blob.arrayBuffer()), blob);
}

function choose(file) {
  discardChoice();
  if (!file) return;
  if (!/^(audio|video)\//.test(file.type)) {
    $("status-text").textContent = strings.wrongFile;
    return;
  }
  chosen = file;
  const item = element("div");
  const player = element(file.type.startsWith("video/") ? "video" : "audio", { controls: "", "aria-label": file.name });
  player.src = URL.createObjectURL(file);
  const send = element("button", { type: "button", id: "send-file" }, strings.sendFile);
  const discard = element("button", { type: "button", class: "plain" }, strings.discardFile);
  send.addEventListener("click", () => {
    const blob = chosen;
    discardChoice();
    sendBlob(blob);
  });
  discard.addEventListener("click", discardChoice);
  item.append(player, send, " ", discard);
  $("preview").replaceChildren(item);
  $("preview").hidden = false;
  send.focus();
}

function discardChoice() {
  chosen = null;
  $("preview").hidden = true;
  $("preview").replaceChildren();
  $("file").value = "";
}

async function record() {
  if (recording !== null) {
    const done = recording;
    showRecording(null);
    await sendBlob(await done.stop());
    return;
  }
  try {
    showRecording(await startRecording());
  } catch {
    $("status-text").textContent = strings.noMicrophone;
  }
}

function showRecording(now) {
  recording = now;
  clearInterval(countdown);
  const label = now ? strings.stopRecording : strings.record;
  $("record").classList.toggle("recording", now !== null);
  $("record").setAttribute("aria-label", label);
  $("record").title = label;
  $("discard").hidden = now === null;
  if (now !== null) {
    const tell = () => ($("status-text").textContent = strings.recordingFor(Math.round((Date.now() - now.startedAt) / 1000)));
    tell();
    countdown = setInterval(tell, 1000);
  } else {
    tellState(lastChange);
  }
}

function grow() {
  $("text").style.height = "auto";
  $("text").style.height = `${Math.min($("text").scrollHeight + 2, 144)}px`;
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  sendText();
});
$("text").addEventListener("input", grow);
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    sendText();
  }
});
$("attach").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => choose($("file").files[0]));
$("record").addEventListener("click", record);
$("discard").addEventListener("click", () => {
  recording?.discard();
  showRecording(null);
});
$("retry").addEventListener("click", () => client.connect());
$("menu").addEventListener("click", () => showMenu(!$("sidebar").classList.contains("shown")));
$("new-session").addEventListener("click", () => {
  showMenu(false);
  begin();
});
$("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  search($("search").value);
});
$("search").addEventListener("search", () => search($("search").value));
$("messages").addEventListener("scroll", () => {
  if ($("messages").scrollTop < 80) showOlder();
});
$("sidebar").addEventListener("scroll", () => {
  const end = $("sidebar").scrollHeight - $("sidebar").scrollTop - $("sidebar").clientHeight < 80;
  const next = $("sessions").dataset.next;
  if (end && next) {
    $("sessions").dataset.next = "";
    showSessions(next);
  }
});
$("open-settings").addEventListener("click", () => {
  $("client-id").value = memory.clientId;
  $("time-zone").value = memory.timeZone;
  $("token").value = memory.token ?? "";
  $("zones").replaceChildren(...Intl.supportedValuesOf("timeZone").map((zone) => element("option", { value: zone })));
  $("settings").showModal();
});
$("settings-cancel").addEventListener("click", () => $("settings").close());
$("settings-form").addEventListener("submit", () => {
  const sameClient = $("client-id").value === memory.clientId;
  localStorage.setItem("clientId", $("client-id").value);
  localStorage.setItem("timeZone", $("time-zone").value);
  if ($("token").value) sessionStorage.setItem("token", $("token").value);
  else sessionStorage.removeItem("token");
  begin(sameClient ? client.sessionId : undefined);
});

start();
