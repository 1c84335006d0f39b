# Socket.IO in Python, as the documentations of python-socketio and Flask-SocketIO begin: `say` is acknowledged.
# KIND is uvicorn, aiohttp, threading or gevent.
import os
import sys

kind = os.environ["KIND"]
port, host = int(os.environ["PORT"]), os.environ.get("HOST", "127.0.0.1")

if kind in ("uvicorn", "aiohttp"):
    import socketio

    sio = socketio.AsyncServer(async_mode="asgi" if kind == "uvicorn" else "aiohttp", cors_allowed_origins="*")

    @sio.event
    async def say(sid, number):
        return number

    if kind == "uvicorn":
        import uvicorn

        uvicorn.run(socketio.ASGIApp(sio), host=host, port=port, log_level="warning")
    else:
        from aiohttp import web

        app = web.Application()
        sio.attach(app)
        web.run_app(app, host=host, port=port, print=None)
else:
    if kind == "gevent":
        from gevent import monkey

        monkey.patch_all()
    from flask import Flask
    from flask_socketio import SocketIO

    app = Flask(__name__)
    sio = SocketIO(app, async_mode=kind, cors_allowed_origins="*")

    @sio.on("say")
    def say(number):
        return number

    extra = {"allow_unsafe_werkzeug": True} if kind == "threading" else {}
    sio.run(app, host=host, port=port, **extra)
sys.exit(0)
