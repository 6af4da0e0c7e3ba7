#!/usr/bin/env python3
"""Runs the programs as their image does, with nothing beside them (`make image-check`).

    deploy/static.sh target/image && python3 deploy/check/alone.py target/image

In a network of its own a name server knows `redis.test`, and a Redis answers by that name,
over TLS alone, with a certificate of an authority that was added to those of the image. A
program that gets ready has found the name by DNS, and the authority among the image's.
Each lives twice, gets ready, says so when asked by `health`, and leaves on SIGTERM: in an
empty root (chroot), and in a container of the image (container.py). Needs root on Linux,
redis-server, openssl, podman and runc.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import container

USER = 65532
INSIDE = "CARILLON_ALONE"  # set in the namespaces
PORTS = {"gateway": (8080, 9101), "api": (8081, 9102), "worker": (None, 9103)}
READY_WITHIN = 20  # seconds
GONE_WITHIN = 20  # seconds


def give_up(text):
    sys.exit(f"image: {text}")


def needs_a_loader(program):
    """Whether an ELF file names a dynamic loader, and so needs files that no image from scratch has."""
    data = program.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        give_up(f"{program.name} is no program for 64 bits, little end first")
    start, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    interpreter = 3
    return any(struct.unpack_from("<I", data, start + size * at)[0] == interpreter for at in range(count))


def serve_names(names):
    """A name server on port 53 of this network: addresses of these names, and of no others."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def answer():
        while True:
            query, client = server.recvfrom(512)
            at, labels = 12, []
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode())
                at += 1 + query[at]
            question = query[12 : at + 5]
            (kind,) = struct.unpack_from(">H", query, at + 1)
            address = names.get(".".join(labels).lower())
            found = [address] if address and kind == 1 else []
            flags = 0x8180 if address else 0x8183
            head = query[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0)
            body = b"".join(
                b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(one) for one in found
            )
            server.sendto(head + question + body, client)

    threading.Thread(target=answer, daemon=True).start()


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certificates(folder):
    """An authority, and a certificate of it for redis.test."""
    authority = ["-subj", "/CN=Authority of a test", "-keyout", "ca.key", "-out", "ca.crt"]
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *authority)
    openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=redis.test", "-keyout", "redis.key", "-out", "redis.csr")
    (folder / "names").write_text("subjectAltName=DNS:redis.test\n")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
    openssl(folder, "x509", "-req", "-in", "redis.csr", *signed, "-out", "redis.crt")


def start_redis(folder):
    options = ["--port", "0", "--tls-port", "6379", "--tls-cert-file", "redis.crt", "--tls-key-file", "redis.key"]
    options += ["--tls-ca-cert-file", "ca.crt", "--tls-auth-clients", "no", "--save", "", "--bind", "127.0.0.1"]
    log = open(folder / "redis.log", "wb")
    return subprocess.Popen(["redis-server", *options], cwd=folder, stdout=log, stderr=log)


def lay_out(image, folder):
    """What every container is given, and the image's authorities with ours."""
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    bundle = (image / "etc/ssl/certs/ca-certificates.crt").read_bytes()
    (folder / "authorities.crt").write_bytes(bundle + (folder / "ca.crt").read_bytes())
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "redis-url").write_text("rediss://redis.test:6379\n")
    (secrets / "token-keys").write_text("test:" + "A" * 43 + "=\n")


def settings(role):
    listen, admin = PORTS[role]
    env = {
        "CARILLON_REDIS_URL_FILE": "/run/secrets/carillon/redis-url",
        f"CARILLON_{role.upper()}_ADMIN_LISTEN": f"0.0.0.0:{admin}",
        "CARILLON_SHUTDOWN_DELAY": "0s",
        "CARILLON_DRAIN_WINDOW": "1s",
    }
    if listen:
        env[f"CARILLON_{role.upper()}_LISTEN"] = f"0.0.0.0:{listen}"
        env["CARILLON_TOKEN_KEYS_FILE"] = "/run/secrets/carillon/token-keys"
    return env


def ready(role):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORTS[role][1]}/ready", timeout=2) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def said(process):
    process.kill()
    return process.communicate()[1].decode(errors="replace")[-2000:]


def status(pid):
    """Of a process, as the kernel tells it: each name with the first word after it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines) if rest.split()}


def live(role, place):
    """A whole life of one program in a place."""
    if place.health(role, settings(role)) == 0:
        give_up(f"{role} health says that it is well before it is there")
    process = place.start(role, settings(role))
    deadline = time.monotonic() + READY_WITHIN
    while not ready(role):
        if process.poll() is not None or time.monotonic() > deadline:
            give_up(f"{role} does not get ready in {place.name}; it said:\n{said(process)}")
        time.sleep(0.05)
    found = status(place.pid(role, process))
    wrong = {name: found[name] for name, value in place.expected.items() if found[name] != value}
    if wrong:
        give_up(f"{role} runs with {wrong} in {place.name}")
    if place.health(role, settings(role)) != 0:
        give_up(f"{role} health does not say that it is well in {place.name}")
    process.send_signal(signal.SIGTERM)
    try:
        left = process.wait(GONE_WITHIN)
    except subprocess.TimeoutExpired:
        give_up(f"{role} does not leave {place.name}; it said:\n{said(process)}")
    if left != 0:
        give_up(f"{role} left {place.name} with {left}; it said:\n{said(process)}")
    print(f"image: {role} is ready in {place.name}, as user {USER}, with Redis found by DNS and trusted over TLS")


def inside(image):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    serve_names({"redis.test": "127.0.0.1"})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        certificates(folder)
        lay_out(image, folder)
        redis = start_redis(folder)
        try:
            for place in (container.Chroot, container.Container):
                with place(image, folder, USER) as made:
                    for role in PORTS:
                        live(role, made)
        finally:
            redis.terminate()
            redis.wait()


def main():
    image = Path(sys.argv[1] if len(sys.argv) > 1 else "target/image").resolve()
    for role in PORTS:
        if not (image / role).exists():
            give_up(f"{image / role} is not there: deploy/static.sh {image}")
    if INSIDE in os.environ:
        return inside(image)
    for role in PORTS:
        if needs_a_loader(image / role):
            give_up(f"{role} is not static")
    again = ["unshare", "--net", "--mount", sys.executable, __file__, str(image)]
    sys.exit(subprocess.run(again, env=os.environ | {INSIDE: "1"}).returncode)


if __name__ == "__main__":
    main()
