# One client of a library from PyPI: `python client.py LIBRARY ADDRESS` says `open`, and then what it reports of its end.
import asyncio
import sys

library, address = sys.argv[1:]
url = f"ws://{address}/ws"


def say(*words):
    print(*words, flush=True)


async def by_websockets():
    import websockets

    async with websockets.connect(url) as socket:
        say("open")
        try:
            await socket.recv()
        except websockets.ConnectionClosed as closed:
            if closed.rcvd:
                say("end", closed.rcvd.code, closed.rcvd.reason)
            else:
                say("end", "1006", type(closed).__name__)


def by_websocket_client():
    import websocket

    errors = []
    app = websocket.WebSocketApp(
        url,
        on_open=lambda _: say("open"),
        on_error=lambda _, error: errors.append(type(error).__name__),
        on_close=lambda _, code, reason: say("end", code, reason or "", *errors),
    )
    app.run_forever()


async def by_aiohttp():
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        say("open")
        message = await socket.receive()
        say("end", socket.close_code, message.extra or "")


def by_httpx_ws():
    import httpx_ws

    with httpx_ws.connect_ws(url) as socket:
        say("open")
        try:
            socket.receive()
        except httpx_ws.WebSocketDisconnect as closed:
            say("end", closed.code, closed.reason or "")
        except httpx_ws.HTTPXWSException as error:
            say("end", "no code", type(error).__name__)


run = {
    "websockets": by_websockets, "websocket-client": by_websocket_client, "aiohttp": by_aiohttp, "httpx-ws": by_httpx_ws,
}[library]
asyncio.run(run()) if asyncio.iscoroutinefunction(run) else run()
