"""A client of handoff_server's gRPC service: closed loops until SIGTERM.

Usage: grpc_client.py ADDRESS OUTPUT

Writes a line to OUTPUT whenever every loop has been answered by another
generation, "generation N"; for each failure "failed ..."; and at the end
"ended C S", the number of calls and of streams.
"""

import ctypes
import signal
import sys
import threading
import time

import grpc

CALLERS = 2
STREAMERS = 1
MESSAGES_PER_STREAM = 15
SECONDS_BETWEEN_MESSAGES = 0.02


def ask_for_clock_frequency():
    """Keeps a client of gRPC before 1.61 from failing one connect.

    It takes a connect for failed where errno has another value than connect(2)
    left. Abseil's locks cause that once in a process, when they first ask for the
    clock's frequency: here, before any connect.
    """
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "libabsl_base.so" in line}
    for path in paths:
        try:
            ask = ctypes.CDLL(path)[
                "_ZN4absl7debian313base_internal19NominalCPUFrequencyEv"
            ]
        except AttributeError:  # not Debian 12's, nor its gRPC
            continue
        ask.restype = ctypes.c_double
        ask()


def encode(text):
    """EchoRequest: field 1, bytes, shorter than 128."""
    return b"\x0a" + bytes([len(text)]) + text


def decode(message):
    """The fields of an EchoResponse by their numbers."""
    fields = {}
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        value = varint()
        if key & 7 == 2:
            size = value
            value = message[at : at + size]
            at += size
        fields[key >> 3] = value
    return fields


class Load:
    def __init__(self, address, output):
        self.address = address
        self.output = output
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.seen = [0] * (CALLERS + STREAMERS)
        self.told = 0
        self.calls = 0
        self.streams = 0

    def tell(self, line):
        print(line, file=self.output, flush=True)

    def answered(self, loop, generation, calls=0, streams=0):
        with self.lock:
            self.calls += calls
            self.streams += streams
            self.seen[loop] = generation
            lowest = min(self.seen)
            if lowest > self.told:
                self.told = lowest
                self.tell("generation %d" % lowest)

    def failed(self, what, error):
        with self.lock:
            self.tell("failed: a %s: %s" % (what, " ".join(str(error).split())))
        self.stop.set()

    def channel(self):
        # A connection of its own; no retry policy, no wait_for_ready.
        return grpc.insecure_channel(
            self.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )

    def call_in_a_loop(self, loop):
        echo = self.channel().unary_unary("/handoff.server.v1.EchoService/Echo")
        while not self.stop.is_set():
            try:
                response = decode(echo(encode(b"hello"), timeout=60))
            except grpc.RpcError as error:
                self.failed("call", error)
                return
            if response.get(1) != b"hello":
                self.failed("wrong answer", response)
                return
            self.answered(loop, response[5], calls=1)

    def stream_in_a_loop(self, loop):
        chat = self.channel().stream_stream("/handoff.server.v1.EchoService/Chat")

        def messages():
            for i in range(MESSAGES_PER_STREAM):
                yield encode(b"message %d" % (i + 1))
                time.sleep(SECONDS_BETWEEN_MESSAGES)

        while not self.stop.is_set():
            try:
                responses = [decode(r) for r in chat(messages(), timeout=60)]
            except grpc.RpcError as error:
                self.failed("stream", error)
                return
            numbers = [response[2] for response in responses]
            generations = {response[5] for response in responses}
            if numbers != list(range(1, MESSAGES_PER_STREAM + 1)) or (
                len(generations) != 1
            ):
                self.failed("stream with wrong answers", responses)
                return
            self.answered(loop, generations.pop(), streams=1)

    def run(self):
        loops = [self.call_in_a_loop] * CALLERS
        loops += [self.stream_in_a_loop] * STREAMERS
        threads = [
            threading.Thread(target=loop, args=(i,)) for i, loop in enumerate(loops)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.tell("ended %d %d" % (self.calls, self.streams))


def main():
    ask_for_clock_frequency()
    with open(sys.argv[2], "w") as output:
        load = Load(sys.argv[1], output)
        signal.signal(signal.SIGTERM, lambda number, frame: load.stop.set())
        load.run()


if __name__ == "__main__":
    main()
