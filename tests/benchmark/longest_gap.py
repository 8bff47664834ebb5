#!/usr/bin/python3
"""The longest time in which a client has no answer: a handoff, and a restarted nginx.

README.md has what is measured. The last line is a JSON object.
"""

import contextlib
import os
import resource
import signal
import string
import subprocess
import time

import client_rows
from client_rows import Failure, say

from handoff_server import HandoffServer
from processes import answers, await_end, await_event, children, free_port
from steady_clients import SteadyClients

ROW = "longest_gap"
NGINX = "/usr/sbin/nginx"
# Of servers, and of processes of clients, half of the connections each.
HALVES = 2
# A server's descriptors that are no connections. A successor has some 500, as it receives
# several messages of them at a time.
OTHER_DESCRIPTORS = 1024

# Beside the defaults: nothing but the restart ends a connection, and the kernel's queue
# has as much room as handoff_server's. Of the default length it overflows when so many
# come back at once, and then a client waits at least a second.
_NGINX = string.Template("""\
$user
daemon off;
worker_processes $workers;
worker_rlimit_nofile $descriptors;
pid $folder/nginx.pid;
error_log $folder/error.log warn;
events { worker_connections $connections; }
http {
  access_log off;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/proxy;
  fastcgi_temp_path $folder/fastcgi;
  uwsgi_temp_path $folder/uwsgi;
  scgi_temp_path $folder/scgi;
  server {
    $listen
    location = /healthz { return 200 "ok"; }
  }
}
""")


class Nginx:
    """nginx in the foreground, with a port for each half of the clients.

    As a context, it ends it.
    """

    def __init__(self, folder, connections):
        self._folder = folder
        self._ports = [free_port() for _ in range(HALVES)]
        self.addresses = [f"127.0.0.1:{port}" for port in self._ports]
        self._process = None
        with open(f"{folder}/nginx.conf", "w", encoding="utf-8") as file:
            file.write(
                _NGINX.substitute(
                    user="user root;" if os.geteuid() == 0 else "",
                    workers=client_rows.WORKERS,
                    # All may come to one worker.
                    connections=connections + OTHER_DESCRIPTORS // 2,
                    descriptors=connections + OTHER_DESCRIPTORS,
                    folder=folder,
                    listen=" ".join(f"listen {a} backlog=4096;" for a in self.addresses),
                )
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process and self._process.poll() is None:
            # Its workers end with it, which they would not if it was killed.
            self._process.terminate()
            await_end(self._process)

    def start(self):
        """Returns when both ports answer."""
        with open(f"{self._folder}/nginx.log", "a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [NGINX, "-e", f"{self._folder}/error.log", "-p", self._folder]
                + ["-c", f"{self._folder}/nginx.conf"],
                stdout=log,
                stderr=log,
            )
        await_event("nginx's workers", self._has_workers)

    def _has_workers(self):
        if self._process.poll() is not None:
            raise Failure(f"nginx exited with {self._process.returncode}")
        return len(children(self._process.pid)) == client_rows.WORKERS

    def await_answers(self):
        for port in self._ports:
            await_event("nginx to answer", lambda: answers(port))

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        if await_end(self._process) != 0:
            raise Failure(f"nginx exited with {self._process.returncode}")

    def restart(self):
        """As a service manager does it: a new one when the old one is gone."""
        self.stop()
        self.start()


class Load:
    """The clients, in as many processes as there are addresses."""

    def __init__(self, options):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most == resource.RLIM_INFINITY:
            most = 1 << 20
        # handoff_server takes half as many connections as it may have descriptors, since
        # each may need another for a large body: hence two of them. nginx has all.
        wanted = 400 if options.quick else 16_000
        self.half = min(wanted, most - OTHER_DESCRIPTORS) // HALVES
        if self.half < 1:
            raise Failure(f"RLIMIT_NOFILE is {most}")
        self._binary = options.steady_clients
        self._interval = "500ms" if options.quick else "2s"
        # So that each client has had some answers, and again afterwards.
        self._before, self._after = (1, 1) if options.quick else (4, 6)

    def run(self, addresses, restart):
        """What each process of clients saw, and how long restart() took."""
        flags = [f"--kept={self.half}", f"--interval={self._interval}"]
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(SteadyClients(self._binary, address, flags))
                for address in addresses
            ]
            for half in clients:
                half.await_ready()
            time.sleep(self._before)
            begun = time.monotonic()
            restart()
            seconds = time.monotonic() - begun
            time.sleep(self._after)
            for half in clients:
                half.wind_down()
            return [half.stop() for half in clients], seconds


def of_handoff(options, load, name):
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(
                HandoffServer(
                    options.server,
                    client_rows.subfolder(options, f"{name}.{half}"),
                    [f"--workers={client_rows.WORKERS}", "--idle_timeout=1h", "--watch=1s"],
                )
            )
            for half in range(HALVES)
        ]

        def hand_over():
            # At the same moment.
            for server in servers:
                server.launch()
            for server in servers:
                server.await_ready()

        for server in servers:
            server.start()
        seen, seconds = load.run([server.address for server in servers], hand_over)
        for server in servers:
            server.stop()
    for figures in seen:
        client_rows.check_kept(figures)
    return seen, seconds


def of_nginx(options, load, name):
    folder = client_rows.subfolder(options, name)
    with Nginx(folder, HALVES * load.half) as nginx:
        nginx.start()
        nginx.await_answers()
        seen, seconds = load.run(nginx.addresses, nginx.restart)
        nginx.stop()
    for figures in seen:
        kept = figures["kept"]
        if kept["survived"] or kept["unfinished"]:
            raise Failure(
                f"of clients of nginx, {kept['survived']} kept their connections, and "
                f"{kept['unfinished']} have no answer"
            )
    return seen, seconds


def measure(options):
    load = Load(options)
    sides = {"bound": of_nginx, "measured": of_handoff}
    result = {"unit": "ms", "clients": HALVES * load.half}
    say(f"{ROW}: {result['clients']} clients")
    for i in range(2 if options.quick else 5):
        # First the one, then the other: what changes meanwhile is in both.
        for side in sorted(sides, reverse=i % 2 == 1):
            seen, seconds = sides[side](options, load, f"{side}{i}")
            kept = [figures["kept"] for figures in seen]
            gap = max(half["longest_gap_ms"] for half in kept)
            result.setdefault(side, []).append(gap)
            result.setdefault(f"{side}_restart_s", []).append(round(seconds, 3))
            for what in ("ok", "reconnects", "refused", "reset", "lost"):
                result.setdefault(f"{side}_{what}", []).append(sum(h[what] for h in kept))
            say(f"{ROW}: {side} {gap} ms, restarted in {seconds:.3f} s")
    return result


if __name__ == "__main__":
    client_rows.main(ROW, measure)
