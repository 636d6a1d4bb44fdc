//go:build interop

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"countersign/internal/stage"
)

// keycloak is a Keycloak process with one realm, and its administrator.
type keycloak struct {
	t      *testing.T
	base   string // https://localhost:PORT
	realm  string
	log    string // file
	client *http.Client
	token  string // the administrator's; it lives a minute
}

// startKeycloak starts the distribution in the folder KEYCLOAK_HOME on free ports of loopback, with a certificate of ca, and
// waits until it answers. The feature ssf is experimental there, and off by default. Pushes to loopback are refused by default
// too; the other option only makes it hand out pushes twice a second in place of twice a minute.
func startKeycloak(t *testing.T, ca *stage.CA, dir string) *keycloak {
	t.Helper()
	home := os.Getenv("KEYCLOAK_HOME")
	if home == "" {
		t.Fatal("KEYCLOAK_HOME names no folder: run make interop, which gets Keycloak and starts this test")
	}
	crt, key, authority := filepath.Join(dir, "keycloak.crt"), filepath.Join(dir, "keycloak.key"), filepath.Join(dir, "ca.crt")
	if err := errors.Join(ca.WriteLeaf("keycloak", crt, key), os.WriteFile(authority, ca.PEM(), 0o600)); err != nil {
		t.Fatal(err)
	}
	plain, secure, management := freePort(t), freePort(t), freePort(t)
	k := &keycloak{
		t: t, base: fmt.Sprintf("https://localhost:%d", secure), realm: "acme", log: filepath.Join(dir, "keycloak.log"),
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}},
	}
	out, err := os.Create(k.log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(home, "bin", "kc.sh"), "start-dev", "--features=ssf", "--db=dev-mem", "--cache=local",
		"--http-host=127.0.0.1", fmt.Sprintf("--http-port=%d", plain), fmt.Sprintf("--https-port=%d", secure), fmt.Sprintf("--http-management-port=%d", management),
		"--https-certificate-file="+crt, "--https-certificate-key-file="+key, "--truststore-paths="+authority, "--hostname="+k.base,
		"--spi-ssf-transmitter--default--allow-insecure-push-targets=true", "--spi-ssf-transmitter--default--outbox-drainer-interval=500ms")
	cmd.Env = append(os.Environ(), "KC_BOOTSTRAP_ADMIN_USERNAME=admin", "KC_BOOTSTRAP_ADMIN_PASSWORD=admin", "JAVA_OPTS_KC_HEAP=-Xms64m -Xmx768m")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // kc.sh starts Java as a child: both are ended together
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(20 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-exited
		}
		out.Close()
	})
	begun, tick := time.Now(), time.NewTicker(500*time.Millisecond)
	defer tick.Stop()
	for time.Since(begun) < 5*time.Minute {
		select {
		case <-exited:
			t.Fatalf("Keycloak stopped at its start:\n%s", k.tail())
		case <-tick.C:
		}
		if status, _, err := k.try("GET", k.base+"/realms/master", "", nil); err == nil && status == http.StatusOK {
			t.Logf("%s, ready after %s", k.version(), time.Since(begun).Round(time.Second))
			return k
		}
	}
	t.Fatalf("Keycloak was not ready in five minutes:\n%s", k.tail())
	return nil
}

func freePort(t *testing.T) int {
	t.Helper()
	p, err := stage.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tail is the end of its log.
func (k *keycloak) tail() string {
	b, _ := os.ReadFile(k.log)
	return string(b[max(0, len(b)-3000):])
}

// version is what its log says that it is.
func (k *keycloak) version() string {
	b, _ := os.ReadFile(k.log)
	_, rest, _ := strings.Cut(string(b), "(main) Keycloak ")
	name, _, _ := strings.Cut(rest, " started")
	return "Keycloak " + name
}

// try sends one request: url.Values as a form, anything else as JSON.
func (k *keycloak) try(method, address, bearer string, body any) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var rd io.Reader
	media := "application/json"
	switch b := body.(type) {
	case nil:
	case url.Values:
		rd, media = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return 0, nil, err
		}
		rd = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, rd)
	if err != nil {
		return 0, nil, err
	}
	if rd != nil {
		req.Header.Set("Content-Type", media)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if location := resp.Header.Get("Location"); resp.StatusCode == http.StatusCreated && location != "" && len(raw) == 0 {
		raw = fmt.Appendf(nil, `{"id":%q}`, location[strings.LastIndex(location, "/")+1:])
	}
	return resp.StatusCode, raw, err
}

// ask asks the admin API with the administrator's token, or with a new one where that has ended.
func (k *keycloak) ask(method, path string, body any) (int, []byte) {
	k.t.Helper()
	for range 2 {
		status, raw, err := k.try(method, k.base+"/admin/realms"+path, k.token, body)
		if err != nil {
			k.t.Fatalf("Keycloak %s %s: %v", method, path, err)
		}
		if status != http.StatusUnauthorized {
			return status, raw
		}
		k.token = k.grant("master", url.Values{"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {"admin"}}).Access
	}
	k.t.Fatalf("Keycloak %s %s: 401 with a new token", method, path)
	return 0, nil
}

// admin does something below the realms' path; the answer, or the id of what was made, goes into out.
func (k *keycloak) admin(method, path string, body, out any) {
	k.t.Helper()
	status, raw := k.ask(method, path, body)
	if status/100 != 2 {
		k.t.Fatalf("Keycloak %s %s: %d %s", method, path, status, raw)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(raw, out); err != nil {
		k.t.Fatalf("Keycloak %s %s: %v: %s", method, path, err, raw)
	}
}

// status is how such a request is answered.
func (k *keycloak) status(method, path string) int {
	status, _ := k.ask(method, path, nil)
	return status
}

// grant is an answer of the token endpoint.
type grant struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (k *keycloak) grant(realm string, form url.Values) (g grant) {
	k.t.Helper()
	status, raw, err := k.try("POST", k.base+"/realms/"+realm+"/protocol/openid-connect/token", "", form)
	if err == nil {
		err = json.Unmarshal(raw, &g)
	}
	if err != nil || status != http.StatusOK {
		k.t.Fatalf("Keycloak gives no token: %d %s %v", status, raw, err)
	}
	return g
}

// person makes somebody, and gives the id.
func (k *keycloak) person(name string) string {
	var made struct{ ID string }
	k.admin("POST", "/"+k.realm+"/users", map[string]any{
		"username": name, "email": name + "@example.test", "emailVerified": true, "firstName": name, "lastName": "A", "enabled": true,
		"credentials": []any{map[string]any{"type": "password", "value": "pw-" + name, "temporary": false}},
	}, &made)
	return made.ID
}

// receiver makes the client that we are there: confidential, with a service account and the two scopes.
func (k *keycloak) receiver(name string, attributes map[string]string) {
	attributes["ssf.enabled"], attributes["ssf.defaultSubjects"], attributes["ssf.minVerificationInterval"] = "true", "ALL", "2"
	k.admin("POST", "/"+k.realm+"/clients", map[string]any{
		"clientId": name, "secret": "rx-secret-" + name, "publicClient": false, "serviceAccountsEnabled": true, "standardFlowEnabled": false,
		"optionalClientScopes": []string{"ssf.read", "ssf.manage"}, "attributes": attributes,
	}, nil)
}

// signIn starts a session of somebody at Keycloak, without a browser.
func (k *keycloak) signIn(name string) grant {
	return k.grant(k.realm, url.Values{"grant_type": {"password"}, "client_id": {"portal"}, "client_secret": {"portal-secret"},
		"username": {name}, "password": {"pw-" + name}, "scope": {"openid"}})
}

// signOut ends that session, as its person does it.
func (k *keycloak) signOut(g grant) {
	k.t.Helper()
	status, raw, err := k.try("POST", k.base+"/realms/"+k.realm+"/protocol/openid-connect/logout", "",
		url.Values{"client_id": {"portal"}, "client_secret": {"portal-secret"}, "refresh_token": {g.Refresh}})
	if err != nil || status != http.StatusNoContent {
		k.t.Fatalf("Keycloak's sign-out: %d %s %v", status, raw, err)
	}
}
