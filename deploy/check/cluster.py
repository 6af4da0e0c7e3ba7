"""A small cluster that does a little of everything, for what has to see real metrics.

Like `make run`, in a folder and on ports of its own, with fewer delays. Some sockets
of each protocol are open, messages are pushed, and a few things go wrong on purpose.
"""

import json
import os
import socket
import struct
import sys
import threading
import time
import urllib.error
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "local"))

import client  # noqa: E402
import run  # noqa: E402

SOCKETS = 12  # of each protocol
BUS = "social.example"
TAB = "one-tab"  # in which every second annotation is made


def small_cluster(folder, binaries):
    """A cluster of these binaries, whose data and logs are in this folder; not started yet."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    run.RUN, run.BIN = folder, Path(binaries).resolve()
    run.CLUSTER, run.PIDS = folder / "cluster.json", folder / "pids.json"
    client.CLUSTER = run.CLUSTER
    os.environ["CARILLON_MISSKEY_HOSTS"] = f"*=demo bus={BUS} prefix=demo"
    os.environ["CARILLON_GATEWAY_MAX_CONNECTIONS"] = "200"
    os.environ["CARILLON_GATEWAY_MAX_QUEUE"] = "64KiB"
    os.environ["CARILLON_GATEWAY_ACCEPT_RATE"] = "20"
    os.environ["CARILLON_MEMORY_LIMIT"] = "256MiB"
    os.environ["CARILLON_DRAIN_WINDOW"] = "5s"
    os.environ["CARILLON_LOG"] = "warn"
    return run.Cluster()


class Redis:
    """As much of a client of Redis as this needs."""

    def __init__(self, url):
        at = urlsplit(url)
        self.tcp = socket.create_connection((at.hostname, at.port), client.PATIENCE)
        self.lines = self.tcp.makefile("rb")

    def run(self, *words):
        words = [word.encode() for word in words]
        parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self.tcp.sendall(b"*%d\r\n" % len(words) + b"".join(parts))
        answer = self.lines.readline().decode().strip()
        if answer.startswith("-"):
            raise OSError(answer)
        if answer.startswith("$"):
            self.lines.read(int(answer[1:]) + 2)
        return answer


class Listener(threading.Thread):
    """A socket that is read until it ends, or is never read."""

    def __init__(self, gateway, path, token="", says=(), reads=True):
        super().__init__(daemon=True)
        self.socket = client.Socket(gateway, path, token)
        for message in says:
            self.socket.say(message)
        if reads:
            self.start()

    def run(self):
        tcp, data = self.socket.tcp, self.socket.bytes
        tcp.settimeout(None)
        try:
            while head := data.read(2):
                length = head[1]
                if length == 126:
                    (length,) = struct.unpack("!H", data.read(2))
                elif length == 127:
                    (length,) = struct.unpack("!Q", data.read(8))
                body = data.read(length)
                if head[0] & 0xF == 9:
                    mask = bytes(4)
                    tcp.sendall(bytes([0x8A, 0x80 | len(body)]) + mask + body)
        except (OSError, ValueError):
            pass

    def close(self):
        try:
            self.socket.tcp.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Users:
    """Everybody who uses the cluster."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.facts = client.the_cluster()
        self.gateways = self.facts["gateways"]
        self.connect()
        self.listeners = []
        self.count = 0
        self.tokens = {name: client.token_of(self.facts, name) for name in ("Ada", "Ben")}
        # Ben sees what Ada writes.
        self.redis.run("SET", "demo:kvcache:userFollowings:ben", json.dumps({"ada": {}}))

    def connect(self):
        self.redis = Redis(self.facts["redis"])
        self.redis.run("CONFIG", "SET", "maxmemory", "256mb")

    def graphql(self, query, **variables):
        body = {"query": query, "variables": variables}
        url = self.facts["api"] + "/graphql"
        answer = client.request(url, body, x_api_key=self.facts["accessKey"])
        if "errors" in answer:
            raise OSError(answer["errors"][0]["message"])
        return answer

    def uri(self, recipient):
        query = "mutation($r:String!){registerRecipient(input:{recipient:$r}){connectionUri}}"
        answer = self.graphql(query, r=recipient)
        at = urlsplit(answer["data"]["registerRecipient"]["connectionUri"])
        return f"{at.path}?{at.query}"

    def arrive(self, sockets=SOCKETS):
        token = self.tokens["Ben"]
        clause = {"field": "/uri", "operator": "one_of", "value": ["https://example.org/"]}
        matching = {"match_policy": "include_any", "actions": {}, "clauses": [clause]}
        said = [{"messageType": "client_id", "value": TAB}, {"filter": matching}]
        channel = {"channel": "homeTimeline", "id": "1", "pong": True}
        for number in range(sockets):
            gateway = self.gateways[number % len(self.gateways)]
            asked = [{"type": "connect", "body": channel}]
            self.listeners += [
                Listener(gateway, self.uri(f"user{number}")),
                Listener(gateway, "/ws", token, said),
                Listener(gateway, "/streaming", token, asked),
            ]

    def leave(self, count):
        for _ in range(min(count, len(self.listeners))):
            self.listeners.pop(0).close()

    def push(self, recipients, text="Hello", **more):
        query = "mutation($i:MessageInput!){pushMessage(input:$i){item{id} error{message}}}"
        given = {"recipients": recipients, "message": text, **more}
        return self.graphql(query, i=given)

    def be_busy(self):
        """One turn of everything that goes well."""
        self.count += 1
        self.push([f"user{number}" for number in range(SOCKETS)], f"Hello {self.count}")
        self.graphql('mutation{pushGlobalMessage(input:{message:"All"}){id}}')
        self.annotate()
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        author = ("ada", "carol")[self.count % 2]
        note = {
            "id": f"n{self.count}", "createdAt": now, "userId": author,
            "user": {"id": author, "username": author, "host": None},
            "text": "Hello", "visibility": "public",
        }  # fmt: skip
        self.redis.run("PUBLISH", BUS, json.dumps({"channel": "notesStream", "message": note}))
        event = json.dumps({"type": "note", "body": note})
        self.redis.run("XADD", "carillon:{in}:demo", "*", "topic", "channel:notesStream", "data", event)

    def annotate(self):
        readers = {"read": ["group:__world__"]}
        note = {"uri": "https://example.org/", "text": "Hello", "permissions": readers}
        by_ada = {"authorization": "Bearer " + self.tokens["Ada"]}
        if self.count % 2:
            by_ada["x_client_id"] = TAB
        client.request(self.facts["api"] + "/api/annotations", note, **by_ada)

    def be_wrong(self):
        """One turn of what fails: a token and a key that nobody knows, an event of no shape."""
        try:
            client.Socket(self.gateways[0], "/?token=nobody", "")
        except SystemExit:
            pass
        try:
            client.request(self.facts["api"] + "/graphql", {"query": "{version}"}, x_api_key="ck_no")
        except urllib.error.HTTPError:
            pass
        self.redis.run("XADD", "carillon:{in}:demo", "*", "type", "push", "data", "no JSON")
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        self.push(["nobody"], "late", expiresAt=soon)
        self.push(["user1"], "later", deliverAt=soon)

    def read_nothing(self):
        """Somebody who is told more than a socket and the kernel hold, and does not read it."""
        deaf = Listener(self.gateways[0], self.uri("deaf"), reads=False)
        for _ in range(120):
            self.push(["deaf"], "x" * 60_000)
        return deaf
