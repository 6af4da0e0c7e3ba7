// One thread with a jsdom window for its globals and the client in it.

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parentPort, workerData } from "node:worker_threads";
import { JSDOM, VirtualConsole } from "jsdom";
import { BUILD, fragment, html, signedIn } from "./page.mjs";

const { origin, path, apiUrl, token } = workerData;
const tell = (kind, facts) => parentPort.postMessage({ kind, ...facts });

const silent = new VirtualConsole();
silent.on("jsdomError", (error) => tell("console", { type: "error", text: `jsdom: ${error.message}` }));
const dom = new JSDOM(html(apiUrl), {
  url: `${origin}${path}${fragment(origin)}`,
  pretendToBeVisual: true,
  virtualConsole: silent,
});
const { window } = dom;
window.localStorage.setItem(...signedIn(apiUrl, token));

// What browsers have and jsdom has not; nothing here is ever laid out.
class Unobserved {
  observe() {}
  unobserve() {}
  disconnect() {}
}
Object.assign(window, {
  ResizeObserver: Unobserved,
  IntersectionObserver: Unobserved,
  matchMedia: () => ({ matches: false, addEventListener() {}, removeEventListener() {} }),
});

// Node's own stay where they must fit together (fetch and its signals), where
// jsdom itself calls them, or are the language's.
const own = new Set(["setTimeout", "clearTimeout", "setInterval", "clearInterval", "queueMicrotask", "fetch", "Request", "Response", "Headers", "AbortController", "AbortSignal", "FormData", "Blob",
  "URL", "URLSearchParams", "console", "performance", "crypto", "globalThis", "undefined", "NaN", "Infinity"]);
const language = new Set(Object.getOwnPropertyNames(globalThis).filter((name) => /^[A-Z]/.test(name)
  && !/^(Event|EventTarget|CustomEvent|MessageEvent|MessageChannel|MessagePort|WebSocket|Navigator)$/.test(name)));
for (const name of Object.getOwnPropertyNames(window)) {
  if ((own.has(name) && name in globalThis) || language.has(name)) continue;
  Object.defineProperty(globalThis, name, { configurable: true, writable: true, value: window[name] });
}

globalThis.window = globalThis.self = window;
window.fetch = globalThis.fetch = ((fetch) => (url, init = {}) => {
  tell("request", { method: init.method ?? "GET", url: String(url), headers: Object.fromEntries(new Headers(init.headers)) });
  return fetch(url, { ...init, signal: undefined });
})(globalThis.fetch);
globalThis.WebSocket = class extends window.WebSocket {
  constructor(url, ...more) {
    super(url, ...more);
    tell("socket", { url: String(url) });
    this.addEventListener("message", ({ data }) => tell("received", { message: JSON.parse(data) }));
  }

  send(data) {
    tell("sent", { message: JSON.parse(data) });
    super.send(data);
  }
};
for (const type of ["log", "warn", "error"]) {
  console[type] = (...words) => tell("console", { type: type === "warn" ? "warning" : type, text: words.map(String).join(" ") });
}
new window.MutationObserver(() => tell("text", { text: window.document.body.textContent }))
  .observe(window.document.body, { childList: true, subtree: true, characterData: true });
parentPort.on("message", ({ press }) => {
  const named = (button) => new RegExp(press).test(button.title || button.getAttribute("aria-label") || button.textContent);
  [...window.document.querySelectorAll("button")].find(named)?.click();
});

await import(pathToFileURL(join(BUILD, "scripts/sidebar.bundle.js")).href);
