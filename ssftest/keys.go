package ssftest

import (
	"crypto"
	"sync"

	"countersign/set"
)

var keys struct {
	sync.Mutex
	byName map[string]crypto.Signer
}

// Key gives a private key that fits alg. Within one process the same algorithm and name give the same key, so
// an RSA key is generated once. It panics where the algorithm is not one of package set.
func Key(alg set.Algorithm, name string) crypto.Signer {
	keys.Lock()
	defer keys.Unlock()
	id := string(alg) + " " + name
	if alg == set.PS256 {
		id = string(set.RS256) + " " + name // both are RSA
	}
	if k := keys.byName[id]; k != nil {
		return k
	}
	k, err := set.GenerateKey(alg)
	if err != nil {
		panic(err)
	}
	if keys.byName == nil {
		keys.byName = map[string]crypto.Signer{}
	}
	keys.byName[id] = k
	return k
}

// Signer gives a signer over Key(alg, kid), whose public key has that kid.
func Signer(alg set.Algorithm, kid string) *set.Signer {
	s, err := set.NewSigner(alg, kid, Key(alg, kid))
	if err != nil {
		panic(err)
	}
	return s
}
