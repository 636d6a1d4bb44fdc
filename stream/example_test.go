package stream_test

import (
	"encoding/json"
	"fmt"

	"countersign/stream"
)

// The well-known path goes between host and path of the issuer.
func ExampleMetadataURL() {
	url, err := stream.MetadataURL("https://signals.example.com/t/blue/")
	fmt.Println(url, err)
	// Output: https://signals.example.com/.well-known/ssf-configuration/t/blue <nil>
}

// Members this package does not know stay where they are.
func ExampleConfiguration() {
	var cfg stream.Configuration
	err := json.Unmarshal([]byte(`{
		"stream_id": "st_1", "aud": "https://rx.example.com", "description": null,
		"https://vendor.example/extension": {"level": 3}}`), &cfg)
	fmt.Println(cfg.StreamID, cfg.Audience, err)
	out, _ := json.Marshal(cfg)
	fmt.Println(string(out))
	// Output:
	// st_1 [https://rx.example.com] <nil>
	// {"stream_id":"st_1","aud":"https://rx.example.com","https://vendor.example/extension":{"level":3}}
}
