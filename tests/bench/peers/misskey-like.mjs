// A streaming server built the way Misskey's is, for the benchmark to measure
// beside the gateway: a message of the bus is parsed once, then every socket has
// a listener that looks whether it concerns it, every timeline its own filter,
// and every recipient its own serialisation.
//
//   node misskey-like.mjs PORT REDIS_URL HOST
//
// A socket's token (`?i=`) is its user's id. Relations are looked up every ten
// seconds for each socket, and read once a minute for each user, from the keys in
// which a Misskey caches them. It knows the channels `main` and `homeTimeline`,
// and no more of the protocol than the benchmark speaks.

import { EventEmitter } from "node:events";
import { createServer } from "node:http";
import { Redis } from "ioredis";
import { WebSocketServer } from "ws";

// Whoever measures it holds the other end, and may be killed.
process.stdin.on("end", () => process.exit()).resume();

const [port, url, host] = process.argv.slice(2);
const store = new Redis(url);
const subscriber = new Redis(url);

const bus = new EventEmitter();
bus.setMaxListeners(0);
subscriber.on("message", (_, text) => bus.emit("message", JSON.parse(text)));
await subscriber.subscribe(host);

/** Milliseconds after which what a socket knows is looked up again. */
const LOOK_AGAIN = 10_000;
/** Milliseconds for which what Redis said is believed. */
const BELIEVED = 60_000;
const ids = (text) => new Set(JSON.parse(text ?? "[]"));
const object = (text) => JSON.parse(text ?? "{}");

const kept = new Map();

/** What a cache of this name holds of a user. */
async function cached(name, user, read) {
  const key = `${host}:kvcache:${name}:${user}`;
  const known = kept.get(key);
  if (known && Date.now() - known.at < BELIEVED) {
    return known.value;
  }
  const value = read(await store.get(key));
  kept.set(key, { at: Date.now(), value });
  return value;
}

/** Whom a user follows and mutes. */
async function relations(id) {
  const [following, muting, blockedBy, mutedRenotes, channels, mutedChannels, profile] =
    await Promise.all([
      cached("userFollowings", id, object),
      cached("userMutings", id, ids),
      cached("userBlocked", id, ids),
      cached("renoteMutings", id, ids),
      cached("userFollowingChannels", id, ids),
      cached("channelMutingChannels", id, ids),
      cached("userProfile", id, object),
    ]);
  return { following, muting, blockedBy, mutedRenotes, channels, mutedChannels, profile };
}

const others = (note) => [note.reply, note.renote].filter((other) => other != null);

const concerns = (note, users) =>
  users.has(note.userId) || others(note).some((other) => users.has(other.userId));

const fromHosts = (note, hosts) =>
  [note, ...others(note)].some((one) => hosts.has(one.user?.host ?? ""));

function isPureRenote(note) {
  const says = [note.text, note.cw, note.replyId, note.poll].some((part) => part != null);
  return note.renoteId != null && !says && !note.fileIds?.length;
}

function isVisible(note, me) {
  switch (note.visibility) {
    case "public":
    case "home":
      return true;
    case "followers":
      return (
        note.userId === me.id ||
        note.reply?.userId === me.id ||
        (note.mentions ?? []).includes(me.id) ||
        Object.hasOwn(me.following, note.userId)
      );
    default:
      return note.userId === me.id || (note.visibleUserIds ?? []).includes(me.id);
  }
}

function isMuted(note, me) {
  return (
    fromHosts(note, new Set(me.profile.mutedInstances)) ||
    concerns(note, me.muting) ||
    concerns(note, me.blockedBy) ||
    (isPureRenote(note) && me.mutedRenotes.has(note.userId)) ||
    (note.channelId != null && me.mutedChannels.has(note.channelId))
  );
}

function takesReply(note, me) {
  const { reply } = note;
  if (reply == null) {
    return true;
  }
  const mine = reply.userId === me.id;
  if (me.following[note.userId]?.withReplies) {
    return reply.visibility !== "followers" || mine || Object.hasOwn(me.following, reply.userId);
  }
  return mine || note.userId === me.id || reply.userId === note.userId;
}

/** Whether somebody's home timeline shows a note. */
function isAtHome(note, me) {
  const near =
    note.channelId != null
      ? me.channels.has(note.channelId)
      : note.userId === me.id || Object.hasOwn(me.following, note.userId);
  return near && isVisible(note, me) && takesReply(note, me) && !isMuted(note, me);
}

/** The channels that can be opened: what each listens to, and what it tells. */
const CHANNELS = {
  main: (me) => [`mainStream:${me.id}`, (event, tell) => tell(event.type, event.body)],
  homeTimeline: (me) => [
    "notesStream",
    (note, tell) => {
      if (isAtHome(note, me)) {
        tell("note", note);
      }
    },
  ],
};

function serve(socket, me) {
  const topics = new EventEmitter();
  const pass = ({ channel, message }) => topics.emit(channel, message);
  const send = (type, body) => socket.send(JSON.stringify({ type, body }));
  bus.on("message", pass);
  const timer = setInterval(async () => Object.assign(me, await relations(me.id)), LOOK_AGAIN);
  socket.on("close", () => {
    bus.off("message", pass);
    clearInterval(timer);
  });
  socket.on("message", (text) => {
    const { type, body } = JSON.parse(text);
    const open = type === "connect" && CHANNELS[body.channel];
    if (!open) {
      return;
    }
    const [topic, hear] = open(me);
    const tell = (kind, told) => send("channel", { id: body.id, type: kind, body: told });
    topics.on(topic, (message) => hear(message, tell));
    if (body.pong) {
      send("connected", { id: body.id });
    }
  });
}

const server = createServer((_, response) => response.writeHead(503).end());
const sockets = new WebSocketServer({ noServer: true });
server.on("upgrade", async (request, stream, head) => {
  const id = new URL(request.url, "http://here").searchParams.get("i");
  const me = { id, ...(await relations(id)) };
  sockets.handleUpgrade(request, stream, head, (socket) => serve(socket, me));
});
server.listen(Number(port), "127.0.0.1");
