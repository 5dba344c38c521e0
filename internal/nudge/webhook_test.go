package nudge_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/nudge"
)

// receiver is an agency's HTTPS server on loopback.
type receiver struct {
	addr string
	mu   sync.Mutex
	got  []received
}

type received struct {
	header http.Header
	path   string
	body   string
}

func (r *receiver) seen() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got
}

func newReceiver(t *testing.T, cert *tls.Certificate, answer http.HandlerFunc) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{addr: l.Addr().String()}
	if cert != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})
	}
	server := &http.Server{ReadTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.got = append(r.got, received{q.Header, q.Method + " " + q.URL.RequestURI(), string(body)})
		r.mu.Unlock()
		answer(w, q)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return r
}

func hookConfig(allow, hook string) string {
	return fmt.Sprintf(`
notify:
  ca_file: ca.pem
  webhook_allow: ['%s']
  targets:
    - authority: jm/constabulary
      webhook: '%s'
      webhook_secret_file: hook-secret
`, allow, hook)
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// Standard Webhooks: headers, signature over id.timestamp.payload, thin payload.
func TestWebhook(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, &w.cert, status(http.StatusNoContent))
	sender, targets := w.mustLoad(hookConfig(r.addr, "https://"+r.addr+"/nudge?room=7"))
	n := notice(t, "es")
	for range 2 { // an attempt and its repeat
		if again, err := sender.Send(t.Context(), targets[0].Desk, n); err != nil || !again.IsZero() {
			t.Fatal(err, again)
		}
	}
	got := r.seen()
	if len(got) != 2 {
		t.Fatalf("%d calls", len(got))
	}
	for _, g := range got {
		if g.path != "POST /nudge?room=7" || g.body != `{"type":"item.immediate","timestamp":"2026-03-04T05:06:07Z","data":{"authority":"jm/constabulary"}}` {
			t.Errorf("%s\n%s", g.path, g.body)
		}
		id, at := g.header.Get("webhook-id"), g.header.Get("webhook-timestamp")
		seconds, err := strconv.ParseInt(at, 10, 64)
		if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute || id != n.ID.String() {
			t.Errorf("id %q, timestamp %q", id, at)
		}
		mac := hmac.New(sha256.New, []byte(secretKey))
		mac.Write([]byte(id + "." + at + "." + g.body))
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); g.header.Get("webhook-signature") != want {
			t.Errorf("signature %q, want %q", g.header.Get("webhook-signature"), want)
		}
		for name := range g.header {
			switch name {
			case "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Content-Type", "Content-Length", "User-Agent", "Connection":
			default:
				t.Errorf("header %s: %q", name, g.header[name])
			}
		}
		if g.header.Get("Content-Type") != "application/json" || g.header.Get("User-Agent") != "Enlace" {
			t.Errorf("headers %v", g.header)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v %s", targets[0].Desk, targets[0].Desk, targets[0].Desk.Secret, targets[0].Desk.Webhook); strings.Contains(s, secretKey) {
		t.Errorf("the secret prints: %s", s)
	}
}

func TestWebhookAnswers(t *testing.T) {
	w := newWorld(t)
	for code, want := range map[int]struct {
		kind fault.Kind
		code string
	}{
		400: {fault.Denied, "refused"}, 401: {fault.Denied, "refused"}, 404: {fault.Denied, "refused"}, 410: {fault.Denied, "gone"},
		304: {fault.Denied, "redirect"}, 408: {fault.Retry, ""}, 425: {fault.Retry, ""}, 429: {fault.Retry, ""}, 500: {fault.Retry, ""}, 503: {fault.Retry, ""},
	} {
		r := newReceiver(t, &w.cert, status(code))
		sender, targets := w.mustLoad(hookConfig(r.addr, "https://"+r.addr+"/"))
		again, err := sender.Send(t.Context(), targets[0].Desk, notice(t, "en"))
		wantFault(t, err, want.kind, want.code)
		if again.IsZero() != (want.kind == fault.Denied) || !again.IsZero() && (again.Secret.IsZero() || again.Webhook != targets[0].Desk.Webhook) {
			t.Errorf("%d: again %v", code, again)
		}
	}
}

// A redirect leads nowhere, on or off the list.
func TestWebhookRedirect(t *testing.T) {
	w := newWorld(t)
	inner := newReceiver(t, &w.cert, status(http.StatusOK))
	for _, code := range []int{301, 302, 303, 307, 308} {
		r := newReceiver(t, &w.cert, func(a http.ResponseWriter, q *http.Request) {
			http.Redirect(a, q, "https://"+inner.addr+"/", code)
		})
		sender, targets := w.mustLoad(strings.Replace(hookConfig(r.addr, "https://"+r.addr+"/"), "['", "['"+inner.addr+"', '", 1))
		_, err := sender.Send(t.Context(), targets[0].Desk, notice(t, "en"))
		wantFault(t, err, fault.Denied, "redirect")
		if len(inner.seen()) != 0 || len(r.seen()) != 1 {
			t.Errorf("%d was followed", code)
		}
	}
}

// The list is asked at each call too, not only when the configuration is read: addresses travel through a queue.
func TestWebhookNotOnList(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, &w.cert, status(http.StatusOK))
	_, targets := w.mustLoad(hookConfig(r.addr, "https://"+r.addr+"/"))
	_, port, _ := net.SplitHostPort(r.addr)
	for _, allow := range []string{"127.0.0.1:1", "localhost:" + port, "127.0.0.2:" + port} {
		sender, _ := w.mustLoad("notify: {ca_file: ca.pem, webhook_allow: ['" + allow + "']}")
		again, err := sender.Send(t.Context(), targets[0].Desk, notice(t, "en"))
		wantFault(t, err, fault.Denied, "webhook-not-allowed")
		if !again.IsZero() || len(r.seen()) != 0 {
			t.Errorf("%s: again %v, %d calls", allow, again, len(r.seen()))
		}
	}
	sender, _ := w.mustLoad(hookConfig(r.addr, "https://"+r.addr+"/"))
	unsigned := targets[0].Desk
	unsigned.Secret = nudge.Secret{}
	_, err := sender.Send(t.Context(), unsigned, notice(t, "en"))
	wantFault(t, err, fault.Denied, "no-secret")
	if len(r.seen()) != 0 {
		t.Error("an unsigned call went out")
	}
}

// A listed name that leads inside is refused when it is looked up, whatever certificate waits there.
func TestWebhookNameLeadsInside(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, &w.cert, status(http.StatusOK))
	_, port, _ := net.SplitHostPort(r.addr)
	sender, targets := w.mustLoad(hookConfig("localhost:"+port, "https://LOCALHOST:"+port+"/secret-path"))
	again, err := sender.Send(t.Context(), targets[0].Desk, notice(t, "en"))
	wantFault(t, err, fault.Denied, "private-address")
	if !again.IsZero() || len(r.seen()) != 0 || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("again %v, %d calls, %v", again, len(r.seen()), err)
	}
}

// http is for a loopback address in digits that is on the list.
func TestWebhookPlainOnLoopback(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, nil, status(http.StatusOK))
	sender, targets := w.mustLoad(hookConfig(r.addr, "http://"+r.addr+"/"))
	if _, err := sender.Send(t.Context(), targets[0].Desk, notice(t, "en")); err != nil || len(r.seen()) != 1 {
		t.Errorf("%v, %d calls", err, len(r.seen()))
	}
}

func TestWebhookTroubles(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	stranger := newReceiver(t, &other.cert, status(http.StatusOK))
	large := newReceiver(t, &w.cert, func(a http.ResponseWriter, _ *http.Request) { // more than anyone reads
		for line := []byte(strings.Repeat("x", 32<<10)); ; {
			if _, err := a.Write(line); err != nil {
				return
			}
		}
	})
	heady := newReceiver(t, &w.cert, func(a http.ResponseWriter, _ *http.Request) {
		a.Header().Set("X-Large", strings.Repeat("x", 80<<10))
	})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, test := range map[string]struct {
		addr string
		want bool
	}{"a stranger's CA": {stranger.addr, false}, "endless body": {large.addr, true}, "endless header": {heady.addr, false}, "nobody there": {closed.Addr().String(), false}} {
		sender, targets := w.mustLoad(hookConfig(test.addr, "https://"+test.addr+"/secret-path"))
		begun := time.Now()
		again, err := sender.Send(t.Context(), targets[0].Desk, notice(t, "en"))
		if (err == nil) != test.want || again.IsZero() != test.want || time.Since(begun) > 5*time.Second {
			t.Errorf("%s: %v, again %v after %v", name, err, again, time.Since(begun))
		}
		if err != nil && (fault.KindOf(err) != fault.Retry || strings.Contains(err.Error(), "secret-path")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(stranger.seen()) != 0 {
		t.Error("a stranger was told")
	}
}

// Mail and webhook are told each on its own; what failed for now is left over.
func TestBothWays(t *testing.T) {
	w := newWorld(t)
	server := newMailServer(t, w.cert, nil)
	code := http.StatusServiceUnavailable
	r := newReceiver(t, &w.cert, func(a http.ResponseWriter, _ *http.Request) { a.WriteHeader(code) })
	config := strings.Replace(server.config("  webhook_allow: ['"+r.addr+"']\n"), "mail: [desk@jm.example]",
		"mail: [desk@jm.example]\n      webhook: 'https://"+r.addr+"/'\n      webhook_secret_file: hook-secret", 1)
	sender, targets := w.mustLoad(config)
	n := notice(t, "es")
	again, err := sender.Send(t.Context(), targets[0].Desk, n)
	wantFault(t, err, fault.Retry, "")
	if len(again.Mail) != 0 || again.Webhook.IsZero() {
		t.Errorf("again %v", again)
	}
	code = http.StatusOK
	if again, err = sender.Send(t.Context(), again, n); err != nil || !again.IsZero() {
		t.Errorf("%v, again %v", err, again)
	}
	if _, _, mails, _ := server.result(); len(mails) != 1 || len(r.seen()) != 2 {
		t.Errorf("%d mails, %d calls", len(mails), len(r.seen()))
	}

	server.answers = map[string]string{"MAIL": "452 full"}
	code = http.StatusGone
	again, err = sender.Send(t.Context(), targets[0].Desk, n)
	wantFault(t, err, fault.Retry, "")
	if len(again.Mail) != 1 || !again.Webhook.IsZero() {
		t.Errorf("again %v", again)
	}
	server.answers = map[string]string{"MAIL": "553 no"}
	again, err = sender.Send(t.Context(), targets[0].Desk, n)
	wantFault(t, err, fault.Denied, "refused")
	if !again.IsZero() {
		t.Errorf("again %v", again)
	}
}

func TestEndpoint(t *testing.T) {
	for text, want := range map[string]string{
		"https://hooks.jm.example/a/b?c=d": "hooks.jm.example:443", "https://Hooks.JM.example:8443": "hooks.jm.example:8443",
		"http://127.0.0.1/x": "127.0.0.1:80", "http://[::1]:8080/": "[::1]:8080", "https://10.1.2.3/": "10.1.2.3:443",
		"https://[::ffff:10.1.2.3]/": "10.1.2.3:443",
	} {
		if e, err := nudge.ParseEndpoint(text); err != nil || e.String() != want || e.IsZero() {
			t.Errorf("%q = %v, %v", text, e, err)
		}
	}
	for _, bad := range []string{
		"", "hooks.jm.example", "//hooks.jm.example/", "http://hooks.jm.example/", "http://localhost/", "http://10.1.2.3/", "ftp://hooks.jm.example/",
		"https://user:pass@hooks.jm.example/", "https://user@hooks.jm.example/", "https://hooks.jm.example/#part", "https:hooks.jm.example",
		"https://", "https:///path", "https://hooks.jm.example:0/", "https://hooks.jm.example:70000/", "https://hooks.jm.example:0443/",
		"https://hooks_jm.example/", "https://hooks.jm.example./", "https://hooks.jm.example/\r\nX: y", "https://[fe80::1%25eth0]/",
		"https://hooks.jm.example/" + strings.Repeat("a", 2048),
	} {
		if e, err := nudge.ParseEndpoint(bad); err == nil {
			t.Errorf("%q was read as %v", bad, e)
		}
	}
}

func TestSecret(t *testing.T) {
	for _, bad := range []string{"", "whsec_", secretText[6:], "whsec_AAAA", "whsec_" + strings.Repeat("A", 88), "whsec_!" + secretText[7:], secretText + "\n"} {
		if s, err := nudge.ParseSecret(bad); err == nil || !s.IsZero() {
			t.Errorf("%q was accepted", bad)
		}
	}
	if s, err := nudge.ParseSecret(secretText); err != nil || s.IsZero() {
		t.Error(err)
	}
}
