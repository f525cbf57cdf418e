"""beanstalkd over a raw socket: 100 puts in flight; 100 reserves in flight, then their deletes."""

import re
import socket
import sys
from urllib.parse import urlsplit

from tally import ARGUMENT, told

mode, url, jobs = sys.argv[1], urlsplit(sys.argv[2]), int(sys.argv[3])
connection = socket.create_connection((url.hostname, url.port))
WINDOW = 100


def exchange(content: bytes, ended: "re.Pattern[bytes]", count: int) -> bytes:
    """Send, and receive until `count` answers have come."""
    connection.sendall(content)
    answer = b""
    while len(ended.findall(answer)) < count:
        answer += connection.recv(1 << 20)
    return answer


def enqueue() -> None:
    put = b"put 1024 0 60 %d\r\n%s\r\n" % (len(ARGUMENT), ARGUMENT.encode())
    inserted = re.compile(rb"INSERTED \d+\r\n")
    for _ in range(jobs // WINDOW):
        exchange(put * WINDOW, inserted, WINDOW)


def work() -> None:
    reserved = re.compile(rb"RESERVED (\d+) \d+\r\nx+\r\n")
    deleted = re.compile(rb"DELETED\r\n")
    for _ in range(jobs // WINDOW):
        held = reserved.findall(exchange(b"reserve\r\n" * WINDOW, reserved, WINDOW))
        exchange(b"".join(b"delete %s\r\n" % id for id in held), deleted, WINDOW)


told(jobs, enqueue if mode == "enqueue" else work)
