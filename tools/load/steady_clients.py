"""Runs steady_clients, the clients in closed loops, and has what they saw."""

import json
import subprocess

from processes import DEADLINE, await_line


class SteadyClients:
    """One process of them. Kept connections are open once await_ready() returns.

    As a context, it kills what stop() has not ended.
    """

    def __init__(self, binary, address, flags):
        self._process = subprocess.Popen(
            [binary, f"--address={address}", *flags],
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def await_ready(self):
        if await_line(self._process.stdout) != "ready\n":
            raise RuntimeError("the clients could not open their connections")

    def wind_down(self):
        """From now on nothing new is asked for."""
        self._process.terminate()

    def stop(self):
        """The figures, as a dict."""
        self.wind_down()
        output, _ = self._process.communicate(timeout=DEADLINE)
        if self._process.returncode != 0:
            raise RuntimeError(f"the clients exited with {self._process.returncode}")
        return json.loads(output.splitlines()[-1])
