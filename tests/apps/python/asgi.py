"""A small ASGI application for uvicorn: one process, one event loop. It works, and it breaks on purpose when the JSON file
named by FAULTS says so; the file is read again at each request:
  {"slow": {"path": "/report", "ms": 2000}}   a path is slow while others are served
  {"hang": true}                         no request ends
  {"block": true}                        a handler sleeps without awaiting: the whole event loop stands still
  {"answer": {"status": 503, "body": "...", "log": "..."}}   answers so, /health aside
  {"health": {"status": 503, "body": "..."}}   only its health
  {"raise": "text"}                      an unhandled exception
"""
import asyncio
import json
import logging
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


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def respond(path):
    """The status and the body of the answer, after what stands in its way."""
    fault = faults()
    if fault.get("hang"):
        await asyncio.Event().wait()
    while fault.get("block"):
        time.sleep(1)
    if path == "/health":
        health = fault.get("health", {})
        return health.get("status", 200), health.get("body", '{"status":"ok"}')
    if fault.get("slow") and path.startswith(fault["slow"]["path"]):
        await asyncio.sleep(fault["slow"]["ms"] / 1000)
    if fault.get("raise"):
        raise RuntimeError(fault["raise"])
    if fault.get("answer"):
        if fault["answer"].get("log"):
            logging.error(fault["answer"]["log"])
        return fault["answer"]["status"], fault["answer"]["body"]
    return 200, json.dumps({"from": NAME, "path": path})


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    status, body = await respond(scope["path"])
    content = body.encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
