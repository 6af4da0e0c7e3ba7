#!/usr/bin/env python3
"""Runs a whole Carillon cluster on this machine (`make run`).

A private Redis, an api, a worker and two gateways, each a process of its own.
What dies is started again. Ctrl-C stops what was started here, nothing else.

All data, logs and secrets are in target/run, so the next run goes on where this
one stopped; `rm -r target/run` forgets everything. target/run/cluster.json
tells scripts where everything is; it exists while the cluster is up.

A connectionUri names gateway 1. If that one dies it is back, on the same port,
within about a second; meanwhile the same token opens a socket on gateway 2,
the second URL in cluster.json. (Behind a load balancer both share one URL.)
"""

import base64
import fcntl
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "target" / "run"
BIN = ROOT / "target" / "release"
CLUSTER = RUN / "cluster.json"
PIDS = RUN / "pids.json"
HOST = "127.0.0.1"
SCOPES = "websockets-manager-api:query:* websockets-manager-api:mutation:*"

READY_WITHIN = 30  # seconds until a started process must answer /ready with 200
STOP_WITHIN = 8  # seconds that a process may take to end before it is killed
STEADY = 10  # seconds after which a process that dies has not been failing to start
SLOWEST_RETRY = 10  # seconds between attempts to start what keeps dying

signals = 0  # how often we were asked to stop


def say(text):
    print(text, flush=True)


def give_up(text):
    print(f"make run: {text}", file=sys.stderr, flush=True)
    sys.exit(1)


def asked_to_stop(_number, _frame):
    global signals
    signals += 1


class Stopped(Exception):
    """We were asked to stop while waiting for something."""


def nap(seconds=0.05):
    if signals:
        raise Stopped
    time.sleep(seconds)
    if signals:
        raise Stopped


class Ports:
    """Hands out ports: the preferred one, or else another below 10000."""

    def __init__(self):
        self.given = set()

    def take(self, preferred, what):
        for port in [preferred, *range(preferred + 1, 10000), *range(1024, preferred)]:
            if port not in self.given and is_free(port):
                if port != preferred:
                    say(f"port {preferred} is taken: {what} listens on {port}")
                self.given.add(port)
                return port
        give_up(f"no free port below 10000 for {what}")


def is_free(port):
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket() as probe:
        # As the servers do: connections of an earlier run do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class Process:
    """One process of the cluster, and its life."""

    def __init__(self, name, role, ports, listens):
        self.name = name
        self.role = role
        self.ports = ports
        self.listens = listens  # what for -> preferred port
        self.port = {what: ports.take(port, self.label(what)) for what, port in listens.items()}
        self.child = None
        self.started_at = 0.0
        self.retry_in = 0.0
        self.retry_at = None
        self.settled = False  # was seen ready since its last start
        self.late = False  # was reported as not getting ready
        self.moved = False  # listens elsewhere than before
        (RUN / f"{name}.log").unlink(missing_ok=True)

    def label(self, what):
        return self.name if what == "main" else f"{self.name} ({what})"

    def url(self, scheme="http"):
        return f"{scheme}://{HOST}:{self.port['main']}"

    def start(self, command, env):
        """Starts it; where a port was taken meanwhile, on another."""
        for what, port in self.port.items():
            if not is_free(port):
                self.ports.given.discard(port)
                self.port[what] = self.ports.take(self.listens[what], self.label(what))
                self.moved = self.moved or self.port[what] != port
        with open(RUN / f"{self.name}.log", "ab") as log:
            # A session of its own: Ctrl-C in the terminal reaches only us, and we
            # stop everything in order.
            self.child = subprocess.Popen(
                command(self),
                env=env(self),
                cwd=RUN,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started_at = time.monotonic()
        self.retry_at = None
        self.settled = self.late = False

    def running(self):
        return self.child is not None and self.child.poll() is None

    def ended_how(self):
        code = self.child.returncode
        if code >= 0:
            return f"ended with status {code}"
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"

    def plan_retry(self):
        """Decides when to start it again: at once, or later and later if it keeps dying."""
        if time.monotonic() - self.started_at > STEADY:
            self.retry_in = 0.0
        self.retry_at = time.monotonic() + self.retry_in
        waited, self.retry_in = self.retry_in, min(max(0.5, self.retry_in * 2), SLOWEST_RETRY)
        return waited

    def ready(self):
        if self.role == "redis":
            return redis_ready(self.port["main"])
        return get_status(self.port["admin"], "/ready") == 200

    def tail(self, lines=15):
        try:
            text = (RUN / f"{self.name}.log").read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def redis_ready(port):
    try:
        with socket.create_connection((HOST, port), timeout=1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def get_status(port, path):
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Cluster:
    def __init__(self):
        ports = Ports()
        self.redis = Process("redis", "redis", ports, {"main": 6400})
        self.gateways = [
            Process("gateway-1", "gateway", ports, {"main": 8080, "admin": 9101}),
            Process("gateway-2", "gateway", ports, {"main": 8090, "admin": 9111}),
        ]
        self.api = Process("api", "api", ports, {"main": 8081, "admin": 9102})
        self.worker = Process("worker", "worker", ports, {"admin": 9103})
        self.carillon = [*self.gateways, self.worker, self.api]
        self.everything = [self.redis, *self.carillon]
        self.token_keys = secret_file(RUN / "token-keys", new_token_keys)
        self.access_key = None

    # What to run, and with which settings.

    def command(self, process):
        if process.role != "redis":
            return [BIN / process.role]
        data = RUN / "redis"
        data.mkdir(exist_ok=True)
        return [
            "redis-server", "--bind", HOST, "--port", str(process.port["main"]),
            "--dir", str(data), "--appendonly", "yes", "--save", "",
            "--set-proc-title", "no",
        ]  # fmt: skip

    def env(self, process):
        env = dict(os.environ)
        if process.role == "redis":
            return env
        role = process.role.upper()
        env["CARILLON_REDIS_URL"] = self.redis.url("redis")
        env["CARILLON_NODE"] = process.name
        env["CARILLON_TOKEN_KEYS"] = self.token_keys
        env.setdefault("CARILLON_SITES", "*=demo/localhost")
        env.setdefault("CARILLON_MISSKEY_HOSTS", "*=demo")
        env[f"CARILLON_{role}_ADMIN_LISTEN"] = f"{HOST}:{process.port['admin']}"
        if "main" in process.port:
            env[f"CARILLON_{role}_LISTEN"] = f"{HOST}:{process.port['main']}"
        env["CARILLON_API_PUBLIC_URL"] = self.gateways[0].url("ws") + "/"
        # No balancer has to notice that a process leaves: it may go at once.
        env.setdefault("CARILLON_SHUTDOWN_DELAY", "0s")
        env.setdefault("CARILLON_DRAIN_WINDOW", "1s")
        return env

    # Starting.

    def spawn(self, process):
        process.start(self.command, self.env)
        pids = {p.name: p.child.pid for p in self.everything if p.running()}
        write_secret(PIDS, json.dumps(pids))

    def start(self, process):
        self.spawn(process)
        deadline = time.monotonic() + READY_WITHIN
        while not process.ready():
            if not process.running():
                raise NotReady(f"{process.name} {process.ended_how()}", process)
            if time.monotonic() > deadline:
                raise NotReady(f"{process.name} is not ready after {READY_WITHIN} s", process)
            nap()
        process.settled = True

    def start_all(self):
        for process in self.everything:
            self.start(process)
        self.access_key = self.demo_key()
        self.write()

    def demo_key(self):
        """The same key in every run, as long as Redis knows it."""
        path = RUN / "access-key"
        if path.exists() and self.accepts(path.read_text().strip()):
            return path.read_text().strip()
        path.unlink(missing_ok=True)
        return secret_file(path, self.create_key)

    def accepts(self, key):
        connection = http.client.HTTPConnection(HOST, self.api.port["main"], timeout=5)
        headers = {"content-type": "application/json", "x-api-key": key}
        try:
            connection.request("POST", "/graphql", '{"query":"{version}"}', headers)
            return b'"errors"' not in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def create_key(self):
        command = [BIN / "api", "key", "create", "--tenant", "demo", "--scopes", SCOPES]
        made = subprocess.run(command, env=self.env(self.api), capture_output=True, text=True)
        key = re.search(r"\bck_[\w-]+", made.stdout)
        if made.returncode != 0 or not key:
            give_up(f"no access key could be made: {made.stderr.strip()}")
        return key.group()

    def write(self):
        """Tells scripts where everything is."""
        facts = {
            "gateways": [gateway.url() for gateway in self.gateways],
            "api": self.api.url(),
            "redis": self.redis.url("redis"),
            "accessKey": self.access_key,
            "pids": {p.name: p.child.pid for p in self.everything if p.running()},
        }
        write_secret(CLUSTER, json.dumps(facts, indent=2) + "\n")

    # Going on.

    def watch(self):
        """Starts again what dies, until we are asked to stop."""
        while True:
            nap(0.1)
            for process in self.everything:
                if process.running():
                    self.greet(process)
                elif process.retry_at is None:
                    waited = process.plan_retry()
                    later = f"in {waited:g} s" if waited else "now"
                    say(f"{process.name} {process.ended_how()}; starting it again {later}")
                elif process.retry_at <= time.monotonic():
                    self.spawn(process)

    def greet(self, process):
        """Tells once that a process that was started again is ready, or that it is not."""
        if process.settled:
            return
        if process.ready():
            process.settled = True
            say(f"{process.name} is back (pid {process.child.pid})")
            self.write()
            if process.moved:
                process.moved = False
                for other in self.concerned(process):
                    other.child.terminate()
        elif not process.late and time.monotonic() - process.started_at > READY_WITHIN:
            process.late = True
            say(f"{process.name} runs but is not ready; see target/run/{process.name}.log")

    def concerned(self, moved):
        """Who was told where the moved process is, and has to be started anew."""
        if moved is self.redis:
            others = self.carillon
        elif moved is self.gateways[0]:
            others = [self.api]
        else:
            others = []
        return [process for process in others if process.running()]

    def stop(self):
        CLUSTER.unlink(missing_ok=True)
        stop(self.carillon)
        stop([self.redis])
        PIDS.unlink(missing_ok=True)


class NotReady(Exception):
    def __init__(self, text, process):
        super().__init__(text)
        self.process = process


def stop(processes):
    """Ends them: asked first, killed if they hang or if we are asked again."""
    before = signals
    for process in processes:
        if process.running():
            process.child.terminate()
    deadline = time.monotonic() + STOP_WITHIN
    while any(process.running() for process in processes):
        if time.monotonic() > deadline or signals > before:
            for process in processes:
                if process.running():
                    say(f"{process.name} does not end; killing it")
                    process.child.kill()
                    process.child.wait()
            return
        time.sleep(0.05)


def new_token_keys():
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    return f"local:{key}"


def secret_file(path, make):
    """What the file holds; made once, readable by its owner only."""
    if not path.exists():
        write_secret(path, make() + "\n")
    return path.read_text().strip()


def write_secret(path, text):
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(part, path)


def lock():
    """Held as long as this process lives, so that only one cluster runs here."""
    file = open(RUN / "lock", "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip()
        give_up(f"a cluster already runs in this checkout (pid {holder}); stop it first")
    os.set_inheritable(file.fileno(), False)
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def end_leftovers():
    """A run that was killed could not stop its processes: theirs are told by their command."""
    try:
        pids = json.loads(PIDS.read_text())
    except (OSError, ValueError):
        return
    for name, pid in pids.items():
        asked = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True
        )
        if str(RUN) in asked.stdout or f"{BIN}{os.sep}" in asked.stdout:
            say(f"{name} of an earlier run is still there (pid {pid}); ending it")
            end_stranger(pid)


def end_stranger(pid):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
            deadline = time.monotonic() + STOP_WITHIN
            while time.monotonic() < deadline:
                os.kill(pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            return


def build():
    say("building (the first time takes some minutes)")
    roles = [word for role in ("gateway", "api", "worker") for word in ("-p", role)]
    build = subprocess.Popen(["cargo", "build", "--release", "--bins", *roles], cwd=ROOT)
    try:
        while build.poll() is None:
            nap()
    except Stopped:
        build.terminate()
        build.wait()
        raise
    if build.returncode != 0:
        give_up("the build failed")


def welcome(cluster):
    curl = (
        f"curl -s {cluster.api.url()}/graphql -H 'content-type: application/json'"
        f" -H 'x-api-key: {cluster.access_key}' -d "
    )
    register = '{"query":"mutation{registerRecipient(input:{recipient:\\"ada\\"}){connectionUri}}"}'
    push = (
        '{"query":"mutation{pushMessage(input:{recipients:[\\"ada\\"],message:\\"Hello\\"})'
        '{item{id status} error{message}}}"}'
    )
    say(
        f"""
Carillon is up. Try it in a browser: {cluster.api.url()}/  (GraphiQL: {cluster.api.url()}/graphql)
Access key: {cluster.access_key}
1. Register a recipient:
   {curl}'{register}'
2. Open the connectionUri: on that page, in the browser's console (F12), new WebSocket("…").onmessage = e => console.log(e.data)
3. Push a message:
   {curl}'{push}'
Gateways: {cluster.gateways[0].url('ws')}/ (in every connectionUri) and {cluster.gateways[1].url('ws')}/ (takes the same tokens)
Scripts read target/run/cluster.json; logs are target/run/*.log. Ctrl-C stops everything."""
    )


def main():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, asked_to_stop)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else: started with nohup
        signal.signal(signal.SIGHUP, asked_to_stop)
    RUN.mkdir(parents=True, exist_ok=True)
    held = lock()
    CLUSTER.unlink(missing_ok=True)
    if not shutil.which("redis-server"):
        give_up("redis-server is missing: `make run` installs it, or install it yourself")
    cluster = None
    try:
        build()
        end_leftovers()
        cluster = Cluster()
        cluster.start_all()
        welcome(cluster)
        cluster.watch()
    except NotReady as problem:
        give_up(f"{problem}; it said last:\n{problem.process.tail()}")
    except Stopped:
        say("\nstopping")
    finally:
        if cluster:
            cluster.stop()
        held.close()


if __name__ == "__main__":
    main()
