package resource_test

import (
	"testing"

	"countersign/internal/resource"
)

// Every way to show ourselves to a source can be written down, and a stream of each kind.
func TestSourcesThatAreTaken(t *testing.T) {
	const head = "apiVersion: countersign/v1\nkind: source\nname: idp\ntype: ssf\nissuer: https://idp.example.test\n"
	for name, rest := range map[string]string{
		"none":                "auth: {method: none}\n",
		"bearer":              "auth: {method: bearer, token: {stored: a}}\n",
		"client_secret_basic": "auth: {method: client_secret_basic, client_id: a, client_secret: {stored: b}, token_endpoint: 'https://a.test/t', scope: 'ssf.manage ssf.read'}\n",
		"client_secret_post":  "auth: {method: client_secret_post, client_id: a, client_secret: {stored: b}, issuer: 'https://a.test'}\n",
		"client_secret_jwt":   "auth: {method: client_secret_jwt, client_id: a, client_secret: {stored: b}, issuer: 'https://a.test', alg: HS256}\n",
		"private_key_jwt":     "auth: {method: private_key_jwt, client_id: a, key: {stored: b}, key_id: k, alg: PS256, token_endpoint: 'https://a.test/t', audience: 'https://a.test/t'}\n",
		"refresh_token":       "auth: {method: refresh_token, client_id: a, issuer: 'https://a.test', scope: offline_access}\n",
		"signed_jwt":          "auth: {method: signed_jwt, key: {stored: b}, key_id: k, issuer: a@b.test, audience: 'https://a.test/api'}\n",
		"poll":                "delivery: poll\nverify: {every: '0'}\n",
		"adopt":               "stream: adopt\nstream_id: s1\naudience: [me]\nverify: {every: 1h}\n",
		"none yet":            "stream: none\ndelivery: poll\n",
	} {
		if _, err := resource.DecodeAll([]byte(head + rest)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
