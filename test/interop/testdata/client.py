"""Drives the engine through docker-py, as programs that use it do."""
import io
import sys
import tarfile
import time

import docker

wall = sys.argv[1]
client = docker.from_env(timeout=180)
name = "python-" + wall
mine = {"isolation": wall, "labels": {"python": wall}}


def same(got, want):
    assert got == want, "got %r, want %r" % (got, want)


def archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            t.addfile(info, io.BytesIO(content))
    return out.getvalue()


assert client.ping()

# What a foreground run returns comes from the logs of the default driver.
same(client.containers.run("busybox", ["sh", "-c", "echo out; echo err >&2"], remove=True, **mine), b"out\n")
try:
    client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True, **mine)
    raise AssertionError("a failure was none")
except docker.errors.ContainerError as e:
    same((e.exit_status, e.stderr), (3, b"bad\n"))

volume = client.volumes.create(name)
c = client.containers.run(
    "busybox", ["sh", "-c", "trap 'exit 5' TERM; while true; do echo tick; sleep 0.2; done"], detach=True, name=name,
    environment={"X": "y"}, mem_limit="64m", ports={"80/tcp": ("127.0.0.1", None)}, volumes={name: {"bind": "/v", "mode": "rw"}}, **mine)
c.reload()
same((c.status, c.attrs["HostConfig"]["Isolation"], c.ports["80/tcp"][0]["HostIp"]), ("running", wall, "127.0.0.1"))

result = c.exec_run(["sh", "-c", "echo $X; echo kept >/v/f; exit 4"])
same((result.exit_code, result.output), (4, b"y\n"))
same(c.exec_run(["sh", "-c", "echo a; echo b >&2"], demux=True).output, (b"a\n", b"b\n"))
_, stream = c.exec_run("cat", stdin=True, socket=True)
stream._sock.sendall(b"to and fro\n")
same(stream.read(8 + 11)[8:], b"to and fro\n")
stream.close()

assert c.put_archive("/tmp", archive({"f": b"abc"}))
bits, stat = c.get_archive("/tmp/f")
same((stat["name"], stat["size"]), ("f", 3))
with tarfile.open(fileobj=io.BytesIO(b"".join(bits))) as t:
    same(t.extractfile("f").read(), b"abc")
assert {"Path": "/tmp/f", "Kind": 1} in c.diff()

same(c.top()["Titles"][0], "UID")
assert next(c.stats(stream=True, decode=True))["memory_stats"]["usage"] > 0
same(next(c.logs(stream=True, follow=True)), b"tick\n")
same(c.logs(tail=1), b"tick\n")
c.pause()
c.reload()
same(c.status, "paused")
c.unpause()
c.rename(name + "-2")
c.restart(timeout=30)
since = c.logs().count(b"tick")
while c.logs().count(b"tick") == since:  # until it listens to signals
    time.sleep(0.1)
c.stop(timeout=30)
same(c.wait()["StatusCode"], 5)
same([x.name for x in client.containers.list(all=True, filters={"label": "python=" + wall})], [name + "-2"])
actions = [e["Action"] for e in client.events(since=1, until=int(time.time()) + 1, decode=True, filters={"container": c.id})]
for action in ("create", "start", "pause", "unpause", "rename", "die", "restart", "stop"):
    assert action in actions, actions
c.remove()
volume.remove()
try:
    client.containers.get(name + "-2")
    raise AssertionError("it is there")
except docker.errors.NotFound:
    pass
