package connector_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"countersign/internal/connector"
	"countersign/internal/hub"
)

// An application that sends our credential back, in whatever form it came or is quoted, does not get it into what is kept.
func TestCredentialSentBack(t *testing.T) {
	const secret = `s3"cr&et<tok>en\0123456789`
	for name, write := range map[string]func(http.ResponseWriter, string){
		"in JSON": func(w http.ResponseWriter, cred string) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(400)
			json.NewEncoder(w).Encode(map[string]any{"error": []string{cred}})
		},
		"as text": func(w http.ResponseWriter, cred string) { w.WriteHeader(400); w.Write([]byte("{no json " + cred)) },
		"as a status line": func(w http.ResponseWriter, cred string) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				c.Write([]byte(cred + "\r\n\r\n"))
				c.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, a := app(t, func(w http.ResponseWriter, r *http.Request) { write(w, r.Header.Get("Authorization")) })
			a.Secrets = map[string]string{"token": secret, "other": secret[:8]}
			for _, pack := range []string{"http-sessions", "basic"} {
				hidden := []string{`s3"cr`, `s3\"cr`, "en0123456789", "0123456789"}
				if pack == "basic" {
					p, err := connector.ParsePack([]byte(basicPack))
					if err != nil {
						t.Fatal(err)
					}
					a.Pack = p
					hidden = append(hidden, base64.StdEncoding.EncodeToString([]byte("adm:"+secret)))
				}
				ans := r.Do(t.Context(), a, hub.OpEndAllSessions, endAll)
				all := ans.Body + "\n" + ans.Note + "\n" + ans.Request
				for _, h := range hidden {
					if strings.Contains(all, h) {
						t.Errorf("%s: kept %q in %s", pack, h, all)
					}
				}
				if !strings.Contains(all, "***") {
					t.Errorf("%s: nothing was masked in %s", pack, all)
				}
			}
		})
	}
}

const basicPack = `
id: basic
title: Basic
checked: {date: 2026-11-24, how: run}
settings: {url: {type: url, title: Address}}
secrets: {token: {title: Password}}
auth: {kind: basic, username: adm, password: "${secrets.token}"}
operations:
  end_all_sessions:
    request: {method: DELETE, path: "/u/${account.id}"}
    done: 'status == 204'
    repeat: same
`
