"""Waiting for processes, for what they say and serve, and ending them.

Every wait is for an event and has a deadline: TimeoutError says what did not happen.
"""

import http.client
import os
import random
import select
import signal
import socket
import time

# For whatever is to happen, on a busy machine.
DEADLINE = 60


def await_event(what, happened):
    """Waits until happened() is true, and returns that."""
    deadline = time.monotonic() + DEADLINE
    while True:
        result = happened()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.002)


def await_line(pipe):
    """The next line of what a process prints; empty at the end."""
    if not select.select([pipe], [], [], DEADLINE)[0]:
        raise TimeoutError("waited in vain for a line")
    return pipe.readline()


def await_end(process):
    """Waits until a subprocess.Popen has ended. Its exit code.

    At once: Popen.wait() with a timeout looks every 50 ms.
    """
    pidfd = os.pidfd_open(process.pid)
    try:
        if not select.select([pidfd], [], [], DEADLINE)[0]:
            raise TimeoutError(f"waited in vain for process {process.pid} to end")
    finally:
        os.close(pidfd)
    return process.wait()


def gone(pid):
    """Whether the process has ended. Reaps it if it is a child of this one."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not os.path.exists(f"/proc/{pid}")


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return {int(child) for child in file.read().split()}
    except OSError:
        return set()


def end_all():
    """Ends what is left of the processes that this one has started.

    It is their reaper, so that all of them are its descendants, whoever started
    them, and however long that has been gone.
    """
    while left := children(os.getpid()):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


def free_port():
    # Below those that the kernel gives to clients: none of them may take it
    # while nobody listens. Any of these, as others may look for one too.
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first = int(file.read().split()[0])
    for port in random.sample(range(1024, max(first, 10_000)), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise OSError("no port is free")


def answers(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().read() == b"ok"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
