#!/usr/bin/env python3
"""Runs the SSF transmitter plans of the OpenID conformance suite against a hub on its shipped defaults.

usage: conformance_suite.py --suite https://localhost:8443 --suite-ca ca.pem [--binary bin/countersign] [--only WORD]

A suite of your own must run and be able to reach this machine. The hub gets nothing but what cannot be defaulted: its
issuer, the CA of the suite, the range that may be called, and one client for each way to authenticate. Every
variant is played: pre-shared token and client credentials by each method, push and poll, metadata by discovery and stated.
Needs Python 3.9 and the package cryptography.
"""
import argparse
import base64
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from cryptography.hazmat.primitives.asymmetric import rsa

TRANSMITTER, INTEROP = "openid-ssf-transmitter-test-plan", "openid-ssf-transmitter-caep-test-plan"
METHODS = ["bearer", "client_secret_basic", "client_secret_post", "private_key_jwt"]
SECRET = "a-secret-of-the-suite-0123456789"


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def number(n):
    return base64.urlsafe_b64encode(n.to_bytes((n.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


def key_pair():
    """A private JWK, and the public part of it."""
    k = rsa.generate_private_key(65537, 2048).private_numbers()
    public = {"kty": "RSA", "kid": "suite-1", "use": "sig", "alg": "RS256", "n": number(k.public_numbers.n), "e": number(k.public_numbers.e)}
    private = dict(public, d=number(k.d), p=number(k.p), q=number(k.q), dp=number(k.dmp1), dq=number(k.dmq1), qi=number(k.iqmp))
    return private, public


class Hub:
    def __init__(self, binary, suite_ca, log):
        self.binary, self.dir = os.path.abspath(binary), tempfile.mkdtemp(prefix="countersign-suite-")
        self.issuer = "https://localhost:%d" % port()
        private, public = key_pair()
        self.private = private
        config = {
            "public_url": self.issuer,
            "listen": "127.0.0.1:" + self.issuer.rsplit(":", 1)[1],
            "admin_listen": "127.0.0.1:%d" % port(),
            "ca_file": os.path.abspath(suite_ca),
            "data": self.dir + "/data",
            "egress": {"allow": ["127.0.0.0/8", "::1/128"]},
        }
        documents = [{"apiVersion": "countersign/v1"}]
        for method in METHODS:
            client = {"kind": "client", "name": "suite-" + method.replace("_", "-"), "auth": method, "scopes": ["ssf.read", "ssf.manage"]}
            if method == "private_key_jwt":
                client["keys"] = {"jwks": {"keys": [public]}}
            if method.startswith("client_secret"):
                client["client_secret"] = {"env": "COUNTERSIGN_SECRET_SUITE"}
            documents.append(client)
        documents[1] = dict(documents[0], **documents[1])
        with open(self.dir + "/hub.yaml", "w") as f:
            json.dump(config, f)
        with open(self.dir + "/clients.yaml", "w") as f:
            f.write("\n---\n".join(json.dumps(d) for d in documents[1:]))
        env = dict(os.environ, COUNTERSIGN_SECRET_SUITE=SECRET)
        self.process = subprocess.Popen([self.binary, "serve", "--config", self.dir + "/hub.yaml", "--apply", self.dir + "/clients.yaml"],
                                        stdout=log, stderr=log, env=env)
        for _ in range(100):
            try:
                urllib.request.urlopen("http://%s/readyz" % config["admin_listen"], timeout=2)
                break
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("the hub stopped; see its log")
                time.sleep(0.1)
        self.token = json.loads(self.run("token", "create", "--client", "suite-bearer", "--json"))["token"]

    def run(self, *args):
        return subprocess.run([self.binary, *args, "--data", self.dir + "/data"], check=True, capture_output=True, text=True).stdout

    def send_events(self):
        """One event of each type on every stream that is enabled, the way an operator does it."""
        for line in self.run("stream", "list", "--json").splitlines():
            stream = json.loads(line)
            if stream.get("status") == "enabled":
                self.run("signal", "send", "--stream", stream["stream_id"], "--each-event", "--json")


class Suite:
    def __init__(self, url, ca):
        self.url, self.tls = url.rstrip("/"), ssl.create_default_context(cafile=ca)

    def call(self, method, path, body=None, **query):
        url = self.url + path + ("?" + urllib.parse.urlencode(query) if query else "")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=180) as answer:
                text = answer.read()
        except urllib.error.HTTPError as e:
            raise RuntimeError("the suite answered %d to %s %s: %s" % (e.code, method, path, e.read()[:500].decode(errors="replace"))) from None
        return json.loads(text) if text else None

    def module(self, plan, module, on_wait):
        """Runs one module to its end and gives its result and the lines that say what was wrong."""
        test = self.call("POST", "/api/runner", test=module["testModule"], plan=plan, variant=json.dumps(module.get("variant") or {}))["id"]
        until, sent = time.time() + 240, 0
        while time.time() < until:
            info = self.call("GET", "/api/info/" + test)
            if info["status"] in ("FINISHED", "INTERRUPTED"):
                break
            if info["status"] == "CONFIGURED":
                try:
                    self.call("POST", "/api/runner/" + test)
                except RuntimeError:
                    pass
            if "interop" in module["testModule"] and sent < 6:
                log = self.call("GET", "/api/log/" + test)
                if any("trigger these events" in str(entry.get("msg")) for entry in log):
                    sent += 1
                    on_wait()
            time.sleep(0.5)
        log = self.call("GET", "/api/log/" + test)
        wrong = ["%s: %s" % (e.get("src"), e.get("msg")) for e in log if e.get("result") in ("FAILURE", "WARNING")]
        return info["status"], info.get("result"), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", required=True)
    parser.add_argument("--suite-ca", required=True)
    parser.add_argument("--binary", default="bin/countersign")
    parser.add_argument("--only", default="", help="plans and variants whose description contains this word")
    parser.add_argument("--log", default=os.devnull, help="where the hub's log goes")
    args = parser.parse_args()
    suite = Suite(args.suite, args.suite_ca)
    with open(args.log, "w") as log:
        hub = Hub(args.binary, args.suite_ca, log)
        try:
            bad = play(suite, hub, args.only)
        finally:
            hub.process.terminate()
            hub.process.wait()
    sys.exit(1 if bad else 0)


def play(suite, hub, only):
    bad = passed = 0
    for plan in (TRANSMITTER, INTEROP):
        for method in METHODS:
            for delivery in ("push", "poll"):
                for metadata in ("discovery", "static") if method == "bearer" else ("discovery",):
                    name = "%s, %s, %s, metadata by %s" % (plan, method, delivery, metadata)
                    if only not in name:
                        continue
                    print("==", name, flush=True)
                    variant = {"ssf_server_metadata": metadata, "ssf_auth_mode": "static" if method == "bearer" else "dynamic", "ssf_delivery_mode": delivery}
                    if plan == TRANSMITTER:
                        variant["ssf_profile"] = "default"
                    config = {
                        "alias": "countersign-%s-%s" % (method.replace("_", "-"), delivery), "description": name,
                        "ssf": {"subjects": {"valid": {"format": "email", "email": "valid@example.test"}, "invalid": {"format": "email", "email": "nobody@example.test"}},
                                "transmitter": {"issuer": hub.issuer, "push_endpoint_authorization_header": "Bearer of-the-suite"}},
                    }
                    if metadata == "static":
                        config["ssf"]["transmitter"]["configuration_metadata_endpoint"] = hub.issuer + "/.well-known/ssf-configuration"
                    if method == "bearer":
                        config["ssf"]["transmitter"]["access_token"] = hub.token
                    else:
                        variant.update({"client_auth_type": method, "client_registration": "static_client", "server_metadata": "discovery"})
                        config["server"] = {"discoveryUrl": hub.issuer + "/.well-known/oauth-authorization-server"}
                        config["client"] = {"client_id": "suite-" + method.replace("_", "-"), "scope": "ssf.read ssf.manage"}
                        if method == "private_key_jwt":
                            config["client"]["jwks"] = {"keys": [hub.private]}
                        else:
                            config["client"]["client_secret"] = SECRET
                    made = suite.call("POST", "/api/plan", config, planName=plan, variant=json.dumps(variant))
                    for module in made["modules"]:
                        status, result, wrong = suite.module(made["id"], module, hub.send_events)
                        ok = status == "FINISHED" and result == "PASSED"
                        passed, bad = passed + ok, bad + (not ok)
                        print("  %-8s %s" % (result if status == "FINISHED" else status, module["testModule"]), flush=True)
                        for line in wrong:
                            print("           " + line)
    print("%d modules passed without a warning, %d did not" % (passed, bad))
    return bad


if __name__ == "__main__":
    main()
