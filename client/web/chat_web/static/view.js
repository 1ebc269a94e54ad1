/**
 * How messages look on the page. Text is always set as text, never parsed as HTML.
 *
 * @module
 */

import { strings } from "./strings.js";

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

/** Put the sentences of the language into the page. @param {ParentNode} root */
export function translate(root) {
  for (const found of root.querySelectorAll("[data-text]")) found.textContent = strings[found.dataset.text];
  for (const found of root.querySelectorAll("[data-label]")) {
    found.setAttribute("aria-label", strings[found.dataset.label]);
    found.title = strings[found.dataset.label];
  }
  for (const found of root.querySelectorAll("[data-hint]")) found.placeholder = strings[found.dataset.hint];
}

const time = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A moment in the reader's own language and zone. @param {string | Date} moment */
export const clock = (moment) => time.format(new Date(moment));

/**
 * Make the list item of a message.
 *
 * @param {{id?: string, direction: "request" | "reply", kind: string, text?: string | null, at: string | Date}} message
 */
export function messageItem({ id, direction, kind, text, at }) {
  const item = element("li", { class: direction === "request" ? "request" : `reply ${kind}` });
  if (id) item.dataset.id = id;
  const who = element("span", { class: "sr" }, `${direction === "request" ? strings.you : strings.bot}: `);
  const words = text ?? (kind === "video" ? strings.video : strings.voiceNote);
  item.append(element("p", {}, who, words), element("time", { datetime: new Date(at).toISOString() }, clock(at)));
  return item;
}

/** Add a player or a picture to a message. @param {HTMLElement} item @param {"voice" | "video" | "image"} part @param {string} address */
export function addMedia(item, part, address) {
  const made = {
    voice: () => element("audio", { controls: "", preload: "metadata", "aria-label": strings.voiceNote }),
    video: () => element("video", { controls: "", preload: "metadata", playsinline: "", "aria-label": strings.video }),
    image: () => element("img", { alt: strings.picture, loading: "lazy" }),
  }[part]();
  made.src = address;
  item.insertBefore(made, item.querySelector("time"));
}

/** Say below a message that it may not have been answered. @param {HTMLElement} item @param {string} why @param {() => void} [again] */
export function markFailed(item, why, again) {
  item.querySelector(".failed")?.remove();
  const note = element("p", { class: "failed" }, why);
  if (again) {
    const button = element("button", { type: "button" }, strings.resend);
    button.addEventListener("click", () => {
      note.remove();
      again();
    });
    note.append(" ", button);
  }
  item.append(note);
}
