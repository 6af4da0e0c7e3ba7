// The client in a real browser, where another origin is another origin.

import { Diary, PATIENCE } from "./diary.mjs";
import { fragment, signedIn } from "./page.mjs";

/** Opens the client at a path of our page, signed in with the token. */
export async function inChromium(browser, name, { origin, path, apiUrl, token }) {
  const diary = new Diary(name);
  const context = await browser.newContext({ viewport: { width: 900, height: 900 } });
  await context.addInitScript(([key, value]) => localStorage.setItem(key, value), signedIn(apiUrl, token));
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("console", (message) => diary.note("console", { type: message.type(), text: message.text() }));
  page.on("pageerror", (error) => diary.note("console", { type: "error", text: `uncaught: ${error.message}` }));
  page.on("request", (request) => {
    const headers = request.headers();
    diary.note("request", { method: request.method(), url: request.url(), headers });
  });
  page.on("websocket", (socket) => {
    diary.note("socket", { url: socket.url() });
    socket.on("framesent", ({ payload }) => diary.note("sent", { message: JSON.parse(payload) }));
    socket.on("framereceived", ({ payload }) => diary.note("received", { message: JSON.parse(payload) }));
  });
  await page.goto(`${origin}${path}${fragment(origin)}`);
  return {
    diary,
    shows: (text) => page.getByText(text).first().waitFor(),
    press: (button) => page.getByRole("button", { name: button }).first().click(),
    /** Replies as a person does, to whatever is shown first. */
    async reply(text) {
      await page.getByRole("button", { name: "Reply" }).first().click();
      await page.getByRole("textbox", { name: /reply|comment/i }).first().fill(text);
      await page.getByRole("button", { name: /^Post/ }).first().click();
    },
    screenshot: (file) => page.screenshot({ path: file, fullPage: true }),
    close: () => context.close(),
  };
}
