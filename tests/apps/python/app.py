"""A small WSGI application for gunicorn. It works, and it breaks on purpose when the JSON file named by FAULTS says so; the
file is read again at each request:
  {"slow": {"path": "/", "ms": 2000}}    a path is slow, each request holding its worker
  {"hang": {"path": "/"}}                a path never ends
  {"answer": {"status": 503, "body": "...", "log": "..."}}   answers so, /health aside
  {"raise": "text"}                      an unhandled exception
  {"read": "/path/of/file"}              each request reads 16 KiB of that file past the page cache, as databases do
"""
import json
import logging
import mmap
import os
import time

logging.basicConfig(filename=os.environ.get("LOG"), level=logging.INFO, format="%(asctime)s %(levelname)s shop: %(message)s")
NAME = os.environ.get("NAME", "app")


def faults():
    try:
        with open(os.environ["FAULTS"], encoding="utf-8") as file:
            return json.load(file)
    except (OSError, KeyError, ValueError):
        return {}


def read(path):
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        # Whole pages at a page's address, as open(2) has it of O_DIRECT.
        with mmap.mmap(-1, 16384) as page:
            os.preadv(file, [page], 0)
    finally:
        os.close(file)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    fault = faults()
    status, body = "200 OK", json.dumps({"from": NAME, "path": path})
    if path == "/health":
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"status":"ok"}\n']
    if fault.get("hang") and path.startswith(fault["hang"]["path"]):
        while True:
            time.sleep(1)
    if fault.get("slow") and path.startswith(fault["slow"]["path"]):
        time.sleep(fault["slow"]["ms"] / 1000)
    if fault.get("read"):
        read(fault["read"])
    if fault.get("raise"):
        raise RuntimeError(fault["raise"])
    if fault.get("answer"):
        status, body = "%d Error" % fault["answer"]["status"], fault["answer"]["body"]
        if fault["answer"].get("log"):
            logging.error(fault["answer"]["log"])
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body) + 1))])
    return [body.encode() + b"\n"]
