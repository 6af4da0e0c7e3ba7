// A thousand published clients of Misskey, unmodified, behind HAProxy; one of
// their gateways is killed.
//
//   node misskey-storm.mjs CLUSTER.json
//
// CLUSTER.json says where a running cluster is: "host" (the name of the site, and
// its bus), "redis" ("host:port"), "port" (where HAProxy may listen), "tokens"
// (one user each), and "gateways", each with "address" and "admin" ("host:port")
// and "pid"; the first is killed. Ends with status 1 if anybody is not back in
// time, asked too often for it, or
// misses what happens then; prints what it saw.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { openSync, readFileSync, unlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";
import Stream from "misskey-js/streaming.js";
import { redis } from "./misskey/redis.mjs";

/** All are back within this of the kill: seconds, but half a minute where two busy cores do everything. */
const BACK_WITHIN = 40_000;
/** Upgrades that a client may ask for in its first second without a socket. */
const MOST_UPGRADES = 3;
/** Everything else happens within this. */
const PATIENCE = 60_000;
const PROXY = fileURLToPath(new URL("../../deploy/local/haproxy.cfg", import.meta.url));

const [clusterFile] = process.argv.slice(2);
if (!clusterFile) {
  console.error("usage: node misskey-storm.mjs CLUSTER.json");
  process.exit(2);
}
const cluster = JSON.parse(readFileSync(clusterFile, "utf8"));
const store = redis(cluster.redis);
const pause = (millis) => new Promise((done) => setTimeout(done, millis));

async function until(what, within, holds) {
  const end = performance.now() + within;
  while (!holds()) {
    if (end < performance.now()) throw new Error(`not within ${within} ms: ${what}`);
    await pause(10);
  }
}

const { port } = cluster;
const [first, second] = cluster.gateways;
// A file, as a line that a pipe has no room for is lost.
const logFile = `${clusterFile}.log`;
const log = openSync(logFile, "w");
const proxy = spawn("haproxy", ["-db", "-f", PROXY], {
  // Where Debian has it, which is not on everybody's path.
  env: { PATH: `${process.env.PATH}:/usr/sbin`, LISTEN: `127.0.0.1:${port}`, GATEWAY_1: first.address, GATEWAY_2: second.address,
    GATEWAY_1_ADMIN: first.admin.split(":")[1], GATEWAY_2_ADMIN: second.admin.split(":")[1] },
  stdio: ["ignore", log, "inherit"],
});
proxy.on("exit", (status) => {
  console.error(`HAProxy ended with ${status}`);
  process.exit(1);
});
process.on("exit", () => {
  proxy.kill("SIGKILL");
  unlinkSync(logFile);
});

/** What HAProxy has seen since: which client asked for an upgrade when, and what came of it. */
function upgradesSince(moment) {
  const upgrades = [];
  for (const line of readFileSync(logFile, "utf8").split("\n")) {
    const [, at, server, status, client] = /^(\d+) \S+ (\S+) \S+ (\S+) .* t=(\d+)$/.exec(line) ?? [];
    if (client) upgrades.push({ at: Number(at), server, status, client });
    else if (line) console.log(`haproxy: ${line}`);
  }
  return upgrades.filter(({ at }) => moment <= at);
}

/** A socket that says which site it wants, as a name leads to it elsewhere. */
class Socket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { headers: { Host: cluster.host } });
    this.number = new URL(url).searchParams.get("_t");
  }
}

/** One user with a timeline and notifications. No two share their `_t`. */
async function person(token) {
  const began = Date.now();
  while (Date.now() === began) await pause(1);
  const self = { connected: 0, seen: [], number: undefined, lostAt: undefined, backAt: undefined };
  class Own extends Socket {
    constructor(...args) {
      super(...args);
      self.number = this.number;
    }
  }
  const stream = new Stream(`http://127.0.0.1:${port}`, { token }, { WebSocket: Own });
  stream.on("_connected_", () => {
    self.connected += 1;
    if (self.lostAt) self.backAt ??= Date.now();
  });
  stream.on("_disconnected_", () => { self.lostAt ??= Date.now(); });
  stream.useChannel("localTimeline", { withRenotes: true }).on("note", ({ id }) => self.seen.push(id));
  stream.useChannel("main");
  return self;
}

function note(id) {
  const user = { id: "f1", name: null, username: "f1", host: null, avatarUrl: "", avatarBlurhash: null, avatarDecorations: [],
    emojis: {}, onlineStatus: "unknown" };
  return { id, createdAt: new Date().toISOString(), userId: user.id, user, text: "Hello", cw: null, visibility: "public",
    localOnly: false, reactionAcceptance: null, renoteCount: 0, repliesCount: 0, reactionCount: 0, reactions: {},
    reactionEmojis: {}, reactionAndUserPairCache: [], fileIds: [], files: [], replyId: null, renoteId: null };
}

const people = [];
for (const token of cluster.tokens) people.push(await person(token));

/** Publishes notes until everybody has seen one. */
async function everybodySees(what) {
  const end = performance.now() + PATIENCE;
  for (let n = 1; performance.now() < end; n += 1) {
    const id = `${what} ${n}`;
    await store.run("PUBLISH", cluster.host, JSON.stringify({ channel: "notesStream", message: note(id) }));
    await pause(500);
    if (people.every(({ seen }) => seen.includes(id))) return;
  }
  const missing = people.filter(({ seen }) => !seen.some((id) => id.startsWith(what))).length;
  throw new Error(`${missing} see nothing of ${what}`);
}

await until("all are connected", PATIENCE, () => people.every(({ connected }) => 0 < connected));
await everybodySees("before");

const killedAt = Date.now();
process.kill(first.pid, "SIGKILL");
await until("the sockets of the gateway are lost", PATIENCE, () => people.some(({ lostAt }) => lostAt));
await until("all are back", BACK_WITHIN, () => people.every(({ lostAt, backAt }) => !lostAt || backAt));
const lost = people.filter(({ lostAt }) => lostAt);
await everybodySees("after");

const back = lost.map(({ backAt }) => backAt - killedAt).sort((a, b) => a - b);
const upgrades = upgradesSince(killedAt);
const tried = lost.map(({ number, lostAt }) => upgrades
  .filter(({ client, at }) => client === number && at <= lostAt + 1000).length);
const counts = {};
for (const count of tried) counts[count] = (counts[count] ?? 0) + 1;
const results = {};
for (const { server, status } of upgrades) {
  const result = `${server} ${status}`;
  results[result] = (results[result] ?? 0) + 1;
}
const figure = (share) => back[Math.floor((back.length - 1) * share)];
console.log(JSON.stringify({
  clients: people.length, lost: lost.length,
  backMillis: { half: figure(0.5), most: figure(0.99), all: figure(1) },
  upgradesInFirstSecond: counts, results,
}));
assert.ok(lost.length > people.length / 4, `only ${lost.length} had a socket there`);
assert.ok(figure(1) <= BACK_WITHIN, `the last was back after ${figure(1)} ms`);
assert.ok(Math.max(...tried) <= MOST_UPGRADES, `one asked ${Math.max(...tried)} times in a second`);
const unseen = lost.filter(({ number }) => !upgrades.some(({ client }) => client === number));
assert.equal(unseen.length, 0, "not every upgrade was seen");
assert.equal(people.filter(({ lostAt, connected }) => !lostAt && connected !== 1).length, 0, "who lost nothing stayed");
store.close();
process.exit(0);
