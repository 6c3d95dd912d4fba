"""A scripted OpenAI-compatible server on loopback, for what a real one does on bad days.

    with ChatServer(script) as server: ... server.url ... server.requests

`script(request)` returns a Reply or, as a short form, the answer's text. Every request is kept, with what it asked.
"""
import collections
import http.server
import json
import re
import ssl
import subprocess
import threading
import time

Request = collections.namedtuple("Request", "number headers body question turns time")
QUESTION = re.compile(r"(?s)Question:\n(.*)")


class Reply:
    """status, headers and body of a response; `cut`: the connection is reset after so many bytes of the body."""

    def __init__(self, status=200, body=None, headers=None, cut=None, wait=None):
        self.status, self.headers, self.cut, self.wait = status, headers or {}, cut, wait
        self.body = body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode()


def completion(text, **message):
    return {"choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50}}


class ChatServer:
    def __init__(self, script, certificate=None, gate=None):
        """`certificate`: (certificate, key) files, for https; `gate`: an event that answers wait for."""
        self.script, self.gate = script, gate
        self.requests, self.in_flight, self.most_in_flight = [], 0, 0
        self.lock = threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                server.answer(self)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass  # clients that are killed

        self.http = Server(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        if self.gate:
            self.gate.set()
        self.http.shutdown()
        self.http.server_close()

    def answer(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        turns = [message["content"] for message in body["messages"] if message["role"] != "system"]
        asked = [QUESTION.search(turn) for turn in turns[::2]]  # of a correction's conversation too
        with self.lock:
            request = Request(len(self.requests) + 1, dict(handler.headers), body, ([m[1] for m in asked if m] or [None])[-1], turns, time.monotonic())
            self.requests.append(request)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.gate:
                self.gate.wait(60)
            reply = self.script(request)
            if not isinstance(reply, Reply):
                reply = Reply(body=completion(reply))
            if reply.wait:
                reply.wait.wait(60)
        finally:
            with self.lock:
                self.in_flight -= 1
        handler.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(reply.body)), **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if reply.cut is not None:
            handler.wfile.write(reply.body[:reply.cut])
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(2)
            return
        handler.wfile.write(reply.body)


def make_certificate(folder):
    """(certificate, key) for 127.0.0.1, signed by itself."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return certificate, key
