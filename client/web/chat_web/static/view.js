/**
 * How messages look on the page.
 *
 * @module
 */

import { markdown } from "./markdown.js";
import { language, locale, strings } from "./strings.js";

/**
 * Return an element of the page by its id.
 *
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} id
 * @returns {Kind}
 */
export const $ = (id) => /** @type {Kind} */ (document.getElementById(id));

/**
 * Make an element.
 *
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

/**
 * Make a button.
 *
 * @param {string} text
 * @param {() => void} pressed
 * @param {Record<string, string>} [attributes]
 */
export function button(text, pressed, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", pressed);
  return made;
}

/** Put the sentences of the language into the page. @param {Document} page */
export function translate(page) {
  const texts = /** @type {Record<string, any>} */ (strings);
  /** @param {string} name @returns {Iterable<HTMLElement>} */
  const having = (name) => page.querySelectorAll(`[data-${name}]`);
  for (const found of having("text")) found.textContent = texts[String(found.dataset.text)];
  for (const found of having("label")) {
    found.setAttribute("aria-label", texts[String(found.dataset.label)]);
    found.title = texts[String(found.dataset.label)];
  }
  for (const found of having("hint")) found.setAttribute("placeholder", texts[String(found.dataset.hint)]);
  page.documentElement.lang = language;
  page.title = strings.title;
}

const time = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

/** A moment in the reader's own language and zone. @param {string | Date} moment */
export const clock = (moment) => time.format(new Date(moment));

/**
 * Make the list item of a message. What the bot says is Markdown, anything else a text.
 *
 * @param {{id?: string, direction: "request" | "reply", kind: string, text?: string | null, at: string | Date}} message
 */
export function messageItem({ id, direction, kind, text, at }) {
  const request = direction === "request";
  const item = element("li", { class: request ? "request" : `reply ${kind}` });
  if (id) item.dataset.id = id;
  const words = text ?? (kind === "video" ? strings.video : strings.voiceNote);
  const body = element("div", { class: "body", dir: "auto" });
  body.append(...(request || kind === "error" ? [element("p", {}, words)] : markdown(words)));
  const who = element("span", { class: "sr" }, `${request ? strings.you : strings.bot}: `);
  item.append(who, body, element("time", { datetime: new Date(at).toISOString() }, clock(at)));
  return item;
}

/**
 * Add a player or a picture to a message.
 *
 * @param {HTMLElement} item
 * @param {"voice" | "video" | "image"} part
 * @param {string} address
 */
export function addMedia(item, part, address) {
  const [name, attributes] = {
    voice: ["audio", { controls: "", preload: "metadata", "aria-label": strings.voiceNote }],
    video: ["video", { controls: "", preload: "metadata", playsinline: "", "aria-label": strings.video }],
    image: ["img", { alt: strings.picture, loading: "lazy" }],
  }[part];
  const made = element(String(name), { .../** @type {Record<string, string>} */ (attributes), src: address });
  item.insertBefore(made, item.querySelector(":scope > time"));
}

/**
 * Say below a message why it has no answer.
 *
 * @param {HTMLElement} item
 * @param {string} why
 * @param {() => void} again
 */
export function markFailed(item, why, again) {
  const note = element("p", { class: "failed" }, why, " ");
  const resend = button(strings.resend, () => {
    note.remove();
    again();
  });
  note.append(resend);
  item.append(note);
}

/** Have screen readers say something, once. @param {string} text */
export function announce(text) {
  $("announcer").replaceChildren(element("p", {}, text));
}

/**
 * Do something to the messages, and stay at their end when the reader was there.
 *
 * @param {() => void} change
 */
export function keepingPlace(change) {
  const messages = $("messages");
  const atEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 80;
  change();
  if (atEnd) scrollToEnd();
}

/** Show the newest message. */
export function scrollToEnd() {
  $("messages").scrollTop = $("messages").scrollHeight;
}
