package transmitter

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"countersign/receipt"
	"countersign/stream"
)

// describe makes the metadata, of what is really there (TX-27).
func (s *Server) describe() error {
	c, base, sh := s.cfg, s.cfg.base(), s.shapes[0]
	md := stream.Metadata{
		Issuer:                   c.Issuer,
		JWKSURI:                  base + pathKeys,
		DeliveryMethodsSupported: sh.methods,
		ConfigurationEndpoint:    base + pathStreams,
		StatusEndpoint:           base + pathStatus,
		AddSubjectEndpoint:       base + pathAdd,
		RemoveSubjectEndpoint:    base + pathRemove,
		VerificationEndpoint:     base + pathVerify,
	}
	if !sh.plain {
		md.SpecVersion = stream.SpecVersion // IOP-4
		md.DefaultSubjects = s.baseline(Caller{})
		md.CriticalSubjectMembers = c.Critical
		for _, urn := range c.Schemes {
			md.AuthorizationSchemes = append(md.AuthorizationSchemes, stream.AuthorizationScheme{SpecURN: urn}) // IOP-12
		}
	}
	if c.Receipts != nil {
		ours := *c.Receipts
		ours.Endpoint = base + pathReceipts
		ours.DeliveryMethods = []string{receipt.DeliveryPush}
		ours.Status, ours.ReceiptAudience = "", ""
		if err := ours.CheckMetadata(); err != nil {
			return fmt.Errorf("transmitter: receipts: %w", err)
		}
		raw, err := ours.Marshal()
		if err != nil {
			return err
		}
		if !sh.plain {
			md.Extra = map[string]json.RawMessage{c.Vocabulary.Settings: raw}
		}
		s.ours = ours
		s.ours.ReceiptAudience = c.Issuer
	}
	var err error
	s.metadata, err = json.Marshal(md)
	return err
}

// baseline is default_subjects of the streams that a caller makes (TX-21): ALL or NONE, nothing third.
func (s *Server) baseline(c Caller) string {
	if c.DefaultSubjects == stream.DefaultNone || c.DefaultSubjects == "" && s.cfg.DefaultSubjects == stream.DefaultNone {
		return stream.DefaultNone
	}
	return stream.DefaultAll
}

// serve answers with a public document.
func (s *Server) serve(document func() []byte, maxAge time.Duration) http.HandlerFunc {
	age := "public, max-age=" + strconv.Itoa(int(maxAge.Seconds()))
	return func(w http.ResponseWriter, r *http.Request) {
		body := document()
		w.Header().Set("Cache-Control", age) // TX-31
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(body)
		}
	}
}
