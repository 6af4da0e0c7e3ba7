// As much of a Redis client as publishing needs.

import { connect } from "node:net";

/** A connection to "host:port": a function that runs one command, and its end. */
export function redis(address) {
  const [host, port] = address.split(":");
  const socket = connect(Number(port), host);
  socket.setNoDelay();
  socket.setEncoding("utf8");
  const waiting = [];
  let unread = "";
  socket.on("data", (text) => {
    unread += text;
    for (let reply = next(); reply; reply = next()) waiting.shift()(reply.value);
  });

  /** Takes one whole reply from what is unread: a line, or a string with its length before it. */
  function next() {
    const end = unread.indexOf("\r\n");
    if (end < 0) return undefined;
    const [kind, line] = [unread[0], unread.slice(1, end)];
    let length = end + 2;
    let value = line;
    if (kind === "-") throw new Error(`Redis says ${line}`);
    if (kind === ":") value = Number(line);
    if (kind === "$") {
      const bytes = Number(line);
      value = bytes < 0 ? null : unread.slice(length, length + bytes);
      length += bytes < 0 ? 0 : bytes + 2;
      if (unread.length < length) return undefined;
    }
    unread = unread.slice(length);
    return { value };
  }

  const run = (...words) => new Promise((done) => {
    waiting.push(done);
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    socket.write(`*${words.length}\r\n${parts.join("")}`);
  });
  return { run, close: () => socket.destroy() };
}
