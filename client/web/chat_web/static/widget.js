/*
 * The chatbot in a page of yours, as a button at its edge. client/web/README.md says how.
 *
 * It is a classic script, so that it knows its own address. The conversation is in a frame of the server's origin: neither
 * page can read the other. They talk over a channel that is opened to that origin only.
 */
(() => {
  "use strict";

  const WORDS = { en: ["Open chat", "Close chat", "Chat"], de: ["Chat öffnen", "Chat schließen", "Chat"] };
  const STYLE = `
    :host { all: initial; }
    button { position: fixed; bottom: 1rem; width: 3.5rem; height: 3.5rem; border: 0; border-radius: 50%; cursor: pointer;
      background: var(--colour); color: #fff; z-index: 2147483000; box-shadow: 0 2px 10px rgb(0 0 0 / 35%); }
    button:focus-visible { outline: 3px solid var(--colour); outline-offset: 3px; }
    svg { width: 1.6rem; height: 1.6rem; fill: none; stroke: currentColor; stroke-width: 2; display: block; margin: auto; }
    iframe { position: fixed; bottom: 5.2rem; width: min(24rem, calc(100vw - 2rem)); height: min(36rem, calc(100vh - 6.5rem));
      border: 1px solid #8888; border-radius: .8rem; z-index: 2147483000; background: Canvas; box-shadow: 0 4px 24px rgb(0 0 0 / 35%); }
    .left { left: 1rem; }
    .right { right: 1rem; }
    [hidden] { display: none; }`;
  const BUBBLE = "M4 5h16v11H9l-5 4z";

  const script = /** @type {HTMLScriptElement} */ (document.currentScript);
  const server = new URL("..", script.src); // this is web/widget.js
  /**
   * @type {{clientId?: string, timeZone?: string, lang?: string, open?: boolean, side?: "left" | "right", colour?: string,
   *   title?: string, token?: (fresh: boolean) => string | Promise<string>}}
   */
  const configuration = { ...JSON.parse(script.dataset.config ?? "{}"), .../** @type {any} */ (window).chatbotWidget };
  const language = String(configuration.lang ?? navigator.language).slice(0, 2) === "de" ? "de" : "en";
  const [openWords, closeWords, title] = WORDS[language];

  const place = document.createElement("chatbot-widget");
  const root = place.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet(); // unlike an element, it needs no leave of the page's policy
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];
  const side = configuration.side === "left" ? "left" : "right";
  /** @type {HTMLIFrameElement | undefined} */
  let frame;

  const launcher = document.createElement("button");
  launcher.type = "button";
  launcher.className = side;
  launcher.style.setProperty("--colour", configuration.colour ?? "#2459c7");
  launcher.append(picture());
  launcher.addEventListener("click", () => show(frame === undefined || frame.hidden));
  root.append(launcher);
  label(false);

  function picture() {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", BUBBLE);
    svg.append(path);
    return svg;
  }

  /** @param {boolean} shown */
  function label(shown) {
    launcher.setAttribute("aria-label", shown ? closeWords : openWords);
    launcher.setAttribute("aria-expanded", String(shown));
  }

  /** Show the conversation, or hide it. @param {boolean} shown */
  function show(shown) {
    if (shown && frame === undefined) frame = load();
    if (frame === undefined) return;
    frame.hidden = !shown;
    label(shown);
    if (shown) frame.focus();
    else launcher.focus();
  }

  function load() {
    const made = document.createElement("iframe");
    const parameters = new URLSearchParams({ widget: "", ...(configuration.lang ? { lang: configuration.lang } : {}) });
    made.className = side;
    made.title = configuration.title ?? title;
    made.allow = "microphone; autoplay";
    made.src = `${server.href}#${parameters}`;
    window.addEventListener("message", ({ source, origin, data }) => {
      if (source !== made.contentWindow || origin !== server.origin || data?.chatbot !== "ready") return;
      const { port1, port2 } = new MessageChannel();
      port1.addEventListener("message", (event) => answer(port1, event.data));
      port1.start();
      const { clientId, timeZone } = configuration;
      const given = { clientId, timeZone, hasToken: typeof configuration.token === "function" };
      made.contentWindow?.postMessage({ chatbot: "configuration", configuration: given }, server.origin, [port2]);
    });
    root.append(made);
    return made;
  }

  /**
   * @param {MessagePort} port
   * @param {{type: string, id?: number, fresh?: boolean}} question
   */
  async function answer(port, { type, id, fresh }) {
    if (type === "hide") show(false);
    if (type !== "token") return;
    try {
      port.postMessage({ type, id, token: await configuration.token?.(fresh === true) });
    } catch {
      port.postMessage({ type, id }); // there is none
    }
  }

  /** What the page can do: `chatbot.show()` and `chatbot.hide()`. */
  /** @type {any} */ (window).chatbot = { show: () => show(true), hide: () => show(false) };
  const begin = () => {
    document.body.append(place);
    if (configuration.open) show(true);
  };
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin);
})();
