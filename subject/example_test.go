package subject_test

import (
	"encoding/json"
	"fmt"

	"countersign/subject"
)

func ExampleParse() {
	id, err := subject.Parse(json.RawMessage(`{
		"format": "complex",
		"user": {"format": "email", "email": "Mira@Harbor.example"},
		"session": {"format": "opaque", "id": "sess-8842"}
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	email, _ := id.Email()
	session, _ := id.Session()
	fmt.Println(id.Format(), id.Parts())
	fmt.Println(email, session.Get("id"))
	fmt.Println(id) // a log shows the format only
	// Output:
	// complex [user session]
	// mira@harbor.example sess-8842
	// complex subject
}

func ExampleMatch() {
	tenant := subject.Complex(map[string]subject.Identifier{"tenant": subject.Opaque("blue")})
	person := subject.Complex(map[string]subject.Identifier{
		"tenant": subject.Opaque("blue"),
		"user":   subject.IssSub("https://idp.example/", "u-5581"),
	})
	fmt.Println("a member that is absent is a wildcard:", subject.Match(tenant, person))
	fmt.Println("but the two are not one entry of a list:", subject.Identical(tenant, person))
	fmt.Println("matching is literal:", subject.Match(subject.Email("A@x.example"), subject.Email("a@x.example")))
	// Output:
	// a member that is absent is a wildcard: true
	// but the two are not one entry of a list: false
	// matching is literal: false
}

func ExampleComplex() {
	id := subject.Complex(map[string]subject.Identifier{
		"session": subject.Opaque("sess-8842"),
		"user":    subject.Email("mira@harbor.example"),
	})
	fmt.Println(string(id.Raw()))
	// Output:
	// {"format":"complex","user":{"format":"email","email":"mira@harbor.example"},"session":{"format":"opaque","id":"sess-8842"}}
}

func ExampleEmail() {
	fmt.Println(string(subject.Email("mira@harbor.example").Raw()))
	fmt.Println(subject.Email("not an address").IsZero())
	// Output:
	// {"format":"email","email":"mira@harbor.example"}
	// true
}
