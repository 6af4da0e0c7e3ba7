// Drives the published client of Misskey, unmodified, through a day of a
// cluster: notes and notifications come, a gateway is killed, another drained.
//
//   node misskey.mjs CLUSTER.json
//
// CLUSTER.json says where a running cluster is: "origin" (where clients
// connect), "host" (the name of the site, its bus and the prefix of its keys),
// "tenant", "redis" ("host:port"), "token" (of u1, who follows f1), and
// "gateways" (their process ids; new sockets go to the first that lives). Ends
// with status 1 and says what did not happen if anything did not.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { redis } from "./misskey/redis.mjs";
import { collect, sent, settle, stream, until } from "./misskey/streams.mjs";

/** A client whose socket was lost is back within this, on a busy machine too. */
const BACK_WITHIN = 15_000;

const [clusterFile] = process.argv.slice(2);
if (!clusterFile) {
  console.error("usage: node misskey.mjs CLUSTER.json");
  process.exit(2);
}
const cluster = JSON.parse(readFileSync(clusterFile, "utf8"));
const store = redis(cluster.redis);

/** Publishes as the Misskey does, on its bus. */
async function says(channel, message) {
  await store.run("PUBLISH", cluster.host, JSON.stringify({ channel, message }));
}

/** Publishes as a producer does who has no Misskey, on a topic of the cluster's own. */
async function produces(topic, type, body) {
  await store.run("PUBLISH", `carillon:c:${cluster.tenant}:${topic}`, JSON.stringify({ v: 1, type, body }));
}

function user(id) {
  return { id, name: null, username: id, host: null, avatarUrl: "", avatarBlurhash: null, avatarDecorations: [],
    emojis: {}, onlineStatus: "unknown" };
}

function note(id, author, more = {}) {
  return { id, createdAt: "2026-01-01T00:00:00.000Z", userId: author, user: user(author), text: `The text of ${id}`,
    cw: null, visibility: "public", localOnly: false, reactionAcceptance: null, renoteCount: 0, repliesCount: 0,
    reactionCount: 0, reactions: {}, reactionEmojis: {}, reactionAndUserPairCache: [], fileIds: [], files: [],
    replyId: null, renoteId: null, ...more };
}

function reacted(id) {
  return { type: "reacted", body: { id, userId: "f1", visibility: "public", visibleUserIds: [],
    body: { reaction: "👍", emoji: null, userId: "x1" } } };
}

const faults = [];
process.on("uncaughtException", (error) => faults.push(error));

const person = stream("u1", { ...cluster, token: cluster.token });
const visitor = stream("a visitor", { ...cluster, token: undefined });
const everybody = [person, visitor];
const each = (work) => Promise.all(everybody.map(work));

const ids = (seen) => seen.map(({ body }) => body.id);

/** What is open all day, and what it has shown. */
const open = {};

/** Somebody whom the person follows writes a note that all timelines show; they show nothing else. */
async function written(id) {
  const shown = [open.home, open.local, open.visitors];
  const before = shown.map(({ seen }) => seen.length);
  await says("notesStream", note(id, "f1"));
  await until(`all timelines show ${id}`, () => shown.every(({ seen }) => ids(seen).includes(id)));
  assert.deepEqual(shown.map(({ seen }, n) => ids(seen.slice(before[n]))), shown.map(() => [id]));
}

/** A gateway goes, and everybody is back on the next with the channels they had. */
async function away(gateway, signal, code, meanwhile) {
  const before = everybody.map(({ diary }) => diary.length);
  const lost = each(async ({ diary, client }) => {
    const since = before[everybody.findIndex((one) => one.diary === diary)];
    // On this very event it is offline: what is sent now waits.
    client.once("_disconnected_", () => meanwhile?.(client));
    const closed = await diary.until(`its socket is closed with ${code}`, () => diary.since(since, "closed")[0]);
    assert.equal(closed.code, code);
    const back = await diary.until("it is back", () => diary.since(since, "_connected_")[0]);
    const pause = Math.round(back.at - closed.at);
    assert.ok(pause <= BACK_WITHIN, `${diary.name} was back after ${pause} ms`);
    console.log(`   ${diary.name}: closed with ${code}, back after ${pause} ms`);
  });
  process.kill(cluster.gateways[gateway], signal);
  await lost;
  await each(settle);
  return before;
}

const steps = {
  async "the client and a visitor connect, and open channels"() {
    await each(({ diary }) => diary.until("it connects", () => diary.all("_connected_")[0]));
    const own = (client, name, params) => {
      const channel = client.useChannel(name, params);
      return { channel, seen: collect(channel, "note") };
    };
    open.home = own(person.client, "homeTimeline", { withRenotes: true, withFiles: undefined });
    open.local = own(person.client, "localTimeline", { withRenotes: true, withReplies: false });
    open.visitors = own(visitor.client, "localTimeline", undefined);
    open.main = ["one", "two"].map((name) => {
      const channel = person.client.useChannel("main", undefined, name);
      return { channel, seen: collect(channel, "notification", "mention", "readAllNotifications") };
    });
    // What needs a user is refused a visitor in silence.
    open.refused = collect(visitor.client.useChannel("main"), "notification");
    open.captured = collect(person.client, "noteUpdated");
    open.broadcast = everybody.map(({ client }) => collect(client, "emojiAdded"));
    await each(settle);
    const connects = sent(person.diary, 0, "connect");
    assert.deepEqual(connects.map(({ channel, id }) => [channel, id]),
      [["homeTimeline", "1"], ["localTimeline", "2"], ["main", "3"]]);
  },

  async "timelines show notes that are published on the bus, and each its own"() {
    await written("n1");
    await says("notesStream", note("n2", "f1", { visibility: "followers" }));
    await until("the home timeline shows it", () => ids(open.home.seen).includes("n2"));
    await written("n3");
    assert.deepEqual(ids(open.local.seen), ["n1", "n3"]);
  },

  async "a shared channel is open once, and everybody who uses it is told"() {
    await says("mainStream:u1", { type: "notification", body: { id: "x1", type: "follow", userId: "f1", user: user("f1") } });
    await says("mainStream:u1", { type: "readAllNotifications", body: null });
    await until("both are told", () => open.main.every(({ seen }) => seen.length === 2));
    for (const { seen } of open.main) {
      assert.deepEqual(seen.map(({ type }) => type), ["notification", "readAllNotifications"]);
      assert.equal(seen[1].body, null);
    }
  },

  async "a producer without a Misskey is heard as well"() {
    await produces("user:u1", "notification", { id: "x2", type: "test" });
    await until("both are told", () => open.main.every(({ seen }) => seen.at(-1).body?.id === "x2"));
    await produces("channel:notesStream", "note", note("n4", "f1"));
    await until("the home timeline shows it", () => ids(open.home.seen).includes("n4"));
  },

  async "what is broadcast reaches everybody"() {
    await says("broadcast", { type: "emojiAdded", body: { emoji: { id: "e1", name: "bell", aliases: [] } } });
    await until("all know the emoji", () => open.broadcast.every((seen) => seen.length === 1));
    assert.deepEqual(open.refused, []);
  },

  async "a captured note tells how it changes, until it is let go"() {
    person.client.send("sr", { id: "n1" });
    person.client.send("s", { id: "n2" });
    await settle(person);
    await says("noteStream:n1", reacted("n1"));
    await until("it is told", () => open.captured.length === 1);
    assert.deepEqual(open.captured[0].body, { id: "n1", type: "reacted",
      body: { reaction: "👍", emoji: null, userId: "x1" } });
    person.client.send("un", { id: "n1" });
    await settle(person);
    await says("noteStream:n1", reacted("n1"));
    await says("noteStream:n2", reacted("n2"));
    await until("it is told of the other", () => open.captured.length === 2);
    assert.equal(open.captured[1].body.id, "n2");
  },

  async "what is read in a chat is marked read"() {
    const key = `${cluster.host}:newUserChatMessageExists:u1:f1`;
    await store.run("SET", key, "1");
    const chat = person.client.useChannel("chatUser", { otherId: "f1" });
    const seen = collect(chat, "message");
    await settle(person);
    await says("chatUserStream:u1-f1", { type: "message", body: { id: "c1", fromUserId: "f1" } });
    await until("the message is shown", () => seen.length === 1);
    chat.send("read", { id: "c1" });
    while (await store.run("GET", key) !== null) await settle(person);
    chat.dispose();
  },

  async "raw texts are no messages, and are not answered"() {
    const since = person.diary.length;
    person.client.heartbeat();
    person.client.ping();
    await settle(person);
    assert.equal(person.diary.since(since, "received").length, 1);
  },

  async "a gateway is killed, and everybody is back with the channels they had"() {
    let opened;
    const before = await away(0, "SIGKILL", 1006, (client) => {
      if (client !== person.client || opened) return;
      const channel = client.useChannel("globalTimeline", { withRenotes: true });
      opened = { channel, seen: collect(channel, "note") };
    });
    // Opened while offline, it is connected from the queue and again with the others.
    const connects = sent(person.diary, before[0], "connect");
    const again = connects.filter(({ channel }) => channel === "globalTimeline").map(({ id }) => id);
    assert.deepEqual(again, [opened.channel.id, opened.channel.id]);
    const old = connects.filter(({ channel }) => channel !== "globalTimeline").map(({ id }) => id);
    assert.deepEqual(old.sort(), ["1", "2", "3"]);
    await written("n5");
    await until("what was opened offline shows it", () => opened.seen.length > 0);
    await written("n6");
    await until("and shows it once", () => ids(opened.seen).includes("n6"));
    assert.deepEqual(ids(opened.seen), ["n5", "n6"]);
    opened.channel.dispose();
  },

  async "captures are gone with the socket, until the client captures again"() {
    const known = open.captured.length;
    await says("noteStream:n2", reacted("n2"));
    person.client.send("sr", { id: "n5" });
    await settle(person);
    await says("noteStream:n5", reacted("n5"));
    await until("it is told", () => known < open.captured.length);
    assert.deepEqual(open.captured.slice(known).map(({ body }) => body.id), ["n5"]);
  },

  async "a gateway is drained, and everybody is back with the channels they had"() {
    await away(1, "SIGTERM", 1012);
    await written("n7");
    await says("mainStream:u1", { type: "mention", body: note("n8", "f1", { mentions: ["u1"] }) });
    await until("both are told", () => open.main.every(({ seen }) => seen.at(-1).body?.id === "n8"));
  },

  async "a channel that nobody uses any more is closed: its own at once, a shared one after a while"() {
    const since = person.diary.length;
    open.local.channel.dispose();
    open.main[0].channel.dispose();
    open.main[1].channel.dispose();
    await until("both are closed", () => sent(person.diary, since, "disconnect").length === 2);
    assert.deepEqual(sent(person.diary, since, "disconnect").map(({ id }) => id), ["2", "3"]);
    await settle(person);
    const [shown, frames] = [open.local.seen.length, person.diary.length];
    await says("mainStream:u1", { type: "readAllNotifications", body: null });
    await says("notesStream", note("n9", "f1"));
    await until("the home timeline shows it", () => ids(open.home.seen).includes("n9"));
    await settle(person);
    assert.equal(open.local.seen.length, shown);
    const received = person.diary.since(frames, "received").map(({ text }) => JSON.parse(text));
    assert.deepEqual(received.filter(({ type }) => type === "channel").map(({ body }) => body.id), ["1"]);
  },

  async "nothing came that the client cannot read"() {
    for (const { diary } of everybody) {
      for (const { text, isBinary } of diary.all("received")) {
        assert.equal(isBinary, false);
        assert.equal(typeof JSON.parse(text).type, "string", text);
      }
    }
    assert.deepEqual(faults, []);
  },
};

let failed = 0;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    console.log(`ok: ${name}`);
  } catch (error) {
    failed += 1;
    const last = everybody.flatMap(({ diary }) => diary.last(20).map((event) => `${diary.name}: ${JSON.stringify(event)}`));
    console.error(`FAILED: ${name}\n${error.stack}\n${last.join("\n")}`);
    break;
  }
}
for (const { client } of everybody) client.close();
store.close();
process.exit(failed ? 1 : 0);
