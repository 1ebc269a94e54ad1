/**
 * Markdown as elements. The library only reads it; every element is made here, from a list of what may be there. So HTML
 * in a message stays text, pictures of other servers become links, and no address but the usual ones is a link.
 *
 * @module
 */

import { lexer } from "./vendor/marked.esm.js";

const MAX_CHARACTERS = 30_000; // of a longer text nothing is made but a text
const MAX_DEPTH = 30;
const LINKS = new Set(["http:", "https:", "mailto:"]);
const ALIGNMENTS = new Set(["left", "center", "right"]);
const ENTITIES = new Map([["amp", "&"], ["lt", "<"], ["gt", ">"], ["quot", '"'], ["apos", "'"], ["nbsp", "\u00a0"]]);

/** @typedef {{type: string, raw: string, text?: string, tokens?: Token[], [more: string]: any}} Token */

/**
 * Return the elements of a text in Markdown.
 *
 * @param {string} text
 * @returns {(Node | string)[]}
 */
export function markdown(text) {
  if (text.length > MAX_CHARACTERS) return [paragraph(text)];
  try {
    return nodes(lexer(text, { gfm: true, breaks: true }), 0);
  } catch {
    return [paragraph(text)]; // it is nested too deeply
  }
}

/** @param {string} text */
function paragraph(text) {
  return make("p", [text]);
}

/**
 * @param {string} name
 * @param {(Node | string)[]} children
 * @param {Record<string, string>} [attributes]
 */
function make(name, children, attributes = {}) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

/**
 * @param {Token[] | undefined} tokens
 * @param {number} depth
 * @returns {(Node | string)[]}
 */
function nodes(tokens, depth) {
  if (depth > MAX_DEPTH) throw new RangeError("too deep");
  return (tokens ?? []).flatMap((token) => BUILDERS[token.type]?.(token, depth + 1) ?? [token.raw]);
}

/** @type {Record<string, (token: Token, depth: number) => (Node | string)[]>} */
const BUILDERS = {
  space: () => [],
  def: () => [],
  text: (token, depth) => (token.tokens ? nodes(token.tokens, depth) : [unescaped(token.text ?? "")]),
  escape: ({ text = "" }) => [text],
  html: ({ raw, block }) => [block ? make("p", [raw.trim()]) : raw],
  br: () => [make("br", [])],
  hr: () => [make("hr", [])],
  paragraph: ({ tokens }, depth) => [make("p", nodes(tokens, depth))],
  // a page has its own headings, so those of a message are below them
  heading: (token, depth) => [make(`h${Math.min(token.depth + 2, 6)}`, nodes(token.tokens, depth))],
  blockquote: ({ tokens }, depth) => [make("blockquote", nodes(tokens, depth))],
  code: ({ text = "" }) => [make("pre", [make("code", [text])], { tabindex: "0" })],
  codespan: ({ text = "" }) => [make("code", [text])],
  strong: ({ tokens }, depth) => [make("strong", nodes(tokens, depth))],
  em: ({ tokens }, depth) => [make("em", nodes(tokens, depth))],
  del: ({ tokens }, depth) => [make("del", nodes(tokens, depth))],
  link: ({ href, tokens }, depth) => [link(href, nodes(tokens, depth))],
  image: ({ href, text = "" }) => [link(href, [text || String(href)])],
  checkbox: ({ checked }) => [checked ? "☑ " : "☐ "],
  list: list,
  table: table,
};

/** @param {Token} token @param {number} depth */
function list({ ordered, start, items }, depth) {
  const attributes = ordered && Number(start) > 1 ? { start: String(start) } : {};
  const made = items.map((/** @type {Token} */ item) => make("li", nodes(item.tokens, depth)));
  return [make(ordered ? "ol" : "ul", made, /** @type {Record<string, string>} */ (attributes))];
}

/** @param {Token} token @param {number} depth */
function table({ header, rows }, depth) {
  /** @param {string} name */
  const cells = (name) => (/** @type {Token} */ cell) =>
    make(name, nodes(cell.tokens, depth), ALIGNMENTS.has(cell.align) ? { class: cell.align } : {});
  const head = make("thead", [make("tr", header.map(cells("th")))]);
  const body = make("tbody", rows.map((/** @type {Token[]} */ row) => make("tr", row.map(cells("td")))));
  return [make("div", [make("table", [head, body])], { class: "table", tabindex: "0" })];
}

/**
 * @param {unknown} href
 * @param {(Node | string)[]} children
 */
function link(href, children) {
  const address = unescaped(String(href));
  try {
    if (!LINKS.has(new URL(address).protocol)) throw new TypeError("no link");
  } catch {
    return make("span", [...children, ` (${address})`]);
  }
  return make("a", children, { href: address, target: "_blank", rel: "noopener noreferrer nofollow" });
}

/** Put characters in the place of the entities that are usual in texts. @param {string} text */
const unescaped = (text) => text.replace(/&([a-z]{2,4});/g, (whole, name) => ENTITIES.get(name) ?? whole);
