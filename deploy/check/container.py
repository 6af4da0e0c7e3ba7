"""Where alone.py has programs live: an empty root, and a container of their image.

Both show them the same: the image, and of the folder that alone.py fills the secrets, the
authorities, resolv.conf and hosts. The container is made by a real engine (podman, with
runc) from deploy/Dockerfile.prebuilt, and closed down as the manifests do it: by number no
root, a root that cannot be written, no capability, no new privileges, the default seccomp
profile. It shares the network of who starts it.
"""

import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TAG = "localhost/carillon:check"


class Chroot:
    """A folder that becomes the root of a file system."""

    name = "an empty root"

    def __init__(self, image, folder, user):
        self.root = folder / "root"
        self.user = user
        self.expected = {"Uid": str(user), "CapEff": "0" * 16}
        shutil.copytree(image, self.root)
        shutil.copy(folder / "resolv.conf", self.root / "etc")
        shutil.copy(folder / "hosts", self.root / "etc")
        shutil.copy(folder / "authorities.crt", self.root / "etc/ssl/certs/ca-certificates.crt")
        shutil.copytree(folder / "secrets", self.root / "run/secrets/carillon")
        (self.root / "proc").mkdir()
        (self.root / "dev").mkdir()
        # A static program asks a file for random bytes.
        for name, minor in (("null", 3), ("random", 8), ("urandom", 9)):
            os.mknod(self.root / "dev" / name, 0o20666, os.makedev(1, minor))
            os.chmod(self.root / "dev" / name, 0o666)

    def __enter__(self):
        subprocess.run(["mount", "-t", "proc", "proc", self.root / "proc"], check=True)
        return self

    def __exit__(self, *_):
        # Before the folder is emptied.
        subprocess.run(["umount", self.root / "proc"], check=False, stderr=subprocess.DEVNULL)

    def command(self, *words):
        chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
        return [chroot, f"--userspec={self.user}:{self.user}", self.root, *words]

    def start(self, role, env):
        return subprocess.Popen(self.command(f"/{role}"), env=env, stderr=subprocess.PIPE)

    def pid(self, role, process):
        return process.pid

    def health(self, role, env):
        return subprocess.run(self.command(f"/{role}", "health"), env=env, capture_output=True).returncode


class Container:
    """A container of the image."""

    name = "a container of the image"

    def __init__(self, image, folder, user):
        self.image = image
        self.folder = folder
        self.expected = {"Uid": str(user), "CapEff": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}

    def __enter__(self):
        # With a store of its own, which goes with the folder; vfs works on any file system.
        self.engine = ["podman", "--root", self.folder / "store", "--runroot", self.folder / "running"]
        self.engine += ["--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]
        self.engine += ["--events-backend", "none"]
        self.podman("build", "--quiet", "--file", ROOT / "deploy/Dockerfile.prebuilt", "--tag", TAG, self.image)
        (made,) = json.loads(self.podman("image", "inspect", TAG))
        print(f"image: {made['Size'] / 1e6:.0f} MB, user {made['Config']['User']}, {made['Labels']}")
        return self

    def __exit__(self, *_):
        self.podman("rm", "--all", "--force")
        self.podman("rmi", "--all", "--force")

    def podman(self, *words):
        answer = subprocess.run([*self.engine, *words], capture_output=True, text=True)
        if answer.returncode != 0:
            raise RuntimeError(f"podman {words[0]}: {answer.stderr.strip()}")
        return answer.stdout

    def start(self, role, env):
        closed = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"]
        # What the engine would take may be more than it may give.
        for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
            closed.append(f"--ulimit={name}={min(4096, resource.getrlimit(kind)[1])}")
        given = ["--network=host", f"--pidfile={self.folder / role}"]
        for here, there in (
            ("secrets", "/run/secrets/carillon"),
            ("authorities.crt", "/etc/ssl/certs/ca-certificates.crt"),
            ("resolv.conf", "/etc/resolv.conf"),
            ("hosts", "/etc/hosts"),
        ):
            given.append(f"--volume={self.folder / here}:{there}:ro")
        given += [f"--env={name}={value}" for name, value in env.items()]
        words = ["run", "--rm", f"--name=carillon-{role}", *closed, *given, TAG, f"/{role}"]
        return subprocess.Popen([*self.engine, *words], stderr=subprocess.PIPE)

    def pid(self, role, process):
        return int((self.folder / role).read_text())

    def health(self, role, env):
        words = ["exec", f"carillon-{role}", f"/{role}", "health"]
        return subprocess.run([*self.engine, *words], capture_output=True).returncode
