// Drives the published client of Hypothesis, unmodified, through a day of a
// cluster: people reply, a gateway is drained, another is killed.
//
//   node hypothesis.mjs CLUSTER.json [FOLDER]
//
// CLUSTER.json says where a running cluster is and who takes part: "api" (the URL
// that clients are given), "reader" and "writer" (access tokens), "readerId" (a
// userid), "gateways" (the process ids; new sockets go to the first that lives).
// Screenshots go to FOLDER, target/screenshots without it. Ends with status 1
// and says what did not happen if anything did not.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "./browser.mjs";
import { inChromium } from "./hypothesis/chromium.mjs";
import { inJsdom } from "./hypothesis/jsdom.mjs";
import { serve } from "./hypothesis/page.mjs";

/** A client whose socket was closed comes back within this; its first pause is 2 s, the machine busy. */
const BACK_WITHIN = 15_000;
/** A client that lost its socket opens another after 2 s. What it does is noted a moment later. */
const FIRST_PAUSE = 1_500;

const [clusterFile, folder = join(dirname(fileURLToPath(import.meta.url)), "../../target/screenshots")] = process.argv.slice(2);
if (!clusterFile) {
  console.error("usage: node hypothesis.mjs CLUSTER.json [FOLDER]");
  process.exit(2);
}
const cluster = JSON.parse(readFileSync(clusterFile, "utf8"));
mkdirSync(folder, { recursive: true });

/** How many annotations there are. */
let written = 0;

/** Annotates as the writer, who has no client open. */
async function annotate(annotation) {
  written += 1;
  const response = await fetch(new URL("annotations", cluster.api), {
    method: "POST",
    headers: { Authorization: `Bearer ${cluster.writer}`, "Content-Type": "application/json" },
    body: JSON.stringify({ group: "__world__", permissions: { read: ["group:__world__"] }, ...annotation }),
  });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
}

const uri = "https://docs.example/real-clients";
const root = await annotate({ uri, text: "What is annotated here" });

const site = await serve(cluster.api);
const browser = await launch();
const at = (path) => ({ origin: site.origin, path, apiUrl: cluster.api, token: cluster.reader });
const thread = `/a/${root.id}`;
const clients = await Promise.all([
  inJsdom("jsdom, thread", at(thread)),
  inJsdom("jsdom, notebook", at("/notebook")),
  inChromium(browser, "Chromium, thread", at(thread)),
  inChromium(browser, "Chromium, notebook", at("/notebook")),
]);
const threads = clients.filter(({ diary }) => diary.name.endsWith("thread"));
const notebooks = clients.filter(({ diary }) => diary.name.endsWith("notebook"));
const each = (some, work) => Promise.all(some.map(work));

/** The messages by which a client says who it is and what it wants. */
function configuration(diary, since) {
  const sent = diary.since(since, "sent").map(({ message }) => message);
  const filters = sent.filter((message) => message.filter);
  const ids = sent.filter((message) => message.messageType === "client_id");
  const questions = sent.filter((message) => message.type === "whoami");
  const complete = filters.length > 0 && ids.length > 0 && questions.length > 0;
  return complete && { sent, filter: filters.at(-1).filter, clientId: ids[0].value };
}

/** Waits until the client has said so and been told who it is. */
async function settled({ diary }, since) {
  const said = await diary.until("it sends its configuration", () => configuration(diary, since));
  const told = await diary.until("it is told who it is", () => diary.since(since, "received")
    .find(({ message }) => message.type === "whoyouare"));
  assert.deepEqual(told.message, { type: "whoyouare", userid: cluster.readerId, ok: true, reply_to: 1 });
  return said;
}

/** How sockets were lost, as the client sees it. */
const losses = (diary, since) => diary.since(since, "console")
  .filter(({ text }) => text.includes("WebSocket closed abnormally"));

/**
 * Waits until no client is about to open another socket by itself. One that learns who its user is while it connects
 * gives up that socket for another; and as it takes the first for lost, it gives up the second for a third later.
 */
async function calm() {
  await each(clients, async ({ diary }) => {
    await diary.until("it is back from all it lost", () => losses(diary, 0)
      .every((lost) => diary.all("socket").some(({ at }) => lost.at + FIRST_PAUSE < at)));
    await diary.until("its last socket is heard", () => diary.all("received")
      .some(({ at, message }) => message.type === "whoyouare" && diary.all("socket").at(-1).at < at));
  });
}

/** Takes a gateway away from all clients and waits until they are back. */
async function away(gateway, signal, code) {
  const before = clients.map(({ diary }) => [diary.length, configuration(diary, 0)]);
  process.kill(cluster.gateways[gateway], signal);
  await each(clients, async (client) => {
    const { diary } = client;
    const [since, known] = before[clients.indexOf(client)];
    const closed = await diary.until(`its socket is closed with ${code}`, () => diary.since(since, "console")
      .find(({ text }) => text.includes(`WebSocket closed abnormally, code: ${code}`)));
    const opened = await diary.until("it comes back", () => diary.since(since, "socket")[0]);
    const said = await settled(client, since);
    const pause = Math.round(diary.since(since, "received")[0].at - closed.at);
    assert.ok(pause <= BACK_WITHIN, `${diary.name}: it came back after ${pause} ms`);
    assert.ok(opened.url.startsWith(diary.all("socket")[0].url.split("?")[0]), opened.url);
    assert.deepEqual([said.filter, said.clientId], [known.filter, known.clientId]);
    console.log(`   ${diary.name}: closed with ${code}, back after ${pause} ms`);
  });
}

/** Somebody replies and writes a note as soon as no client has a socket; those who come back hear of it, once. */
async function missed(time) {
  const gone = clients.map(({ diary }) => diary.length);
  await Promise.all(clients.map(({ diary }, at) => diary.until("its socket is closed", () => losses(diary, gone[at])[0])));
  const text = `The reply that nobody heard (${time})`;
  const { id } = await annotate({ uri, text, references: [root.id] });
  const noted = await annotate({ uri, text: `The note that nobody heard (${time})` });
  const heard = (diary, at, about) => diary.since(gone[at], "received")
    .filter(({ message }) => message.type === "annotation-notification" && message.payload[0].id === about);
  return () => each(clients, async (client) => {
    const at = clients.indexOf(client);
    const about = threads.includes(client) ? id : noted.id;
    await client.diary.until(`it hears of ${about}`, () => heard(client.diary, at, about)[0]);
    if (threads.includes(client)) await client.shows(text);
    else await client.press(/update/i);
    assert.equal(heard(client.diary, at, about).length, 1, `${client.diary.name}: twice`);
  });
}

const requested = (diary) => diary.all("request")
  .filter(({ url, method }) => url.startsWith(cluster.api) && method !== "OPTIONS")
  .map(({ method, url }) => `${method} ${decodeURIComponent(url.slice(cluster.api.length))}`);

const steps = {
  async "the client finds everything through the api"() {
    await each(clients, (client) => settled(client, 0));
    await each(clients, async ({ diary }) => {
      const wanted = ["GET ", "GET links", "GET profile", "GET profile/groups?expand=organization&expand=scopes",
        "GET groups?expand=organization&expand=scopes"];
      if (diary.name.endsWith("thread")) {
        wanted.push(`GET annotations/${root.id}`, `GET search?references=${root.id}`);
      } else {
        wanted.push("GET search?limit=50&sort=updated&order=desc&_separate_replies=false&group=__world__");
      }
      for (const request of wanted) {
        assert.ok(requested(diary).includes(request), `${diary.name}: ${request} is not among\n${requested(diary).join("\n")}`);
      }
      for (const { url, headers } of diary.all("request")) {
        if (!url.startsWith(cluster.api) || [cluster.api, `${cluster.api}links`].includes(url)) continue;
        if (!headers["x-client-id"]) continue;
        assert.equal(headers.authorization, `Bearer ${cluster.reader}`, url);
      }
    });
  },

  async "it says what it wants, who it is, and asks whether it is"() {
    for (const { diary } of clients) {
      const { sent, clientId, filter } = configuration(diary, 0);
      assert.match(clientId, /^[0-9a-f]{32}$/);
      const others = sent.filter((message) => !message.filter);
      assert.deepEqual(others, [{ messageType: "client_id", value: clientId }, { type: "whoami", id: 1 }]);
      assert.equal(filter.match_policy, "include_any");
      // A thread that is loaded again, as on signing in, is asked for again.
      const clauses = new Set(filter.clauses.map(({ field, value }) => `${field} ${value}`));
      const wanted = threads.some((client) => client.diary === diary)
        ? [`/references ${root.id}`, `/id ${root.id}`] : ["/group __world__"];
      assert.deepEqual([...clauses], wanted);
    }
    await each(clients, ({ shows }) => shows("What is annotated here"));
  },

  async "a reply is shown without a reload"() {
    await told("while all is well");
    for (const client of threads) await client.screenshot?.(join(folder, "hypothesis-thread.png"));
  },

  async "what a person replies in one client is shown in the others, and comes back to none"() {
    const text = "A reply from the client itself";
    const [author] = threads.filter(({ reply }) => reply);
    await author.reply(text);
    written += 1;
    await each(threads, ({ shows }) => shows(text));
    // What happens later comes later: then it would have come.
    await told("after a reply");
    const heard = ({ diary }) => diary.all("received").filter(({ message }) => message.payload?.[0].text === text).length;
    assert.deepEqual(clients.map(heard), clients.map((client) => (client === author ? 0 : 1)));
  },

  async "a gateway is drained, and everybody is back on another"() {
    await calm();
    const [hear] = await Promise.all([missed(1), away(0, "SIGTERM", 1012)]);
    await hear();
    await told("after the drain");
  },

  async "a gateway is killed, and everybody is back on another"() {
    await calm();
    const [hear] = await Promise.all([missed(2), away(1, "SIGKILL", 1006)]);
    await hear();
    await told("after the kill");
    for (const client of threads) await client.screenshot?.(join(folder, "hypothesis-thread-after.png"));
    for (const client of notebooks) await client.screenshot?.(join(folder, "hypothesis-notebook.png"));
  },

  async "the client has nothing else to complain about"() {
    const lost = [/WebSocket closed abnormally, code: (1012|1006)/];
    // Of a socket that it gives up before it has been heard on one.
    const early = [/Error connecting to H push notification service/, /Check that your H service is configured/];
    const known = ({ at, text }, heard) => [...lost, ...(at < heard ? early : [])].some((words) => words.test(text));
    const complaints = clients.flatMap(({ diary }) => diary.all("console")
      .filter((said) => said.type !== "log" && !known(said, diary.all("received")[0].at))
      .map(({ type, text }) => `${diary.name}: ${type}: ${text}`));
    assert.deepEqual(complaints, []);
  },
};

/** Somebody else replies, and writes a note: threads show the one, notebooks offer the other. */
async function told(what) {
  const asked = clients.map(({ diary }) => requested(diary).filter((request) => request.startsWith("GET")).length);
  const answer = `The reply ${what}`;
  const { id } = await annotate({ uri, text: answer, references: [root.id] });
  const noted = await annotate({ uri, text: `The note ${what}` });
  const hears = ({ diary }, id) => diary.until(`it hears of ${id}`, () => diary.all("received")
    .find(({ message }) => message.type === "annotation-notification" && message.payload[0].id === id));
  await each(threads, async (client) => {
    await hears(client, id);
    await client.shows(answer);
  });
  await each(notebooks, async (client) => {
    await hears(client, noted.id);
    await client.press(/update/i);
    // A long list is shown in part; how long it is, is shown whole.
    await client.shows(`(${written} annotations)`);
  });
  const fetched = clients.map(({ diary }) => requested(diary).filter((request) => request.startsWith("GET")).length);
  assert.deepEqual(fetched, asked, "a client asked the api for more");
}

let failed = 0;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    console.log(`ok: ${name}`);
  } catch (error) {
    failed += 1;
    console.error(`FAILED: ${name}\n${error.stack}`);
    break;
  }
}
await each(clients, ({ close }) => close());
await browser.close();
site.close();
process.exit(failed ? 1 : 0);
