#!/usr/bin/env python3
"""Shows the Hypothesis protocol on a running cluster (`make annotate`, beside `make run`).

Ben listens to a page on one gateway; Ada annotates it over HTTP, changes her mind
and deletes it; everything that Ben's socket hears is printed. Both are users made
for the occasion, with access tokens that end after an hour.
"""

import base64
import json
import os
import socket
import struct
import sys
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

CLUSTER = Path(__file__).resolve().parents[2] / "target" / "run" / "cluster.json"
PAGE = "https://example.org/carillon"
PATIENCE = 10  # seconds that anything may take


def request(url, body=None, method="POST", **headers):
    data = None if body is None else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers["content-type"] = "application/json"
    asked = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
        return json.load(answer)


def token_of(cluster, name):
    """An access token of a user of that name."""
    until = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
    userid = f"acct:{name.lower()}@localhost"
    query = """mutation ($user: UpdateUserInput!, $token: CreateAccessTokenInput!) {
        updateUser(input: $user) { userid }
        createAccessToken(input: $token) { token } }"""
    variables = {
        "user": {"userid": userid, "displayName": name},
        "token": {"userid": userid, "name": "make annotate", "expiresAt": until},
    }
    body = {"query": query, "variables": variables}
    answer = request(cluster["api"] + "/graphql", body, x_api_key=cluster["accessKey"])
    if "errors" in answer:
        sys.exit(f"make annotate: {answer['errors'][0]['message']}")
    return answer["data"]["createAccessToken"]["token"]


class Socket:
    """As much of a WebSocket client as this needs."""

    def __init__(self, gateway, token):
        at = urlsplit(gateway)
        self.tcp = socket.create_connection((at.hostname, at.port), PATIENCE)
        self.bytes = self.tcp.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET /ws HTTP/1.1",
            f"Host: {at.netloc}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            f"Authorization: Bearer {token}",
        ]
        self.tcp.sendall("".join(line + "\r\n" for line in [*lines, ""]).encode())
        status = self.bytes.readline().decode().strip()
        if " 101 " not in status:
            sys.exit(f"make annotate: the gateway answered {status}")
        while self.bytes.readline() != b"\r\n":
            pass

    def say(self, message):
        data, mask = json.dumps(message).encode(), os.urandom(4)
        short = len(data) < 126
        length = bytes([0x80 | len(data)]) if short else struct.pack("!BH", 0x80 | 126, len(data))
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self.tcp.sendall(b"\x81" + length + mask + masked)

    def hear(self):
        """The next message, whatever pings come before it."""
        while True:
            first, length = self.bytes.read(2)
            if length == 126:
                (length,) = struct.unpack("!H", self.bytes.read(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self.bytes.read(8))
            data = self.bytes.read(length)
            if first & 0xF == 1:
                return json.loads(data)


def main():
    if not CLUSTER.exists():
        sys.exit("make annotate: no cluster is running; start one with make run")
    cluster = json.loads(CLUSTER.read_text())
    ada, ben = (token_of(cluster, name) for name in ("Ada", "Ben"))
    listening = Socket(cluster["gateways"][-1], ben)
    clause = {"field": "/uri", "operator": "one_of", "value": [PAGE]}
    listening.say({"filter": {"match_policy": "include_any", "actions": {}, "clauses": [clause]}})
    # Answered in order: once this is, the filter holds.
    listening.say({"type": "whoami", "id": 1})
    print("Ben's socket is", listening.hear()["userid"], "and listens to", PAGE)

    annotations = cluster["api"] + "/api/annotations"
    by_ada = {"authorization": f"Bearer {ada}"}
    made = request(
        annotations,
        {
            "uri": PAGE + "/?utm_source=mail",  # the same page, by another address
            "text": "Hello, Ben",
            "permissions": {"read": ["group:__world__"]},
        },
        **by_ada,
    )
    show("Ada annotates it", listening)
    this = f"{annotations}/{made['id']}"
    request(this, {"text": "Hello again"}, method="PATCH", **by_ada)
    show("Ada changes her mind", listening)
    request(this, method="DELETE", **by_ada)
    show("Ada deletes it", listening)


def show(what, listening):
    event = listening.hear()
    (annotation,) = event["payload"]
    text = f", {annotation['text']!r}" if "text" in annotation else ""
    print(f"{what}; Ben hears: {event['options']['action']} of {annotation['id']}{text}")


if __name__ == "__main__":
    main()
