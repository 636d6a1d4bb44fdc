package set_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign/set"
)

func ExampleSigner() {
	key, err := set.GenerateKey(set.ES256)
	if err != nil {
		fmt.Println(err)
		return
	}
	signer, err := set.NewSigner(set.ES256, "2026-11", key)
	if err != nil {
		fmt.Println(err)
		return
	}
	claims := set.Claims{
		Issuer:   "https://idp.example.com/ssf",
		Audience: []string{"https://hub.example.net"},
		IssuedAt: time.Now().Unix(),
		ID:       set.NewID(),
		SubID:    []byte(`{"format":"email","email":"mira@harbor-app.example"}`),
		Events:   []set.Event{{Type: "https://schemas.openid.net/secevent/caep/event-type/session-revoked"}},
	}
	payload, err := claims.Marshal()
	if err != nil {
		fmt.Println(err)
		return
	}
	// The input and its address can be kept now and signed when the SET is sent, however often that is.
	input := signer.Input(payload)
	first, _ := signer.Complete(input)
	second, _ := signer.Complete(input)
	one, _ := set.Parse(first)
	two, _ := set.Parse(second)
	fmt.Println("same signature:", first == second)
	fmt.Println("same address:", one.Address() == two.Address())
	// Output:
	// same signature: true
	// same address: true
}

func ExampleVerify() {
	key, _ := set.GenerateKey(set.EdDSA)
	signer, _ := set.NewSigner(set.EdDSA, "k1", key)
	compact, _ := signer.Sign([]byte(`{"iss":"https://idp.example.com/ssf","aud":"https://hub.example.net","iat":1789462800,"jti":"j-1",
		"sub_id":{"format":"opaque","id":"s"},"events":{"https://schemas.openid.net/secevent/ssf/event-type/verification":{}}}`))

	policy := &set.Policy{
		Issuer:     "https://idp.example.com/ssf",
		Audience:   []string{"https://hub.example.net"},
		Algorithms: []set.Algorithm{set.RS256, set.EdDSA},
		Keys:       set.StaticKeys{signer.Public()}, // in a program: set.NewRemoteKeys(jwksURI, client, time.Now)
		Now:        func() time.Time { return time.Unix(1789462805, 0) },
	}
	token, err := set.Verify(context.Background(), compact, policy)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.Claims().ID, token.Claims().Events[0].Type)

	elsewhere := *policy
	elsewhere.Audience = []string{"https://other.example.net"}
	_, err = set.Verify(context.Background(), compact, &elsewhere)
	fmt.Println(errors.Is(err, set.ErrAudience), err)
	// Output:
	// j-1 https://schemas.openid.net/secevent/ssf/event-type/verification
	// true set: audience does not include us
}

func ExampleParse() {
	key, _ := set.GenerateKey(set.EdDSA)
	signer, _ := set.NewSigner(set.EdDSA, "k1", key)
	compact, _ := signer.Sign([]byte(`{"iss":"https://idp.example.com/ssf","iat":1789462800,"events":{"urn:e":{}}}`))
	unverified, err := set.Parse(compact)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(unverified.Claims().Issuer, unverified.Header().KeyID)
	fmt.Println(unverified.Fault())
	// Output:
	// https://idp.example.com/ssf k1
	// set: claims break the rules of a SET: no jti
}

func ExampleParseJWKS() {
	keys, err := set.ParseJWKS([]byte(`{"keys":[
		{"kty":"oct","k":"c2VjcmV0"},
		{"kty":"OKP","crv":"Ed25519","kid":"t1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, k := range keys {
		fmt.Println(k.ID, k.Thumbprint())
	}
	fmt.Println(string(set.MarshalJWKS(keys)))
	// Output:
	// t1 kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
	// {"keys":[{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"t1"}]}
}

func ExampleAddress() {
	fmt.Println(set.Address("header.payload"))
	// Output: sha-256:4_68V_O9SLSN8UsnH5kFqyV0IithWudmqptgbzg6SpM
}
