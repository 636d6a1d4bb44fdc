package transmitter_test

import (
	"context"
	"fmt"
	"log"

	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

// A key is replaced while the transmitter runs: the next one is published first, signs later, and the old one stays
// until no row needs it.
func ExampleTransmitter_SetKeys() {
	t, err := transmitter.New(newConfig(new(transmitter.Memory)))
	if err != nil {
		log.Fatal(err)
	}
	old, next := ssftest.Signer(set.ES256, "es-1"), ssftest.Signer(set.ES256, "es-2")
	if err := t.SetKeys(transmitter.Keys{Signers: []*set.Signer{old}, Also: []set.Key{next.Public()}}); err != nil {
		log.Fatal(err)
	}
	// … when the caches of receivers are over:
	if err := t.SetKeys(transmitter.Keys{Signers: []*set.Signer{next, old}}); err != nil {
		log.Fatal(err)
	}
	inUse, err := t.KeysInUse(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if inUse["es-1"] == 0 {
		fmt.Println("es-1 may go:", t.SetKeys(transmitter.Keys{Signers: []*set.Signer{next}, Also: []set.Key{old.Public()}}) == nil)
	}
	// Output: es-1 may go: true
}

// What keeps streams from delivering, in words.
func ExampleTransmitter_Overview() {
	store := new(transmitter.Memory)
	ctx := context.Background()
	if err := store.CreateStream(ctx, &transmitter.Stream{ID: "crm", Receiver: "crm", Audience: []string{"https://crm.example"},
		Method: "urn:ietf:rfc:8935", Endpoint: "https://crm.example/set", Status: transmitter.Enabled}, 0); err != nil {
		log.Fatal(err)
	}
	t, err := transmitter.New(newConfig(store))
	if err != nil {
		log.Fatal(err)
	}
	streams, err := t.Overview(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range streams {
		fmt.Println(s.Stream.ID, s.Counts.Waiting, s.Warnings)
	}
	// Output: crm 0 [delivers nothing: events_delivered is empty; its receiver asked for no event type that it may have]
}
