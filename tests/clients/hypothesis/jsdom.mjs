// The client under jsdom, each in a thread of its own: it wants to be the only
// one among its globals.

import { Worker } from "node:worker_threads";
import { Diary, PATIENCE } from "./diary.mjs";

/** Opens the client at a path of a page of its own, signed in with the token. */
export async function inJsdom(name, { origin, path, apiUrl, token }) {
  const diary = new Diary(name);
  const workerData = { origin, path, apiUrl, token };
  const worker = new Worker(new URL("./jsdom-thread.mjs", import.meta.url), { workerData });
  let shown = "";
  worker.on("message", ({ kind, ...facts }) => {
    if (kind === "text") shown = facts.text;
    diary.note(kind, facts);
  });
  worker.on("error", (error) => diary.note("console", { type: "error", text: `uncaught: ${error.stack}` }));
  return {
    diary,
    shows: (text) => diary.until(`"${text}" is shown`, () => shown.includes(text), PATIENCE),
    press: (button) => worker.postMessage({ press: button.source }),
    close: () => worker.terminate(),
  };
}
