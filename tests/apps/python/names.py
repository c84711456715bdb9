"""A name server of one file: it answers for the names that the JSON object in the file of its only argument has, each with a list of
IPv4 addresses; null has the server fail, all other names are unknown. The file is read again at each question."""
import json
import socket
import struct
import sys

SERVER_FAILS = 2
NO_SUCH_NAME = 3
A = 1


def answer(query, names):
    parts, at = [], 12
    while query[at]:
        parts.append(query[at + 1 : at + 1 + query[at]].decode())
        at += query[at] + 1
    (kind,) = struct.unpack(">H", query[at + 1 : at + 3])
    name = ".".join(parts).lower()
    addresses = names.get(name)
    found = addresses if kind == A and addresses else []
    fault = SERVER_FAILS if name in names else NO_SUCH_NAME
    flags = 0x8180 | (fault if addresses is None else 0)
    head = query[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0)
    records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 1, 4) + socket.inet_aton(one) for one in found)
    return head + query[12 : at + 5] + records


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("serving", flush=True)
while True:
    question, client = server.recvfrom(512)
    with open(sys.argv[1], encoding="utf-8") as file:
        server.sendto(answer(question, json.load(file)), client)
