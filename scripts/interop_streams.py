"""A receiver made of other people's libraries, against the Transmitter of a hub on its shipped defaults.

Authlib gets the access tokens, requests speaks HTTP, PyJWT verifies every SET with the published keys, jsonschema holds its
claims against CAEP 1.0 and RISC 1.0 as interop_schemas.py states them. Each check is named; one failure ends it.
usage: interop_streams.py BINARY FOLDER
"""

import datetime
import http.server
import ipaddress
import json
import os
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time

import jsonschema
import jwt
import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from interop_schemas import EVENTS, SET, VERIFICATION

PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"
SECRET, CREDENTIAL = "a-secret-of-the-receiver-0123456789", "Bearer of-the-receiver-0123456789"
binary, folder = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
passed = 0


def check(name, ok, seen=""):
    global passed
    if not ok:
        sys.exit("interop: FAILED: %s %s" % (name, seen))
    passed += 1
    print("ok   " + name, flush=True)


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def own_certificate():
    """A certificate for localhost, its own root."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(names, False).add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
    for file, content in (("receiver.pem", made.public_bytes(serialization.Encoding.PEM)), ("receiver.key", pem(key))):
        with open(os.path.join(folder, file), "wb") as f:
            f.write(content)


class Push(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    taken = queue.Queue()
    answers = []  # (status, body) for the next requests; 202 once it is empty

    def do_POST(self):
        token = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status, body = Push.answers.pop(0) if Push.answers else (202, b"")
        Push.taken.put((dict(self.headers), token, status))
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start_receiver():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Push)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "receiver.pem"), os.path.join(folder, "receiver.key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "https://localhost:%d/events" % server.server_port


def countersign(*args):
    done = subprocess.run([binary, *args, "--data", os.path.join(folder, "data")], capture_output=True, text=True, timeout=60)
    if done.returncode:
        sys.exit("interop: FAILED: countersign %s: %s%s" % (" ".join(args), done.stdout, done.stderr))
    return done.stdout


def start_hub(public):
    issuer, admin = "https://localhost:%d" % port(), "127.0.0.1:%d" % port()
    config = {"public_url": issuer, "listen": "127.0.0.1:" + issuer.rsplit(":", 1)[1], "admin_listen": admin, "data": os.path.join(folder, "data"),
              "ca_file": os.path.join(folder, "receiver.pem"), "egress": {"allow": ["127.0.0.0/8", "::1/128"]}}
    client = {"apiVersion": "countersign/v1", "kind": "client", "scopes": ["ssf.read", "ssf.manage"], "streams": "many"}
    clients = [dict(client, name="by-secret", auth="client_secret_basic", client_secret={"env": "COUNTERSIGN_SECRET_INTEROP"}),
               dict(client, name="by-key", auth="private_key_jwt", keys={"jwks": {"keys": [public]}}),
               dict(client, name="stranger", auth="bearer")]
    with open(os.path.join(folder, "hub.yaml"), "w") as f:
        json.dump(config, f)
    with open(os.path.join(folder, "clients.yaml"), "w") as f:
        f.write("\n---\n".join(json.dumps(c) for c in clients))
    log = open(os.path.join(folder, "hub.log"), "w")
    hub = subprocess.Popen([binary, "serve", "--config", os.path.join(folder, "hub.yaml"), "--apply", os.path.join(folder, "clients.yaml")],
                           stdout=log, stderr=log, env=dict(os.environ, COUNTERSIGN_SECRET_INTEROP=SECRET))
    until = time.monotonic() + 60
    while time.monotonic() < until and hub.poll() is None:
        try:
            if requests.get("http://%s/readyz" % admin, timeout=5).status_code == 200:
                return hub, issuer
        except requests.RequestException:
            pass
        time.sleep(0.1)
    hub.kill()
    sys.exit("interop: FAILED: the hub did not start:\n" + open(log.name).read())


class Keys:
    """The published keys, fetched once."""

    def __init__(self, http, metadata):
        answer = http.get(metadata["jwks_uri"], timeout=60)
        self.issuer, self.set = metadata["issuer"], jwt.PyJWKSet.from_dict(answer.json())

    def open(self, token, aud):
        """Gives the claims of a SET whose signature, issuer, audience and shape are right."""
        header = jwt.get_unverified_header(token)
        if header.get("typ") != "secevent+jwt":
            raise ValueError("typ %r" % header.get("typ"))
        claims = jwt.decode(token, self.set[header["kid"]].key, algorithms=["RS256"], issuer=self.issuer, audience=aud,
                            options={"require": ["iss", "iat", "jti", "aud"]})
        jsonschema.Draft202012Validator(SET).validate(claims)
        (kind, event), = claims["events"].items()
        jsonschema.Draft202012Validator(EVENTS.get(kind, {"type": "object"})).validate(event)
        return claims, kind, event


def main():
    own_certificate()
    endpoint = start_receiver()
    signing = rsa.generate_private_key(65537, 2048)
    public = dict(json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(signing.public_key())), kid="receiver-1", use="sig", alg="RS256")
    public.pop("key_ops", None)
    hub, issuer = start_hub(public)
    try:
        play(issuer, endpoint, signing)
    finally:
        hub.terminate()
        try:
            hub.wait(30)
        except subprocess.TimeoutExpired:
            hub.kill()
    print("interop: %d passed, 0 failed (Authlib, requests, PyJWT %s, jsonschema)" % (passed, jwt.__version__))


def session(*args, **kwargs):
    """An OAuth client that trusts the certificate that the hub made for itself, and nothing else."""
    s = OAuth2Session(*args, scope="ssf.read ssf.manage", default_timeout=60, **kwargs) if args else requests.Session()
    s.trust_env, s.verify = False, os.path.join(folder, "data", "self-signed.pem")
    return s


def play(issuer, endpoint, signing):
    with session() as http:
        metadata = http.get(issuer + "/.well-known/ssf-configuration").json()
        check("the metadata of SSF names this issuer, both deliveries and every endpoint",
              metadata["issuer"] == issuer and set(metadata["delivery_methods_supported"]) == {PUSH, POLL} and
              all(metadata[m + "_endpoint"].startswith(issuer) for m in ("configuration", "status", "add_subject", "remove_subject", "verification")), metadata)
        server = http.get(issuer + "/.well-known/oauth-authorization-server").json()
        check("the metadata of RFC 8414 names the token endpoint and its methods", server["issuer"] == issuer and
              {"client_secret_basic", "private_key_jwt"} <= set(server["token_endpoint_auth_methods_supported"]), server)
        keys = Keys(http, metadata)
        with session("by-secret", SECRET, token_endpoint_auth_method="client_secret_basic") as me:
            token = me.fetch_token(server["token_endpoint"], grant_type="client_credentials")
            check("Authlib gets a token by client_secret_basic", token["token_type"].lower() == "bearer" and token["expires_in"] > 0)
            poll(me, metadata, keys)
        with session("by-key", pem(signing).decode(), token_endpoint_auth_method="private_key_jwt") as me:
            me.register_client_auth_method(PrivateKeyJWT(server["token_endpoint"], headers={"kid": "receiver-1"}, alg="RS256"))
            token = me.fetch_token(server["token_endpoint"], grant_type="client_credentials")
            check("Authlib gets a token by private_key_jwt", token["token_type"].lower() == "bearer")
            push(me, metadata, keys, endpoint)
        refused = http.post(server["token_endpoint"], data={"grant_type": "client_credentials"}, auth=("by-secret", SECRET + "x"))
        check("a wrong secret is invalid_client", refused.status_code == 401 and refused.json()["error"] == "invalid_client", refused.text)
        check("without a token the stream API is 401 with a challenge", (r := http.get(metadata["configuration_endpoint"])).status_code == 401 and r.headers["WWW-Authenticate"].startswith("Bearer"))


def make(me, metadata, delivery):
    made = me.post(metadata["configuration_endpoint"], json={"delivery": delivery, "events_requested": list(EVENTS), "description": "interop"})
    stream = made.json()
    ok = made.status_code == 201 and stream["iss"] == metadata["issuer"] and stream["delivery"]["method"] == delivery["method"] and set(stream["events_delivered"]) <= set(EVENTS)
    check("a stream by %s is made, with iss, aud and what it delivers" % ("push" if delivery["method"] == PUSH else "poll"), ok and stream["aud"], made.text)
    return stream


def poll(me, metadata, keys):
    stream = make(me, metadata, {"method": POLL})
    sid, address = stream["stream_id"], stream["delivery"]["endpoint_url"]

    def ask(**body):
        answer = me.post(address, json=dict({"returnImmediately": True}, **body))
        if answer.status_code != 200:
            sys.exit("interop: FAILED: the poll was answered %d %s" % (answer.status_code, answer.text))
        return answer.json()

    def one(name):
        """Waits in a held poll for one SET, acknowledges it and gives what it says."""
        (jti, token), = ask(maxEvents=1, returnImmediately=False)["sets"].items()
        claims, kind, event = keys.open(token, stream["aud"])
        check(name, claims["jti"] == jti and ask(ack=[jti], maxEvents=0)["sets"] == {})
        return claims, kind, event

    asked = me.post(metadata["verification_endpoint"], json={"stream_id": sid, "state": "a state of ours"})
    check("verification is asked for (204)", asked.status_code == 204, asked.text)
    claims, kind, event = one("the verification event is polled and acknowledged")
    check("it has the state, and the stream as its subject", kind == VERIFICATION and event["state"] == "a state of ours" and claims["sub_id"] == {"format": "opaque", "id": sid}, claims)

    countersign("signal", "send", "--stream", sid, "--each-event", "--json")
    seen, more, reads = {}, True, 0
    while more and reads < 50:
        body = ask(maxEvents=5, ack=list(seen))
        for jti, token in body["sets"].items():
            seen[jti] = keys.open(token, stream["aud"])
        more, reads = bool(body["sets"]), reads + 1
    kinds = {kind for _, kind, _ in seen.values()}
    check("one event of each of %d types is polled, five at a time, each of the shape that its specification asks for" % len(kinds), kinds == set(stream["events_delivered"]), set(stream["events_delivered"]) ^ kinds)
    check("what is acknowledged is not offered again", ask()["sets"] == {})

    alice, revoked = {"format": "email", "email": "alice@example.test"}, next(t for t in EVENTS if t.endswith("/session-revoked"))

    def send():
        countersign("signal", "send", "--do", "transmit", "--stream", sid, "--event", revoked, "--subject", json.dumps(alice))

    removed = me.post(metadata["remove_subject_endpoint"], json={"stream_id": sid, "subject": alice})
    send()
    check("a subject is removed (204), and nothing comes about it", removed.status_code == 204 and ask()["sets"] == {}, removed.text)
    added = me.post(metadata["add_subject_endpoint"], json={"stream_id": sid, "subject": alice, "verified": True})
    send()
    claims, _, _ = one("a subject is added again, and its events come")
    check("adding is 200, and the event names the subject", added.status_code == 200 and claims["sub_id"] == alice, claims)

    send()
    (jti, _), = ask()["sets"].items()
    ask(setErrs={jti: {"err": "invalid_request", "description": "refused on purpose"}}, maxEvents=0)
    check("a SET that the receiver refuses by setErrs is not offered again", ask()["sets"] == {})
    dead = countersign("delivery", "list", "--stream", sid, "--outcome", "dead", "--json")
    check("the operator finds it set aside, with the reason", jti in dead and "refused on purpose" in dead, dead)

    paused = me.post(metadata["status_endpoint"], json={"stream_id": sid, "status": "paused"})
    send()
    check("a paused stream offers nothing", paused.status_code == 200 and paused.json()["status"] == "paused" and ask()["sets"] == {}, paused.text)
    me.post(metadata["status_endpoint"], json={"stream_id": sid, "status": "enabled"})
    one("enabled again, it offers what it held")
    state = me.get(metadata["status_endpoint"], params={"stream_id": sid})
    check("the status is read", state.json() == {"stream_id": sid, "status": "enabled"}, state.text)

    stranger = countersign("token", "create", "--client", "stranger", "--json")
    with session() as http:
        foreign = http.post(address, json={"returnImmediately": True}, headers={"Authorization": "Bearer " + json.loads(stranger)["token"]}, timeout=60)
    check("another receiver's token does not open the poll endpoint", foreign.status_code in (403, 404), foreign.text)
    end(me, metadata, sid)
    gone = me.post(address, json={"returnImmediately": True})
    check("its poll address is gone with it", gone.status_code == 404, gone.text)


def push(me, metadata, keys, endpoint):
    stream = make(me, metadata, {"method": PUSH, "endpoint_url": endpoint, "authorization_header": CREDENTIAL})
    sid = stream["stream_id"]

    def take(n):
        """n pushes, opened."""
        got = []
        for _ in range(n):
            try:
                headers, token, status = Push.taken.get(timeout=60)
            except queue.Empty:
                sys.exit("interop: FAILED: %d of %d pushes came" % (len(got), n))
            if headers.get("Authorization") != CREDENTIAL or headers.get("Content-Type") != "application/secevent+jwt" or headers.get("Accept") != "application/json":
                sys.exit("interop: FAILED: the headers of a push: %s" % {k: v for k, v in headers.items() if k != "Authorization"})
            got.append((token, status, *keys.open(token, stream["aud"])))
        return got

    asked = me.post(metadata["verification_endpoint"], json={"stream_id": sid, "state": "pushed"})
    _, _, claims, kind, event = take(1)[0]
    check("verification comes by push, with the credential, the media types and the state", asked.status_code == 204 and kind == VERIFICATION and event["state"] == "pushed", claims)
    countersign("signal", "send", "--stream", sid, "--each-event", "--json")
    kinds = {kind for _, _, _, kind, _ in take(len(stream["events_delivered"]))}
    check("one event of each of %d types is pushed" % len(kinds), kinds == set(stream["events_delivered"]), set(stream["events_delivered"]) ^ kinds)

    def send():
        countersign("signal", "send", "--do", "transmit", "--stream", sid, "--event", next(iter(EVENTS)), "--subject", '{"format": "email", "email": "bob@example.test"}')

    Push.answers.append((503, b""))
    send()
    first, again = take(2)
    check("after 503 the same SET comes again, byte by byte", first[0] == again[0] and (first[1], again[1]) == (503, 202))
    Push.answers.append((400, b'{"err":"invalid_request","description":"refused on purpose"}'))
    send()
    send()
    refused, taken = take(2)
    check("one SET is refused with 400, and the stream goes on", (refused[1], taken[1]) == (400, 202) and refused[0] != taken[0])
    changed = me.patch(metadata["configuration_endpoint"], json={"stream_id": sid, "description": "changed"})
    check("the stream is changed by PATCH, and keeps the rest", changed.status_code == 200 and changed.json()["description"] == "changed" and changed.json()["delivery"]["endpoint_url"] == endpoint, changed.text)
    end(me, metadata, sid)
    check("nothing more was pushed", Push.taken.empty())


def end(me, metadata, sid):
    deleted = me.delete(metadata["configuration_endpoint"], params={"stream_id": sid})
    after = me.get(metadata["configuration_endpoint"], params={"stream_id": sid})
    check("the stream is deleted (204), then 404", (deleted.status_code, after.status_code) == (204, 404), after.text)


main()
