package set

import "context"

// SignatureVerifies is the signature check of Verify by itself, for tokens whose typ is not a SET's.
func SignatureVerifies(compact string, keys KeySet) (Key, error) {
	t, err := parse(compact, MaxBytes)
	if err != nil {
		return Key{}, err
	}
	p := &Policy{Keys: keys}
	alg, err := p.algorithm(t.header.Algorithm)
	if err != nil {
		return Key{}, err
	}
	return p.key(context.Background(), t, alg)
}

// FixedSignature is fixedSignature.
var FixedSignature = fixedSignature

// Freshness is freshness.
var Freshness = freshness
