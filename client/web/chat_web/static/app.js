/**
 * The page: it connects, shows the conversation, and reads earlier ones from history.
 *
 * @module
 */

import { ChatClient } from "./chat-client.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { findHost } from "./guest.js";
import { History } from "./history.js";
import { Memory } from "./memory.js";
import { offerSettings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { StatusLine } from "./status.js";
import { $, translate } from "./view.js";

const BASE = new URL("..", import.meta.url); // this is web/app.js
const DELIVERY_MS = 1000; // an exchange is usually in history by then

/** What the address says: `embedded`, `widget`, `clientId`, `lang`. */
const parameters = new URLSearchParams(location.hash.slice(1));

async function start() {
  translate(document);
  document.body.classList.toggle("embedded", parameters.has("embedded") || parameters.has("widget"));
  const status = new StatusLine();
  const host = parameters.has("widget") ? await findHost() : undefined;
  const memory = new Memory(host?.given ?? { clientId: parameters.get("clientId") ?? undefined });
  const installation = await describe();
  const sidebar = new Sidebar({ open: (sessionId) => begin(sessionId) });
  /** @type {Conversation | undefined} */
  let conversation;

  /** Begin a conversation, or go on with one. @param {string} [sessionId] */
  function begin(sessionId) {
    conversation?.end();
    const { clientId, timeZone } = memory;
    const client = new ChatClient({
      url: BASE.href,
      clientId,
      timeZone,
      sessionId,
      window: installation.window,
      token: (fresh) => memory.currentToken(fresh),
      onState: (change) => {
        if (conversation?.client !== client) return;
        status.tell(change);
        conversation.showConnection();
      },
    });
    const history = new History(installation.historyAddress, { clientId, token: () => memory.currentToken() });
    const current = new Conversation(client, history, {
      quietly: (ask) => sidebar.quietly(ask),
      onAnswer: () => setTimeout(() => sidebar.refresh(), DELIVERY_MS),
    });
    conversation = current;
    memory.sessionId = client.sessionId;
    client.connect();
    if (sessionId !== undefined) current.showNewest();
    sidebar.show(history, client.sessionId);
  }

  new Composer(installation, status, (kind, body, blob) => conversation?.say(kind, body, blob));
  offerSettings(memory, (sameClient) => begin(sameClient ? conversation?.client.sessionId : undefined));
  $("retry").addEventListener("click", () => conversation?.client.connect());
  $("messages").addEventListener("scroll", () => {
    if ($("messages").scrollTop < 80) conversation?.showOlder();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if (!conversation?.stopNewest()) host?.hide();
  });
  begin(memory.sessionId);
}

/** Return what the server says of itself. */
async function describe() {
  const found = await (await fetch(new URL(".well-known/chatbot", BASE))).json();
  return {
    historyAddress: found.history ?? BASE.href,
    window: found.window,
    maxFrameBytes: found.max_frame_bytes,
    maxTextBytes: found.max_text_bytes,
  };
}

start();
