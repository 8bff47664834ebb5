#!/usr/bin/env python3
"""What handoff costs a server that is not handing over, in instructions.

Runs handoff_server and the same server without handoff under callgrind, each
with one worker, has both answer the same requests, one at a time, and prints
how many instructions a request takes in each. README.md has what is counted.

The last line is a JSON object. "measured" is the server with handoff, "bound"
the one without, both for requests over kept connections; "kept", "echo" and
"short" have the same by kind of request.
"""

import argparse
import json
import os
import re
import select
import shutil
import signal
import socket
import stat
import statistics
import subprocess
import sys
import tempfile
import time

ROW = "idle_instructions"

# How long anything may take under valgrind before it counts as hung, seconds.
PATIENCE = 120

KEPT_CONNECTIONS = 4

HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: idle\r\n\r\n"
ECHO = (b"POST /echo HTTP/1.1\r\nHost: idle\r\nContent-Length: 64\r\n\r\n" +
        b"0123456789abcdef" * 4)

# The answers to these have to be the same, byte for byte. The last ones are
# large: a body in a file, and a stream.
SAME = [
    HEALTHZ,
    ECHO,
    b"GET / HTTP/1.1\r\nHost: idle\r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: idle\r\n\r\n",
    b"DELETE /healthz HTTP/1.1\r\nHost: idle\r\n\r\n",
    b"GET /stream?bytes=300000 HTTP/1.1\r\nHost: idle\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: idle\r\nContent-Length: 300000\r\n\r\n" +
    b"x" * 300000,
]


class Failure(Exception):
    """Something that makes the figures worth nothing."""


class Client:
    """One connection, with one request under way at a time."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request):
        """The whole answer: head, and body by its Content-Length."""
        self.socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.receive()
        size = answer.index(b"\r\n\r\n") + 4
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", answer[:size])
        size += int(length.group(1))
        while len(answer) < size:
            answer += self.receive()
        if len(answer) > size:
            raise Failure("the server says more than it was asked")
        return answer

    def receive(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Failure("the server has closed a connection in an answer")
        return data

    def end(self):
        """Returns when the server has closed too: nothing of this connection
        is left to be counted with the next."""
        self.socket.shutdown(socket.SHUT_WR)
        if self.socket.recv(1):
            raise Failure("the server says more than it was asked")
        self.socket.close()


class Server:
    """A server under callgrind."""

    def __init__(self, name, binary, folder):
        self.name = name
        self.folder = folder
        self.handoff = os.path.join(folder, name + ".sock")
        self.profile = os.path.join(folder, name + ".callgrind")
        self.vgdb_prefix = os.path.join(folder, name + ".vgdb")
        self.log = open(os.path.join(folder, name + ".log"), "w+b")
        self.dumps = 0
        self.process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--quiet", "--vgdb=yes",
             "--vgdb-poll=500", "--vgdb-prefix=" + self.vgdb_prefix,
             "--callgrind-out-file=" + self.profile,
             os.path.realpath(binary), "--http=tcp:127.0.0.1:0",
             "--workers=1", "--idle_timeout=1h", "--handoff=" + self.handoff],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        self.address = None
        self.clients = []

    def await_ready(self):
        line = b""
        until = time.monotonic() + PATIENCE
        while not line.endswith(b"\n"):
            readable, _, _ = select.select(
                [self.process.stdout], [], [], max(0, until - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 4096) if readable else b""
            if not piece:
                self.log.seek(0)
                raise Failure(f"{self.name} does not start: "
                              f"{self.log.read().decode(errors='replace')}")
            line += piece
        found = re.search(rb"^ready .* http=([0-9.]+):(\d+)$", line.strip())
        if not found:
            raise Failure(f"{self.name} says {line!r}")
        self.address = (found.group(1).decode(), int(found.group(2)))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def hands_over(self):
        """Whether somebody would answer a successor."""
        if not os.path.exists(self.handoff):
            return False
        if not stat.S_ISSOCK(os.stat(self.handoff).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as successor:
            successor.settimeout(PATIENCE)
            successor.connect(self.handoff)
        return True

    def command(self, command):
        subprocess.run(
            ["vgdb", "--vgdb-prefix=" + self.vgdb_prefix,
             f"--pid={self.process.pid}", command],
            check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def count(self, work, kind):
        """Instructions of all threads while `work` is done."""
        self.command("zero")
        work()
        self.command("dump " + kind)
        self.dumps += 1
        with open(f"{self.profile}.{self.dumps}", encoding="utf-8",
                  errors="replace") as profile:
            for line in profile:
                if line.startswith(("totals:", "summary:")):
                    return int(line.split()[1])
        raise Failure("callgrind has written no totals")

    def keep_connections(self):
        self.clients = [Client(self.address) for _ in range(KEPT_CONNECTIONS)]

    def ask_kept(self, request, answer, times):
        for i in range(times):
            if self.clients[i % len(self.clients)].ask(request) != answer:
                raise Failure("an answer has changed")

    def ask_short(self, request, answer, times):
        for _ in range(times):
            client = Client(self.address)
            if client.ask(request) != answer:
                raise Failure("an answer has changed")
            client.end()

    def stop(self):
        for client in self.clients:
            client.socket.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def same_answers(servers):
    """The answers to SAME, which all servers have to give alike."""
    first = None
    for server in servers:
        client = Client(server.address)
        answers = [client.ask(request) for request in SAME]
        whoami = client.ask(b"GET /whoami HTTP/1.1\r\nHost: idle\r\n\r\n")
        whoami = json.loads(whoami.split(b"\r\n\r\n", 1)[1])
        del whoami["pid"]
        answers.append(whoami)
        client.end()
        first = first or answers
        if answers != first:
            raise Failure("the two servers do not give the same answers")
    return first


def measure(handoff, plain, quick):
    servers = [handoff, plain]
    for server in servers:
        server.await_ready()
    if not handoff.hands_over() or plain.hands_over():
        raise Failure("not exactly the first server answers successors")
    # The one that answers them is the only thread that the library has.
    if handoff.threads() != plain.threads() + 1:
        raise Failure(f"{handoff.threads()} threads with handoff, "
                      f"{plain.threads()} without")
    healthz, echo = same_answers(servers)[:2]

    kept, short = (1000, 200) if quick else (5000, 1000)
    kinds = {
        "kept": (kept, lambda s: s.ask_kept(HEALTHZ, healthz, kept)),
        "echo": (kept, lambda s: s.ask_kept(ECHO, echo, kept)),
        "short": (short, lambda s: s.ask_short(HEALTHZ, healthz, short)),
    }
    for server in servers:
        server.keep_connections()
        # What is done once is done: buffers have grown, names are bound.
        server.ask_kept(HEALTHZ, healthz, 200)
        server.ask_kept(ECHO, echo, 200)
        server.ask_short(HEALTHZ, healthz, 50)

    figures = {kind: ([], []) for kind in kinds}
    for _ in range(5):
        for kind, (times, work) in kinds.items():
            for server, figure in zip(servers, figures[kind]):
                count = server.count(lambda: work(server), kind)
                figure.append(round(count / times, 1))
    return {kind: {
        "requests": kinds[kind][0],
        "measured": measured,
        "bound": bound,
        "ratios": [round(m / b, 5) for m, b in zip(measured, bound)],
    } for kind, (measured, bound) in figures.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--row", choices=[ROW], default=ROW)
    parser.add_argument("--quick", action="store_true",
                        help="fewer requests, for a test")
    parser.add_argument("--at_most", type=float, metavar="RATIO",
                        help="fail where the kept connections' is higher")
    parser.add_argument("--profiles", metavar="FOLDER",
                        help="leave callgrind's profiles there: of each server "
                        "three a repetition, kept, echo, short")
    parser.add_argument("--server", required=True, metavar="PATH",
                        help="handoff_server")
    parser.add_argument("--server_without_handoff", required=True,
                        metavar="PATH")
    options = parser.parse_args()

    folder = tempfile.mkdtemp(prefix="idle-", dir="/tmp")
    servers = []
    try:
        for name, binary in (("with", options.server),
                             ("without", options.server_without_handoff)):
            servers.append(Server(name, binary, folder))
        kinds = measure(*servers, options.quick)
    except (Failure, OSError, subprocess.SubprocessError) as failure:
        sys.exit(f"{ROW}: {failure}")
    finally:
        for server in servers:
            server.stop()
        if options.profiles:
            os.makedirs(options.profiles, exist_ok=True)
            for server in servers:
                for i in range(1, server.dumps + 1):
                    shutil.copy(f"{server.profile}.{i}", options.profiles)
        shutil.rmtree(folder)

    for kind, figures in kinds.items():
        print(f"{kind}: {statistics.median(figures['measured'])} instructions "
              f"a request with handoff, {statistics.median(figures['bound'])} "
              f"without, {statistics.median(figures['ratios'])} times as many")
    kept = kinds["kept"]
    print(json.dumps({
        "row": ROW,
        "unit": "instructions/request",
        "measured": kept["measured"],
        "bound": kept["bound"],
        "ratios": kept["ratios"],
        **kinds,
    }))
    ratio = statistics.median(kept["ratios"])
    if options.at_most is not None and ratio > options.at_most:
        sys.exit(f"{ROW}: {ratio} is more than {options.at_most}")


if __name__ == "__main__":
    main()
