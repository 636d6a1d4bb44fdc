#!/usr/bin/env python3
"""Runs the SSF receiver plans of the OpenID conformance suite against a hub.

usage: conformance_receiver.py --suite https://localhost:8443 --suite-ca ca.pem [--binary bin/countersign] [--only WORD]

A suite of your own must run and be able to reach this machine. The suite is the transmitter, and its authorization server.
The hub has one source with stream: none for each module, and does one step at a time with "source stream NAME STEP". Every
variant is played: pre-shared token and client credentials by each method, push and poll, default and interoperability profile.
Needs Python 3.9 and the package cryptography.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from conformance_suite import Suite, number, port

PLAIN, INTEROP = "openid-ssf-receiver-test-plan", "openid-ssf-receiver-caep-test-plan"
METHODS = ["bearer", "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt"]
TOKEN, SECRET = "a-token-of-the-suite-0123456789", "a-secret-of-the-suite-0123456789-0123456789"
AUDIENCE = "https://hub.example.test/audience"


class Hub:
    """A hub with an admin API; the sources come one by one."""

    def __init__(self, binary, suite_ca, log):
        self.binary, self.dir = os.path.abspath(binary), tempfile.mkdtemp(prefix="countersign-suite-")
        self.count = 0
        public = "https://localhost:%d" % port()
        key = rsa.generate_private_key(65537, 2048)
        public_numbers = key.public_key().public_numbers()
        self.public = {"kty": "RSA", "kid": "hub-1", "use": "sig", "alg": "RS256", "n": number(public_numbers.n), "e": number(public_numbers.e)}
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        config = {
            "public_url": public, "listen": "127.0.0.1:" + public.rsplit(":", 1)[1], "admin_listen": "127.0.0.1:%d" % port(),
            "ca_file": os.path.abspath(suite_ca), "data": self.dir + "/data", "egress": {"allow": ["127.0.0.0/8", "::1/128"]},
        }
        with open(self.dir + "/hub.yaml", "w") as f:
            json.dump(config, f)
        self.env = dict(os.environ, COUNTERSIGN_SECRET_SUITE=SECRET, COUNTERSIGN_SECRET_TOKEN=TOKEN, COUNTERSIGN_SECRET_KEY=pem,
                        COUNTERSIGN_SECRET_PUSH="Bearer of-this-hub-0123456789")
        self.process = subprocess.Popen([self.binary, "serve", "--config", self.dir + "/hub.yaml"], stdout=log, stderr=log)
        for _ in range(100):
            try:
                urllib.request.urlopen("http://%s/readyz" % config["admin_listen"], timeout=2)
                break
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("the hub stopped; see its log")
                time.sleep(0.1)

    def run(self, *args):
        done = subprocess.run([self.binary, *args, "--data", self.dir + "/data"], capture_output=True, text=True, env=self.env, timeout=60)
        if done.returncode:
            raise RuntimeError("countersign %s: %s" % (" ".join(args), (done.stdout + done.stderr).strip()))
        return done.stdout

    def source(self, issuer, token_endpoint, method, delivery):
        """A new source, with an address of its own."""
        self.count += 1
        name = "suite-%d" % self.count
        auth = {"method": method}
        if method == "bearer":
            auth["token"] = {"env": "COUNTERSIGN_SECRET_TOKEN"}
        else:
            auth.update(client_id="hub", token_endpoint=token_endpoint)
            if method == "private_key_jwt":
                auth.update(key={"env": "COUNTERSIGN_SECRET_KEY"}, key_id="hub-1")
            else:
                auth["client_secret"] = {"env": "COUNTERSIGN_SECRET_SUITE"}
        document = {"apiVersion": "countersign/v1", "kind": "source", "name": name, "type": "ssf", "issuer": issuer, "stream": "none",
                    "delivery": delivery, "audience": [AUDIENCE], "auth": auth}
        if delivery == "push":
            document["push_auth"] = {"authorization_header": {"env": "COUNTERSIGN_SECRET_PUSH"}}
        with open(self.dir + "/source.yaml", "w") as f:
            json.dump(document, f)
        self.run("apply", "-f", self.dir + "/source.yaml")
        return name


class Module:
    """One module of a plan while it runs, and the steps that we do in it."""

    def __init__(self, suite, hub, plan, module, method, delivery):
        self.suite, self.hub, self.delivery = suite, hub, delivery
        self.test = suite.call("POST", "/api/runner", test=module["testModule"], plan=plan, variant=json.dumps(module.get("variant") or {}))["id"]
        until = time.time() + 60
        while self.info()["status"] not in ("WAITING", "RUNNING", "FINISHED", "INTERRUPTED") and time.time() < until:
            if self.info()["status"] == "CONFIGURED":
                try:
                    suite.call("POST", "/api/runner/" + self.test)
                except RuntimeError:
                    pass
            time.sleep(0.3)
        exposed = suite.call("GET", "/api/runner/" + self.test)["exposed"]
        self.name = hub.source(exposed["ssf_issuer"], exposed.get("ssf_token_endpoint"), method, delivery)

    def info(self):
        return self.suite.call("GET", "/api/info/" + self.test)

    def log(self):
        return self.suite.call("GET", "/api/log/" + self.test)

    def step(self, *args):
        return self.hub.run("source", "stream", self.name, *args, "--json")

    def receive(self, seconds=60):
        """Takes what is there: polls until nothing comes (the last poll carries the last acks), or waits while it is pushed."""
        if self.delivery == "push":
            quiet, last = 0, -1
            while quiet < 3 and seconds > 0:
                seen = sum("Got receiver push endpoint response" in str(e.get("msg")) for e in self.log())
                quiet = quiet + 1 if seen == last else 0
                last, seconds = seen, seconds - 2
                time.sleep(2)
            return
        empty = 0
        for _ in range(20):
            try:
                sets = json.loads(self.step("poll")).get("sets")
            except RuntimeError as e:
                if "it is empty" in str(e):  # a module that has seen everything answers 204 to all that comes
                    return
                raise
            empty = 0 if sets else empty + 1
            if empty == 2:
                return

    def verify(self):
        self.step("verify")
        self.receive()

    def play(self, kind):
        """The operations that the module waits for, in its order."""
        self.step("create")
        if kind == "happypath":
            for verb in ("read", "update", "replace"):
                self.step(verb)
        elif kind == "stream-status-update":
            self.step("status", "--set", "paused")
            self.step("status", "--set", "enabled")
        elif kind == "stream-verification":
            self.verify()
        elif kind == "unsolicited-stream-verification":
            self.receive()
        elif kind == "stream-supported-events":
            self.verify()
            self.receive()
        elif kind == "stream-caep-interop":
            self.step("read")
            self.step("status")
            self.verify()
            self.receive()
            return
        self.step("delete")

    def finish(self):
        until = time.time() + 40
        while time.time() < until and self.info()["status"] not in ("FINISHED", "INTERRUPTED"):
            time.sleep(0.5)
        info = self.info()
        wrong = ["%s: %s" % (e.get("src"), e.get("msg")) for e in self.log() if e.get("result") in ("FAILURE", "WARNING")]
        return info["status"], info.get("result"), wrong


def variants(only):
    for plan in (PLAIN, INTEROP):
        for method in METHODS:
            for delivery in ("push", "poll"):
                name = "%s, %s, %s" % (plan, method, delivery)
                if only in name:
                    yield name, plan, method, delivery


def play(suite, hub, only, module_only):
    passed = bad = 0
    for name, plan, method, delivery in variants(only):
        print("==", name, flush=True)
        variant = {"ssf_auth_mode": "static" if method == "bearer" else "dynamic", "ssf_delivery_mode": delivery}
        if plan == PLAIN:
            variant["ssf_profile"] = "default"
        config = {
            "alias": "countersign-%s-%s-%s" % ("caep" if plan == INTEROP else "rx", method.replace("_", "-"), delivery), "description": name,
            "ssf": {"stream": {"audience": AUDIENCE}, "subjects": {"valid": {"format": "opaque", "id": "valid"}, "invalid": {"format": "opaque", "id": "invalid"}}},
        }
        if method == "bearer":
            config["ssf"]["transmitter"] = {"access_token": TOKEN}
        else:
            variant["client_auth_type"] = method
            config["client"] = {"client_id": "hub", "scope": "ssf.read ssf.manage"}
            if method == "private_key_jwt":
                config["client"]["jwks"] = {"keys": [hub.public]}
            else:
                config["client"]["client_secret"] = SECRET
            if method == "client_secret_jwt":
                config["client"]["client_secret_jwt_alg"] = "HS256"
        made = suite.call("POST", "/api/plan", config, planName=plan, variant=json.dumps(variant))
        for entry in made["modules"]:
            kind = entry["testModule"].replace("openid-ssf-receiver-", "")
            if module_only and module_only != kind:
                continue
            module, said = Module(suite, hub, made["id"], entry, method, delivery), []
            try:
                module.play(kind)
            except (RuntimeError, ValueError) as e:
                said = [str(e)]
            status, result, wrong = module.finish()
            ok = status == "FINISHED" and result == "PASSED" and not said
            passed, bad = passed + ok, bad + (not ok)
            print("  %-8s %s" % (result if status == "FINISHED" else status, entry["testModule"]), flush=True)
            for line in said + wrong:
                print("           " + line, flush=True)
    print("%d modules passed without a warning, %d did not" % (passed, bad))
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", required=True)
    parser.add_argument("--suite-ca", required=True)
    parser.add_argument("--binary", default="bin/countersign")
    parser.add_argument("--only", default="", help="plans and variants whose description contains this word")
    parser.add_argument("--module", default="", help="only this module, such as happypath")
    parser.add_argument("--log", default=os.devnull, help="where the hub's log goes")
    args = parser.parse_args()
    with open(args.log, "w") as log:
        hub = Hub(args.binary, args.suite_ca, log)
        try:
            bad = play(Suite(args.suite, args.suite_ca), hub, args.only, args.module)
        finally:
            hub.process.terminate()
            hub.process.wait()
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
