// Drives the pages of the api in a real browser, as a person would.
//
//   node try-it.mjs CLUSTER.json [FOLDER]
//
// CLUSTER.json says where a running cluster is: "api" (a URL) and "accessKey".
// Screenshots go to FOLDER, target/screenshots without it. Ends with status 1
// and says what did not happen if anything did not.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "./browser.mjs";

const PATIENCE = 15_000;

const [clusterFile, folder = defaultFolder()] = process.argv.slice(2);
if (!clusterFile) {
  console.error("usage: node try-it.mjs CLUSTER.json [FOLDER]");
  process.exit(2);
}
const cluster = JSON.parse(readFileSync(clusterFile, "utf8"));

function defaultFolder() {
  return join(dirname(fileURLToPath(import.meta.url)), "../../target/screenshots");
}

/** A page that notes everything a browser complains about or fetches elsewhere. */
async function visit(browser, path, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1240, height: 1000 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const complaints = [];
  let expected = [];
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    if (!expected.some((words) => message.text().includes(words))) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol.startsWith("http") && origin !== new URL(cluster.api).origin) {
      complaints.push(`fetched from elsewhere: ${request.url()}`);
    }
  });
  await page.goto(new URL(path, cluster.api).href);
  return {
    page,
    /** Chromium logs every failed request; these failures are part of the test. */
    expect: (...words) => { expected = words; },
    async done() {
      assert.deepEqual(complaints, [], "the browser complained");
      await context.close();
    },
  };
}

const steps = {
  async "a wrong key is refused in words"(browser) {
    const { page, expect, done } = await visit(browser, "/");
    expect("401");
    await page.getByLabel("Key of your tenant").fill("ck_wrong");
    await page.keyboard.press("Enter");
    await page.getByText("This access key is not valid.").waitFor();
    await done();
  },

  async "without a key the page says what is missing"(browser) {
    const { page, done } = await visit(browser, "/");
    await page.getByRole("button", { name: "Push message" }).click();
    await page.getByText("Enter an access key first.").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "key");
    await done();
  },

  async "a pushed message arrives and is delivered, by keyboard alone"(browser) {
    const { page, done } = await visit(browser, "/");
    const type = async (text) => page.keyboard.type(text);
    const tabTo = async (id) => {
      for (let presses = 0; presses < 40; presses += 1) {
        if (await page.evaluate((id) => document.activeElement?.id === id, id)) return;
        await page.keyboard.press("Tab");
      }
      assert.fail(`Tab does not reach #${id}`);
    };
    await tabTo("key");
    await type(cluster.accessKey);
    await page.keyboard.press("Enter");
    await page.getByText("Key accepted.").waitFor();
    await tabTo("recipient");
    await page.keyboard.press("Control+A");
    await type("keyboard user");
    await page.keyboard.press("Enter");
    await page.locator("#socket[data-state=open]").waitFor();
    await tabTo("message");
    await page.keyboard.press("Control+A");
    await type("hello by keyboard");
    await tabTo("to");
    await page.keyboard.press("Enter");
    await page.locator("#heard [data-kind=message]", { hasText: "hello by keyboard" }).waitFor();
    await pushed(page, "hello by keyboard", "DELIVERED");
    await page.getByText(/Message delivered, at/).waitFor({ state: "attached" });
    await done();
  },

  async "a message waits for its recipient and can be cancelled"(browser) {
    const { page, done } = await ready(browser, "later");
    await push(page, "early bird");
    await pushed(page, "early bird", "PENDING");
    await push(page, "never mind");
    await pushed(page, "never mind", "PENDING");
    await item(page, "never mind").getByRole("button", { name: /^Cancel message/ }).click();
    await pushed(page, "never mind", "CANCELLED");
    await connect(page);
    await page.locator("#heard [data-kind=message]", { hasText: "early bird" }).waitFor();
    await pushed(page, "early bird", "DELIVERED");
    assert.equal(await page.locator("#heard", { hasText: "never mind" }).count(), 0);
    await page.getByRole("button", { name: "Disconnect" }).click();
    await page.locator("#socket[data-state=closed]").waitFor();
    await done();
  },

  async "an unacknowledged message stays pending and comes again"(browser) {
    const { page, done } = await ready(browser, "careful");
    await page.getByRole("radio", { name: /JSON/ }).check();
    await page.getByRole("checkbox", { name: /Acknowledge/ }).uncheck();
    await connect(page);
    await push(page, "please acknowledge");
    const heard = page.locator("#heard [data-kind=message]", { hasText: "please acknowledge" });
    await heard.getByText("not acknowledged").waitFor();
    await pushed(page, "please acknowledge", "PENDING");
    await page.getByRole("button", { name: "Disconnect" }).click();
    await page.locator("#socket[data-state=closed]").waitFor();
    await page.getByRole("checkbox", { name: /Acknowledge/ }).check();
    await connect(page);
    await heard.nth(1).waitFor();
    await pushed(page, "please acknowledge", "DELIVERED");
    await done();
  },

  async "a topic keeps messages from sockets without it"(browser) {
    const { page, done } = await ready(browser, "labelled");
    await page.locator("#topic").fill("news");
    await connect(page);
    await page.locator("#push-topic").fill("sport");
    await push(page, "goal");
    await page.locator("#push-topic").fill("news");
    await push(page, "headline");
    await pushed(page, "headline", "DELIVERED");
    await pushed(page, "goal", "PENDING");
    await done();
  },

  async "a refused argument is told in words"(browser) {
    const { page, done } = await ready(browser, "long");
    await push(page, "x".repeat(70_000));
    await page.getByText(/more than this cluster allows. input.message: has 70000 bytes/).waitFor();
    await done();
  },

  async "the page can be read in the light, in the dark and on a phone"(browser) {
    const looks = {
      light: { colorScheme: "light" },
      dark: { colorScheme: "dark" },
      phone: { colorScheme: "light", viewport: { width: 390, height: 844 } },
    };
    for (const [look, options] of Object.entries(looks)) {
      const { page, done } = await visit(browser, "/", options);
      await page.screenshot({ path: join(folder, `try-it-${look}-first.png`), fullPage: true });
      await enter(page, `visitor-${look}`);
      await push(page, "Your export is ready: 1,204 invoices");
      await page.getByRole("radio", { name: /JSON/ }).check();
      await connect(page);
      await pushed(page, "Your export is ready", "DELIVERED");
      await push(page, "The quick brown fox jumps over the lazy dog");
      await pushed(page, "The quick brown fox", "DELIVERED");
      await page.getByRole("button", { name: "Disconnect" }).click();
      await page.locator("#socket[data-state=closed]").waitFor();
      await push(page, "Nobody listens any more");
      await pushed(page, "Nobody listens", "PENDING");
      const overflow = await page.evaluate(() => document.body.scrollWidth - window.innerWidth);
      assert.ok(overflow <= 0, `the page is ${overflow} px too wide`);
      await page.screenshot({ path: join(folder, `try-it-${look}.png`), fullPage: true });
      await done();
    }
  },

  async "the console works once a key is entered"(browser) {
    for (const look of ["light", "dark"]) {
      const { page, expect, done } = await visit(browser, "/graphql", { colorScheme: look });
      await page.getByText("Enter an access key to see the schema").waitFor();
      await page.screenshot({ path: join(folder, `console-${look}-first.png`) });
      expect("401");
      await page.getByLabel("Access key").fill("ck_wrong");
      await page.keyboard.press("Enter");
      await page.getByText("This key is not valid.").waitFor();
      expect();
      await page.getByLabel("Access key").fill(cluster.accessKey);
      await page.getByRole("button", { name: "Use key" }).click();
      const editor = page.locator(".graphiql-query-editor .CodeMirror");
      await editor.click();
      await page.keyboard.press("Control+A");
      await page.keyboard.type("query Version { vers");
      // Knows the schema: it offers to complete the name.
      await page.locator(".CodeMirror-hint", { hasText: "version" }).first().waitFor();
      await page.keyboard.press("Enter");
      // GraphiQL notes a moment later which operations the text has.
      await page.waitForFunction(() => localStorage["graphiql:tabState"]?.includes('"operationName":"Version"'));
      await page.keyboard.press("Control+Enter");
      await page.locator(".result-window", { hasText: /"version": "\d/ }).waitFor();
      await page.getByRole("button", { name: /Documentation Explorer/ }).click();
      await page.locator(".graphiql-doc-explorer", { hasText: "Mutation" }).waitFor();
      await page.screenshot({ path: join(folder, `console-${look}.png`) });
      await done();
    }
  },
};

async function enter(page, recipient) {
  await page.getByLabel("Key of your tenant").fill(cluster.accessKey);
  await page.getByRole("button", { name: "Use key" }).click();
  await page.getByText("Key accepted.").waitFor();
  await page.getByLabel("Name", { exact: true }).fill(recipient);
  await page.getByLabel("To recipient").fill(recipient);
}

/** A page whose key is entered and whose recipient is new. */
async function ready(browser, name) {
  const visited = await visit(browser, "/");
  await enter(visited.page, `${name}-${Date.now()}`);
  return visited;
}

async function connect(page) {
  await page.getByRole("button", { name: "Register and connect" }).click();
  await page.locator("#socket[data-state=open]").waitFor();
}

async function push(page, text) {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Push message" }).click();
  await page.locator("#push-result:not([data-kind=wait], :empty)").waitFor();
}

const item = (page, text) => page.locator("#pushed li", { hasText: text });

async function pushed(page, text, status) {
  await item(page, text).locator(`.badge[data-status=${status}]`).waitFor();
}

mkdirSync(folder, { recursive: true });
const browser = await launch();
let failed = 0;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step(browser);
    console.log(`ok: ${name}`);
  } catch (error) {
    failed += 1;
    console.error(`FAILED: ${name}\n${error.stack}`);
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
