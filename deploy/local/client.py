"""What the demonstrations of a running cluster share: asking, and listening on a socket."""

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
PATIENCE = 10  # seconds that anything may take


def the_cluster():
    """What make run has written about the cluster that is up."""
    if not CLUSTER.exists():
        sys.exit("no cluster is running; start one with make run")
    return json.loads(CLUSTER.read_text())


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
        "token": {"userid": userid, "name": "a demonstration", "expiresAt": until},
    }
    body = {"query": query, "variables": variables}
    answer = request(cluster["api"] + "/graphql", body, x_api_key=cluster["accessKey"])
    if "errors" in answer:
        sys.exit(answer["errors"][0]["message"])
    return answer["data"]["createAccessToken"]["token"]


class Socket:
    """As much of a WebSocket client as this needs."""

    def __init__(self, gateway, path, token):
        at = urlsplit(gateway)
        self.tcp = socket.create_connection((at.hostname, at.port), PATIENCE)
        self.bytes = self.tcp.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
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
            sys.exit(f"the gateway answered {status}")
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
