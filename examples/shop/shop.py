"""A shop: what is ordered goes into PostgreSQL, visits are counted in Redis."""

import contextlib
import http.server
import json
import platform
import urllib.parse

import psycopg2
import redis


@contextlib.contextmanager
def database():
    with open("/run/secrets/db_password") as f:
        password = f.read().strip()
    with contextlib.closing(psycopg2.connect(host="db", dbname="postgres", user="shop", password=password)) as db:
        with db, db.cursor() as cursor:  # one transaction
            yield cursor


class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            self.answer(200, {"open": True})
        else:
            self.attempt(self.orders)

    def do_POST(self):
        self.attempt(self.order)

    def orders(self):
        visits = redis.Redis(host="cache").incr("visits")
        with database() as cursor:
            cursor.execute("SELECT item FROM orders ORDER BY id")
            items = [row[0] for row in cursor]
        self.answer(200, {"orders": items, "visits": visits, "served by": platform.node(), "kernel": platform.release()})

    def order(self):
        length = int(self.headers["Content-Length"])  # nginx has bounded it
        form = urllib.parse.parse_qs(self.rfile.read(length).decode())
        if "item" not in form:
            return self.answer(400, {"error": "name an item: curl -d item=tea"})
        with database() as cursor:
            cursor.execute("INSERT INTO orders (item) VALUES (%s) RETURNING id", (form["item"][0],))
            number = cursor.fetchone()[0]
        self.answer(201, {"order": number})

    def attempt(self, work):
        try:
            work()
        except (psycopg2.Error, redis.RedisError) as e:
            self.answer(503, {"error": f"the shop is closed, come again: {e}"})

    def answer(self, status, body):
        data = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


with database() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS orders (id serial PRIMARY KEY, item text NOT NULL)")
print("the shop is open", flush=True)
http.server.ThreadingHTTPServer(("", 8000), Shop).serve_forever()
