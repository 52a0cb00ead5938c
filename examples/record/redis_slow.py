"""Three clients that read and write for a while, and one whose only script keeps Redis busy: ``redis_slow.py PORT``."""

import random
import socket
import sys
import threading
import time

SCRIPT = (
    "local found = 0 for i = 1, tonumber(ARGV[1]) do if string.format('%d', i) == KEYS[1] then found = i end end "
    "return 'looked at ' .. ARGV[1] .. ' orders'"
)


def command(*words):
    """Write a command as Redis reads it (RESP 2)."""
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def ask(connection, *words):
    """Send a command and take its whole answer, all of which fit one segment here."""
    connection.sendall(command(*words))
    return connection.recv(65536)


def customer(port, number):
    """Write and read orders, some milliseconds apart."""
    rng = random.Random(number)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for i in range(60):
            key = f"order:{number}:{i}"
            ask(connection, "SET", key, f"customer-{rng.randrange(1000)} items {rng.randrange(1, 9)}")
            time.sleep(rng.uniform(0.002, 0.02))
            ask(connection, "GET", key)
            time.sleep(rng.uniform(0.002, 0.02))


def accountant(port):
    """Run the script once, in the middle."""
    time.sleep(0.6)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        ask(connection, "PING")
        ask(connection, "EVAL", SCRIPT, 1, "order:1:59", 3000000)


port = int(sys.argv[1])
threads = [threading.Thread(target=customer, args=(port, number)) for number in (1, 2, 3)]
threads.append(threading.Thread(target=accountant, args=(port,)))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
