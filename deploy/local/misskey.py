#!/usr/bin/env python3
"""Shows the Misskey protocol on a running cluster (`make misskey`, beside `make run`).

There is no Misskey: a producer publishes on topics of the cluster's own. Ben, who
follows Ada, has his home timeline open on one gateway; Ada writes a note and
somebody reacts to it; everything that Ben's socket hears is printed. Ben is a user
made for the occasion, with an access token that ends after an hour.
"""

import json
import socket
from datetime import datetime, timezone
from urllib.parse import urlsplit

from client import PATIENCE, Socket, the_cluster, token_of


class Redis:
    """As much of a client of Redis as publishing needs."""

    def __init__(self, url):
        at = urlsplit(url)
        self.tcp = socket.create_connection((at.hostname, at.port), PATIENCE)
        self.lines = self.tcp.makefile("rb")

    def run(self, *words):
        words = [word.encode() for word in words]
        parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self.tcp.sendall(b"*%d\r\n" % len(words) + b"".join(parts))
        return self.lines.readline().decode().strip()


def main():
    cluster = the_cluster()
    redis = Redis(cluster["redis"])
    redis.run("SET", "demo:kvcache:userFollowings:ben", json.dumps({"ada": {}}))
    listening = Socket(cluster["gateways"][-1], "/streaming", token_of(cluster, "Ben"))
    for number, name in enumerate(("main", "homeTimeline"), 1):
        body = {"channel": name, "id": str(number), "pong": True}
        listening.say({"type": "connect", "body": body})
        listening.hear()
    print("Ben has opened main as 1 and homeTimeline as 2.")

    def publish(topic, kind, body):
        frame = {"v": 1, "type": kind, "body": body}
        redis.run("PUBLISH", f"carillon:c:demo:{topic}", json.dumps(frame))

    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    ada = {"id": "ada", "username": "ada", "host": None}
    note = {
        "id": "n1",
        "createdAt": now,
        "userId": "ada",
        "user": ada,
        "text": "Hello, Ben",
        "visibility": "followers",
    }
    publish("channel:notesStream", "note", note)
    show("Ada writes a note to her followers", listening)
    follow = {"id": "x1", "createdAt": now, "type": "follow", "userId": "ada", "user": ada}
    publish("user:ben", "notification", follow)
    show("Ada follows Ben", listening)

    listening.say({"type": "s", "body": {"id": "n1"}})
    # Answered once the capture holds.
    listening.say({"type": "connect", "body": {"channel": "localTimeline", "id": "3", "pong": True}})
    listening.hear()
    reacted = {"reaction": "🔔", "emoji": None, "userId": "carol"}
    seen_by = {"id": "n1", "userId": "ada", "visibility": "followers", "visibleUserIds": []}
    publish("note:n1", "reacted", {**seen_by, "body": reacted})
    show("Somebody reacts to the note, which Ben has captured", listening)


def show(what, listening):
    print(f"{what}; Ben hears:\n  {json.dumps(listening.hear(), ensure_ascii=False)}")


if __name__ == "__main__":
    main()
