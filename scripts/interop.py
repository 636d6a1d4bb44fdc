"""Reads what a demo left behind with other people's libraries. Each check is named; one failure ends it."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import time

import jsonschema
import jwt
from jwcrypto import jwk, jws

run, program = sys.argv[1], sys.argv[2]
read = lambda name: open(os.path.join(run, name)).read().strip()
order, receipt, evidence = read("order.jwt"), read("receipt.jwt"), json.loads(read("evidence.json"))
NS = "https://ns.countersign.example/ar/1"
passed = 0


def check(name, ok):
    global passed
    if not ok:
        sys.exit("interop: FAILED: " + name)
    passed += 1
    print("ok   " + name)


def address(token):
    digest = hashlib.sha256(token.rsplit(".", 1)[0].encode()).digest()
    return "sha-256:" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def open_token(token, typ, algorithms, audience):
    header = jwt.get_unverified_header(token)
    issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
    keys = jwt.PyJWKSet.from_dict(evidence["jwks"][issuer])
    key = next(k for k in keys.keys if k.key_id == header["kid"])
    claims = jwt.decode(token, key.key, algorithms=algorithms, audience=audience, issuer=issuer, options={"require": ["iat", "jti", "iss", "aud"]})
    return header, claims


stream = evidence["streams"][0]
header, claims = open_token(order, "secevent+jwt", ["RS256"], stream["aud"])
check("PyJWT verifies the order (RS256) with the provider's published key", header["alg"] == "RS256")
check("the order has the typ of a SET and neither exp nor sub", header["typ"] == "secevent+jwt" and "exp" not in claims and "sub" not in claims)
check("the order carries one event and the directive claim", len(claims["events"]) == 1 and claims[NS + "/directive"]["obligation"] == "must")

rheader, rclaims = open_token(receipt, "secevent+jwt", ["EdDSA"], stream["receipt_audience"])
check("PyJWT verifies the receipt (EdDSA) with the hub's published key", rheader["alg"] == "EdDSA")
check("the receipt is about the order, by jwt_id", rclaims["sub_id"] == {"format": "jwt_id", "iss": claims["iss"], "jti": claims["jti"]})
body = rclaims["events"][NS + "/event-type/action-receipt"]
check("hashlib finds the content address of the order that the receipt names", body["order"]["set_hash"] == address(order))
schema = json.load(open(os.path.join(os.path.dirname(__file__), "..", "receipt", "schema.json")))
jsonschema.Draft202012Validator({"$ref": "#/$defs/receipt", "$defs": schema["$defs"]}).validate(body)
jsonschema.Draft202012Validator({"$ref": "#/$defs/directive", "$defs": schema["$defs"]}).validate(claims[NS + "/directive"])
check("jsonschema finds receipt and directive valid by the published schema", True)
totals = body["totals"]
check("the till adds up", totals["lines"] == len(body["lines"]) == totals["succeeded"] and totals["requested"] == 1)
try:
    open_token(receipt[:-6] + ("A" if receipt[-6] != "A" else "B") + receipt[-5:], "secevent+jwt", ["EdDSA"], stream["receipt_audience"])
    check("PyJWT refuses an altered receipt", False)
except jwt.InvalidSignatureError:
    check("PyJWT refuses an altered receipt", True)

# The other way: an order that jwcrypto signed, and silence about it, is read by our verifier.
key = jwk.JWK.generate(kty="EC", crv="P-256", kid="other-1")
theirs = {"iss": "https://other.example.test", "aud": "https://hub.example.test", "iat": int(time.time()), "jti": "other-order-1",
          "sub_id": {"format": "email", "email": "alice@example.test"}, "events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}},
          NS + "/directive": {"obligation": "must"}}
token = jws.JWS(json.dumps(theirs))
token.add_signature(key, alg="ES256", protected=json.dumps({"alg": "ES256", "typ": "secevent+jwt", "kid": "other-1"}))
bundle = {"version": 1, "orders": [token.serialize(compact=True)], "receipts": [], "jwks": {theirs["iss"]: {"keys": [key.export_public(as_dict=True)]}}}
path = os.path.join(run, "theirs.json")
json.dump(bundle, open(path, "w"))
exit_status = subprocess.run([program, "receipt", "verify", path, "--json"], capture_output=True).returncode
check("our verifier reads an order that jwcrypto signed, and says that it has no receipt", exit_status == 2)
print(f"interop: {passed} passed, 0 failed (PyJWT {jwt.__version__})")
