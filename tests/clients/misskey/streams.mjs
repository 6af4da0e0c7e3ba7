// The published client of Misskey, with an eye on its sockets.

import { WebSocket } from "ws";
import Stream from "misskey-js/streaming.js";
import { Diary, PATIENCE } from "../hypothesis/diary.mjs";

let settled = 0;

/**
 * A stream of the client, signed in with the token or a visitor's, and the
 * diary of its sockets. `origin` is where it connects, `host` the name of the
 * site there, which a proxy would pass on.
 */
export function stream(name, { origin, host, token }) {
  const diary = new Diary(name);
  class Watched extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { headers: { Host: host } });
      diary.note("socket", { url });
      // Noted once the client has had it.
      this.on("message", (data, isBinary) => queueMicrotask(() => diary.note("received", { text: data.toString(), isBinary })));
      this.on("close", (code) => diary.note("closed", { code }));
    }

    send(data, ...rest) {
      diary.note("sent", { text: data });
      super.send(data, ...rest);
    }
  }
  const client = new Stream(origin, token ? { token } : null, { WebSocket: Watched });
  for (const event of ["_connected_", "_disconnected_"]) client.on(event, () => diary.note(event, {}));
  return { diary, client };
}

/** Collects what a channel or stream emits under these names. */
export function collect(emitter, ...types) {
  const seen = [];
  for (const type of types) emitter.on(type, (body) => seen.push({ type, body }));
  return seen;
}

/** Waits until something holds that several streams have a part in. */
export async function until(what, holds) {
  const end = performance.now() + PATIENCE;
  while (!holds()) {
    if (end < performance.now()) throw new Error(`not within ${PATIENCE} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}

/** Waits until the gateway has acted on all that was sent. */
export async function settle({ diary, client }) {
  settled += 1;
  const id = `settled ${settled}`;
  client.send("connect", { channel: "reversiGame", id, params: { gameId: "settled" }, pong: true });
  await diary.until("it is told that all is settled", () => diary.all("received")
    .find(({ text }) => text === JSON.stringify({ type: "connected", body: { id } })));
  client.send("disconnect", { id });
}

/** The messages of a type that it sent since. */
export function sent(diary, since, type) {
  const texts = diary.since(since, "sent").map(({ text }) => text).filter((text) => text.startsWith("{"));
  return texts.map((text) => JSON.parse(text)).filter((message) => message.type === type).map(({ body }) => body)
    .filter(({ id }) => !id?.startsWith("settled"));
}
