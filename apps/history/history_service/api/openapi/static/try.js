/** Adds a form to each operation of the page. A form sends a request to this service and shows its answer. */

/** @typedef {Record<string, any>} Schema */
/** @typedef {{name: string, in: "path" | "query" | "header", required: boolean, schema: Schema, description?: string}} Parameter */
/** @typedef {{operationId: string, parameters: Parameter[], requestBody?: {content: Record<string, {schema: Schema}>}, security?: object[]}} Operation */
/** @typedef {{paths: Record<string, Record<string, Operation>>, components: {schemas: Record<string, Schema>, securitySchemes?: object}}} OpenApi */
/** @typedef {{of: Parameter, input: HTMLInputElement}} Field */

const MAX_SHOWN_BYTES = 200_000;
const TIMEOUT_MS = 60_000;
const ADDRESS = new URL("../openapi.json", import.meta.url);
const TOLD_ELSEWHERE = ["type", "description", "format"];

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<HTMLElementTagNameMap[Tag]>} properties
 * @param {(Node | string)[]} children
 */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

/**
 * Return the label of a field, the field and its hint.
 * @param {HTMLElement} field
 * @param {string} id
 * @param {string} label
 * @param {string} hint
 */
function labelled(field, id, label, hint) {
  field.id = id;
  field.setAttribute("aria-describedby", `${id}-hint`);
  return [element("label", { htmlFor: id }, label), field, element("small", { id: `${id}-hint` }, hint)];
}

/** Say what a parameter means and which values are right. @param {Parameter} parameter */
function hintOf({ in: where, required, schema, description }) {
  const rules = Object.entries(schema).filter(([rule]) => !TOLD_ELSEWHERE.includes(rule));
  const told = rules.map(([rule, value]) => `${rule}: ${Array.isArray(value) ? value.join(", ") : value}`);
  return [description, required ? `${where}, required` : where, ...told].filter(Boolean).join("; ");
}

/**
 * Return the address of a request.
 * @param {string} template
 * @param {Field[]} fields
 */
function addressOf(template, fields) {
  const path = template.replaceAll(/\{(\w+)\}/g, (_, name) => {
    const field = fields.find((each) => each.of.in === "path" && each.of.name === name);
    return encodeURIComponent(field?.input.value ?? "");
  });
  const address = new URL(`.${path}`, ADDRESS);
  for (const { of, input } of fields) {
    if (of.in === "query" && input.value !== "") address.searchParams.set(of.name, input.value);
  }
  return address;
}

/**
 * Return the field of a body: text for JSON, a file for all else.
 * @param {string} type
 * @param {Schema} schema
 * @param {OpenApi} document
 */
function bodyField(type, schema, document) {
  if (type !== "application/json") return element("input", { type: "file", required: true });
  const known = document.components.schemas[String(schema.$ref).split("/").pop() ?? ""] ?? schema;
  /** @type {[string, Schema][]} */
  const properties = Object.entries(known.properties ?? {});
  const members = Object.fromEntries(properties.map(([name, member]) => [name, member.default ?? null]));
  return element("textarea", { rows: 4, spellcheck: false, value: JSON.stringify(members, null, 2) });
}

/**
 * Return the elements that show the body of an answer, and the address of its bytes where they are not shown as text.
 * @param {Response} response
 * @param {string} name
 * @returns {Promise<{parts: HTMLElement[], url?: string}>}
 */
async function bodyOf(response, name) {
  const blob = await response.blob();
  const [type = ""] = (response.headers.get("content-type") ?? "").split(";");
  if (blob.size === 0) return { parts: [] };
  if (/^text\/|json$/.test(type) && blob.size <= MAX_SHOWN_BYTES) {
    return { parts: [element("pre", { className: "body" }, pretty(await blob.text(), type))] };
  }
  const url = URL.createObjectURL(blob);
  const link = element("a", { href: url, download: name }, `Save the ${blob.size} bytes of ${type}`);
  return { parts: [...preview(type, url), element("p", {}, link)], url };
}

/**
 * Return JSON with line breaks, and any other text as it is.
 * @param {string} text
 * @param {string} type
 */
function pretty(text, type) {
  return /[/+]json$/.test(type) ? JSON.stringify(JSON.parse(text), null, 2) : text;
}

/**
 * Return a picture or a player of media.
 * @param {string} type
 * @param {string} url
 */
function preview(type, url) {
  if (type.startsWith("image/")) return [element("img", { src: url, alt: "The picture that was answered" })];
  if (type.startsWith("audio/")) return [element("audio", { src: url, controls: true })];
  if (type.startsWith("video/")) return [element("video", { src: url, controls: true })];
  return [];
}

/** Explain a redirect: where it leads can't be read. @param {URL} address */
function redirected(address) {
  const link = element("a", { href: address.href, target: "_blank", rel: "noreferrer" }, "Open the address without a token");
  return [element("p", {}, "Media are in a store elsewhere, and this page reads nothing from there. ", link, ".")];
}

/**
 * Return the form of an operation.
 * @param {string} path
 * @param {string} method in capitals, as fetch sends PATCH
 * @param {Operation} operation
 * @param {OpenApi} openApi
 * @param {HTMLInputElement} token
 */
function formOf(path, method, operation, openApi, token) {
  const id = operation.operationId;
  const fields = operation.parameters.map((of) => {
    const input = element("input", { required: of.in === "path", autocomplete: "off", spellcheck: false });
    return { of, input };
  });
  const form = element("form");
  for (const { of, input } of fields) form.append(...labelled(input, `${id}-${of.in}-${of.name}`, of.name, hintOf(of)));
  const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const body = type === undefined ? undefined : bodyField(type, content?.schema ?? {}, openApi);
  if (type !== undefined && body !== undefined) form.append(...labelled(body, `${id}-body`, "Body", type));
  const status = element("p", { role: "status" });
  const answer = element("div");
  form.append(element("button", {}, "Send"), status, answer);
  /** @type {string | undefined} */
  let bytes;

  async function send() {
    const address = addressOf(path, fields);
    const line = `${method} ${address.pathname}${address.search}`;
    if (method === "DELETE" && !confirm(`${line}\n\nWhat is deleted can't be brought back. Delete it?`)) return;
    form.ariaBusy = "true";
    answer.replaceChildren();
    if (bytes !== undefined) URL.revokeObjectURL(bytes);
    status.textContent = `${line} …`;
    try {
      const response = await fetch(address, {
        method, headers: headers(), body: body instanceof HTMLInputElement ? body.files?.[0] : body?.value,
        cache: "no-store", credentials: "omit", redirect: "manual", signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const opaque = response.type === "opaqueredirect";
      status.textContent = `${line}: ${opaque ? "a redirect" : `${response.status} ${response.statusText}`}`;
      const lines = [...response.headers].map(([name, value]) => `${name}: ${value}`);
      if (lines.length > 0) answer.append(element("pre", { className: "headers" }, lines.join("\n")));
      const shown = opaque ? { parts: redirected(address) } : await bodyOf(response, id);
      bytes = shown.url;
      answer.append(...shown.parts);
    } catch (error) {
      answer.append(element("p", { className: "failed" }, `The request or its answer failed: ${error}`));
    } finally {
      form.ariaBusy = "false";
    }
  }

  function headers() {
    const made = new Headers(type === undefined ? {} : { "Content-Type": type });
    if (operation.security !== undefined && token.value !== "") made.set("Authorization", `Bearer ${token.value.trim()}`);
    for (const { of, input } of fields) if (of.in === "header" && input.value !== "") made.set(of.name, input.value);
    return made;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.ariaBusy !== "true") void send();
  });
  return element("details", { className: "try" }, element("summary", {}, `Try ${id}`), form);
}

/** Add the field for a token and all forms to the page. @param {OpenApi} openApi */
function enhance(openApi) {
  const token = element("input", { type: "password", autocomplete: "off" });
  if (openApi.components.securitySchemes !== undefined) {
    const hint = "Sent with the operations that need one. It is kept in the memory of this page only.";
    document.querySelector("h1")?.after(...labelled(token, "token", "Token", hint));
  }
  for (const [path, methods] of Object.entries(openApi.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const section = document.getElementById(operation.operationId)?.parentElement;
      section?.append(formOf(path, method.toUpperCase(), operation, openApi, token));
    }
  }
}

const response = await fetch(ADDRESS);
if (!response.ok) throw new Error(`${ADDRESS} is answered by ${response.status}`);
enhance(await response.json());
