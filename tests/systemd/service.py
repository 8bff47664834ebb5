"""What the cases see of a unit of the service and of its clients."""

import http.client
import json
import os
import signal
import subprocess
import threading
import time

CONTROL = "/handoff-test/control"
LOG = "/handoff-test/server.log"
PORT = 8080
# For what must not take as long, on a slow machine.
PATIENCE = 30


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def await_that(what, condition):
    """What `condition` gives, once that is true."""
    deadline = time.monotonic() + PATIENCE
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failed(f"not within {PATIENCE} s: {what}")
        time.sleep(0.01)


def run(*argv, fails=False):
    """What it says on both; checks that it fails or does not."""
    done = subprocess.run(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=4 * PATIENCE,
    )
    check(
        (done.returncode != 0) == fails,
        f"{' '.join(argv)} exited with {done.returncode}: {done.stdout}",
    )
    return done.stdout


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def is_running(command):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as comm:
                if comm.read().strip() == command:
                    return True
        except OSError:
            pass  # it has ended
    return False


class Unit:
    def __init__(self, name):
        self.name = name

    def show(self, key):
        return run(
            "systemctl", "show", "--property", key, "--value", self.name
        ).strip()

    @property
    def pid(self):
        return int(self.show("MainPID"))

    def start(self):
        run("systemctl", "start", self.name)

    def reload(self):
        run("systemctl", "reload", self.name)

    def pids(self):
        """Of the processes in its control group."""
        group = self.show("ControlGroup")
        if group == "":
            return []  # there is none
        try:
            with open(f"/sys/fs/cgroup{group}/cgroup.procs") as procs:
                return [int(pid) for pid in procs.read().split()]
        except FileNotFoundError:
            return []

    def await_status(self, part):
        await_that(
            f"StatusText with '{part}', but {self.show('StatusText')}",
            lambda: part in self.show("StatusText"),
        )

    def await_state(self, state):
        await_that(
            f"{self.name} is {state}, but {self.show('ActiveState')}",
            lambda: self.show("ActiveState") == state,
        )

    def check_active(self, restarts=0):
        state = [self.show(key) for key in ("ActiveState", "NRestarts", "Result")]
        check(
            state == ["active", str(restarts), "success"],
            f"{self.name}: ActiveState, NRestarts and Result are {state}",
        )
        check(whoami()["pid"] == self.pid, "another process serves than MainPID")

    def check_stopped(self):
        state = [self.show(key) for key in ("ActiveState", "NRestarts", "Result")]
        check(
            state == ["inactive", "0", "success"],
            f"{self.name}: ActiveState, NRestarts and Result are {state}",
        )
        check(self.pids() == [], "processes are left in the control group")
        check(not is_running("handoff_server"), "processes are left elsewhere")


def get(path, connection=None):
    mine = connection or http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)
    mine.request("GET", path)
    answer = mine.getresponse()
    body = answer.read()
    check(answer.status == 200, f"{path}: {answer.status}")
    if connection is None:
        mine.close()
    return body


def whoami(connection=None):
    return json.loads(get("/whoami", connection))


def socket_inode(port, peer_port):
    """Of the connection between two ports on 127.0.0.1: the end that has `port`."""
    with open("/proc/net/tcp") as table:
        for line in list(table)[1:]:
            fields = line.split()
            ports = [int(address.split(":")[1], 16) for address in fields[1:3]]
            if ports == [port, peer_port]:
                return fields[9]
    raise Failed(f"no connection from port {peer_port} to {port}")


class Kept:
    """A connection that is kept."""

    def __init__(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)
        self.whoami()

    def whoami(self):
        return whoami(self.connection)

    def is_stored(self):
        """Whether systemd has the service's end of it.

        How many descriptors it has in all says less: logs and probes come and go.
        """
        inode = socket_inode(PORT, self.connection.sock.getsockname()[1])
        for fd in os.listdir("/proc/1/fd"):
            try:
                if os.readlink(f"/proc/1/fd/{fd}") == f"socket:[{inode}]":
                    return True
            except FileNotFoundError:
                pass  # closed meanwhile
        return False

    def close(self):
        """Or a process that stops waits for us to."""
        self.connection.close()


class Load:
    """Closed loops on kept connections, and new connections, one after another.

    A request fails where there is no answer, or a wrong one.
    """

    BODY = bytes(range(256)) * 8

    def __init__(self, kept=12, fresh=4):
        self.done = 0
        self.failures = []
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self.loop, args=(i < kept,), daemon=True)
            for i in range(kept + fresh)
        ]
        for thread in self.threads:
            thread.start()
        await_that("an answer", lambda: self.done or self.failures)

    def loop(self, keeps):
        connection = None
        while not self.stopping.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(
                        "127.0.0.1", PORT, timeout=PATIENCE
                    )
                connection.request("POST", "/echo", self.BODY)
                answer = connection.getresponse()
                body = answer.read()
                check(answer.status == 200 and body == self.BODY, "a wrong answer")
                closes = answer.will_close
            except (OSError, http.client.HTTPException, Failed) as error:
                with self.lock:
                    self.failures.append(repr(error))
                connection = None
                continue
            with self.lock:
                self.done += 1
            if closes or not keeps:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def more(self):
        """Waits until there have been more answers."""
        before = self.done
        await_that("more answers", lambda: self.done > before + 50 or self.failures)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def end(self):
        """How many requests there were; all must have been answered."""
        self.stop()
        check(
            not self.failures,
            f"{len(self.failures)} of {self.done} requests failed: {self.failures[:3]}",
        )
        return self.done


def pause_successor_at(event, predecessor):
    """Has the next process stop itself when it has logged `event`."""
    write(f"{CONTROL}/pause", f"not {predecessor} {event}")


def pause_nobody():
    for name in ("pause", "hang"):
        if os.path.exists(f"{CONTROL}/{name}"):
            os.remove(f"{CONTROL}/{name}")


def hang_loops_of(pid):
    write(f"{CONTROL}/hang", str(pid))


def is_paused(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "T"
    except FileNotFoundError:
        return False


def await_paused(unit, predecessor):
    """The pid of the successor, which is paused."""

    def found():
        return [p for p in unit.pids() if p != predecessor and is_paused(p)]

    return await_that("the successor is paused", found)[0]


def kill(pid):
    os.kill(pid, signal.SIGKILL)
