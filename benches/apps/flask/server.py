# Logins as Flask's documentation does them: the session is a signed cookie. Beside it an app that keeps them in its process.
import os

from flask import Flask, request, session

app = Flask(__name__)
app.secret_key = "keyboard cat"
node = os.environ.get("NODE_NAME") or str(os.getpid())
in_memory = os.environ.get("KIND") == "memory"
users = {}
PAGE = """<!doctype html><title>a login</title><p id=page></p><script>
window.login = async (user) => {
  await fetch("/login?user=" + user, { method: "POST" });
  document.getElementById("page").textContent = JSON.stringify(await (await fetch("/me")).json());
};
</script>"""


@app.get("/")
def home():
    return "a page without a session"


@app.get("/page")
def page():
    return PAGE


@app.post("/login")
def login():
    user = request.args["user"]
    if in_memory:
        session["id"] = os.urandom(8).hex()
        users[session["id"]] = user
    else:
        session["user"] = user
    return {"node": node, "user": user}


@app.get("/me")
def me():
    user = users.get(session.get("id")) if in_memory else session.get("user")
    return {"node": node, "user": user}


if __name__ == "__main__":
    app.run(host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ["PORT"]), threaded=True)
