package operator

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/wire"
)

func newPool(certs ...*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool
}

func TestRESTSession(t *testing.T) {
	h := open(t)
	code, body := h.call("", http.MethodPost, "/v1/session", `{"user":"ana","password":"`+password+`"}`)
	var in struct{ Token, Expires string }
	if err := json.Unmarshal([]byte(body), &in); code != http.StatusOK || err != nil || in.Expires == "" {
		t.Fatalf("login = %d %s", code, body)
	}
	code, body = h.call(in.Token, http.MethodGet, "/v1/session", "")
	if code != http.StatusOK || !strings.Contains(squeeze(body), `"user":"ana"`) || !strings.Contains(squeeze(body), `"scopes":[]`) {
		t.Errorf("who = %d %s", code, body)
	}
	code, body = h.call(in.Token, http.MethodPost, "/v1/requests", `{"draft":{"to":"jm/dpp","request":{"title":"Ñandú"},"asks":[{"number":1,"question":"¿quién?"}]}}`)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(body), &made); code != http.StatusOK || err != nil {
		t.Fatalf("create = %d %s", code, body)
	}
	code, body = h.call(in.Token, http.MethodGet, "/v1/requests/"+made.ID, "")
	if code != http.StatusOK || !strings.Contains(squeeze(body), `"question":"¿quién?"`) {
		t.Errorf("show = %d %s", code, body)
	}
	code, body = h.call(in.Token, http.MethodPost, "/v1/requests/"+made.ID+"/send", "{}")
	if code != http.StatusOK || !strings.Contains(body, "PENDING_APPROVAL") {
		t.Errorf("send = %d %s", code, body)
	}
	if code, _ = h.call(in.Token, http.MethodDelete, "/v1/session", ""); code != http.StatusOK {
		t.Errorf("logout = %d", code)
	}
	if code, _ = h.call(in.Token, http.MethodGet, "/v1/session", ""); code != http.StatusUnauthorized {
		t.Errorf("after logout = %d, want 401", code)
	}
}

func TestRESTRefusesBadInput(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	tests := []struct {
		name, method, path, body string
		status                   int
		code                     string
	}{
		{"unknown field", "POST", "/v1/session", `{"user":"a","pasword":"x"}`, 400, "malformed-json"},
		{"unknown field deep", "POST", "/v1/requests", `{"draft":{"request":{"x":1}}}`, 400, "malformed-json"},
		{"field twice", "POST", "/v1/session", `{"user":"a","user":"b"}`, 400, "malformed-json"},
		{"two bodies", "POST", "/v1/session", `{"user":"a"}{"user":"b"}`, 400, "malformed-json"},
		{"not JSON", "POST", "/v1/session", `user=a`, 400, "malformed-json"},
		{"wrong type", "POST", "/v1/session", `{"password":424242}`, 400, "malformed-json"},
		{"not UTF-8", "POST", "/v1/session", "{\"user\":\"\xff\"}", 400, "malformed-json"},
		{"oversize", "POST", "/v1/requests", `{"draft":{"to":"` + strings.Repeat("a", 2<<20) + `"}}`, 413, "too-large"},
		{"deep", "POST", "/v1/requests", strings.Repeat(`{"draft":`, 20000), 400, "malformed-json"},
		{"query on POST", "POST", "/v1/requests?limit=1", `{"draft":{}}`, 400, "unexpected-query"},
		{"unknown parameter", "GET", "/v1/requests?limti=1", "", 400, "unknown-field"},
		{"JSON name", "GET", "/v1/requests?nextCursor=1", "", 400, "unknown-field"},
		{"token as parameter", "GET", "/v1/requests?access_token=x", "", 400, "unknown-field"},
		{"parameter on none", "DELETE", "/v1/session?x=1", "", 400, "unknown-field"},
		{"path parameter again", "GET", "/v1/requests/x?id=y", "", 400, "unknown-field"},
		{"parameter twice", "GET", "/v1/requests?limit=1&limit=2", "", 400, "malformed-json"},
		{"not a number", "GET", "/v1/requests?limit=many", "", 400, "malformed-json"},
		{"page too long", "GET", "/v1/requests?limit=501", "", 400, "limit"},
		{"no such direction", "GET", "/v1/requests?direction=up", "", 400, "unknown-direction"},
		{"no such status", "GET", "/v1/requests?status=LOST", "", 400, "unknown-status"},
		{"no cursor", "GET", "/v1/requests?cursor=-1", "", 400, "malformed-cursor"},
		{"body on GET", "GET", "/v1/requests", "x", 400, "unexpected-body"},
		{"malformed ID", "GET", "/v1/requests/7", "", 400, "malformed-id"},
		{"unknown ID", "GET", "/v1/requests/0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f", "", 404, "unknown-request"},
		{"nothing there", "GET", "/v2/requests", "", 404, "no-such-path"},
		{"wrong method", "DELETE", "/v1/requests", "", 405, "method"},
		{"streaming method", "POST", "/enlace.operator.v1.SessionService/WhoAmI", "{}", 404, "no-such-path"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, body := h.call(ana, test.method, test.path, test.body)
			var p problem
			d := json.NewDecoder(strings.NewReader(body))
			d.DisallowUnknownFields()
			if err := d.Decode(&p); err != nil || p.Kind == "" || p.Message == "" {
				t.Fatalf("the error is not in its form: %s", body)
			}
			if status != test.status || p.Code != test.code {
				t.Errorf("got %d %s, want %d %s", status, body, test.status, test.code)
			}
			if strings.Contains(body, "424242") {
				t.Error("the answer repeats what may be a password")
			}
		})
	}
	status, body := h.call(ana, "POST", "/v1/session", `{}`, "Content-Type", "text/plain")
	if status != 400 || !strings.Contains(body, "media-type") {
		t.Errorf("text as body = %d %s", status, body)
	}
	// A form that claims to be another method is what its request line says.
	status, body = h.call(ana, "POST", "/v1/session", "", "X-HTTP-Method-Override", "DELETE", "Content-Type", "application/x-www-form-urlencoded")
	if status != 401 || !strings.Contains(body, "unauthenticated") {
		t.Errorf("override = %d %s, want a login without name", status, body)
	}
	if status, _ = h.call(ana, "GET", "/v1/session", ""); status != 200 {
		t.Error("the override ended the session")
	}
}

// Paths are sent raw: Go's client would clean some of them.
func TestRESTPathConfusion(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	for _, path := range []string{
		"//v1/session", "/v1//session", "/v1/./session", "/v1/x/../session", "/v1/session/", "/v1/session/.", "/v1/session%2F",
		"/v1/%2e%2e/v1/session", "/v1/session%00", "/v1/session%0a", "/v1/session;x", "/v1\\session", "/v1/requests/%2e%2e/session",
		"/v1/directory/..%2Fsession", "/v1/directory/mx%2F..%2F..%2Fsession", "/v1/requests/a%2Fcheck", "/v1/directory/mx%5Cfgr",
		"/v1/%64irectory/mx%2Ffgr", "*", "http://other/v1/session/..",
	} {
		status, body := raw(t, h, "GET "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+ana+"\r\nConnection: close\r\n\r\n")
		if status != 400 && status != 404 {
			t.Errorf("GET %s = %d %s, want 400", path, status, body)
		}
		if strings.Contains(body, "ana") {
			t.Errorf("GET %s reached the session: %s", path, body)
		}
	}
	for _, request := range []string{
		"GET /v1/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + ana + "\r\nAuthorization: Bearer " + ana + "\r\nConnection: close\r\n\r\n",
		"GET /v1/session HTTP/1.1\r\nHost: x\r\nGrpc-Metadata-Authorization: Bearer " + ana + "\r\nConnection: close\r\n\r\n",
		"GET /v1/session HTTP/1.1\r\nHost: x\r\nCookie: authorization=Bearer " + ana + "\r\nConnection: close\r\n\r\n",
	} {
		if status, body := raw(t, h, request); status != 401 {
			t.Errorf("%.60q = %d %s, want 401", request, status, body)
		}
	}
}

func raw(t *testing.T, h *house, request string) (int, string) {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(h.web, "https://"), &tls.Config{RootCAs: newPool(h.ca), ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestRESTHeaders(t *testing.T) {
	h := open(t, func(c *Config) { c.Origins = []string{"https://desk.example"} })
	for _, path := range []string{"/healthz", "/openapi.json", "/v1/session", "/nothing", "/v1//x"} {
		res, _ := h.do("", http.MethodGet, path, nil, "Origin", "https://evil.example")
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY",
			"Referrer-Policy": "no-referrer", "Content-Type": "application/json", "Access-Control-Allow-Origin": "",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("GET %s: %s = %q, want %q", path, name, got, want)
			}
		}
	}
	ask := []string{"Origin", "https://desk.example", "Access-Control-Request-Method", "POST"}
	res, _ := h.do("", http.MethodOptions, "/v1/requests", nil, ask...)
	if res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Origin") != "https://desk.example" || res.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight of a listed origin = %d %v", res.StatusCode, res.Header)
	}
	ask[1] = "https://evil.example"
	res, _ = h.do("", http.MethodOptions, "/v1/requests", nil, ask...)
	if res.StatusCode != 403 || res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight of another origin = %d %v", res.StatusCode, res.Header)
	}
}

// Every path that the description promises is there: with no token it asks for one.
func TestOpenAPIIsTheSurface(t *testing.T) {
	h := open(t)
	_, body := h.call("", http.MethodGet, "/openapi.json", "")
	var doc struct {
		Paths       map[string]map[string]any
		Definitions map[string]struct{ Properties map[string]any }
	}
	h.must(json.Unmarshal([]byte(body), &doc))
	open := map[string]bool{"post /v1/session": true, "get /healthz": true}
	calls := 0
	for path, methods := range doc.Paths {
		for method := range methods {
			calls++
			concrete := strings.NewReplacer("{id}", "x", "{user}", "x", "{name}", "x", "{message}", "x", "{index}", "1").Replace(path)
			if strings.HasSuffix(path, "/attachments") || strings.HasSuffix(path, "/files") {
				concrete += "?name=x"
			}
			status, answer := h.call("", strings.ToUpper(method), concrete, map[bool]string{true: "{}"}[method == "post"])
			if !open[method+" "+path] && status != http.StatusUnauthorized {
				t.Errorf("%s %s without a token = %d %s, want 401", method, path, status, answer)
			}
			if status == 404 || status == 405 {
				t.Errorf("%s %s is described and not there", method, path)
			}
		}
	}
	if _, ok := doc.Definitions["rpcStatus"].Properties["hint"]; !ok || calls < 45 || doc.Paths["/v1/watch"] == nil || doc.Paths["/v1/watch/alerts"] == nil {
		t.Errorf("%d calls described, errors as %v", calls, doc.Definitions["rpcStatus"])
	}
}

func TestPagesMeet(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	for i := range 7 {
		if code, body := h.call(ana, "POST", "/v1/requests", fmt.Sprintf(`{"draft":{"to":"jm/dpp","request":{"title":"t%d"}}}`, i)); code != 200 {
			t.Fatal(body)
		}
	}
	got, cursor := "", ""
	for {
		_, body := h.call(ana, "GET", "/v1/requests?limit=3&cursor="+cursor, "")
		var page struct {
			Requests []struct{ Title string }
			Next     string `json:"next_cursor"`
		}
		h.must(json.Unmarshal([]byte(body), &page))
		for _, r := range page.Requests {
			got += r.Title
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if want := "t6t5t4t3t2t1t0"; got != want {
		t.Errorf("pages = %s, want %s", got, want)
	}
}

// FuzzREST sends any request to the router. Whatever comes: no panic, no success without a token but on the open
// paths, and every error in its form.
func FuzzREST(f *testing.F) {
	h := open(f)
	handler, ana := fuzzHandler(f, h), h.login("ana")
	for _, seed := range [][3]string{
		{"GET", "/v1/session", ""}, {"POST", "/v1/session", `{"user":"a","password":"b"}`}, {"GET", "/v1/requests?limit=1", ""},
		{"POST", "/v1/requests/x/attachments?name=a", "data"}, {"GET", "/v1/requests/x/attachments/draft/0", ""}, {"GET", "/v1/watch?cursor=0", ""},
		{"POST", "/v1/alerts", `{"draft":{}}`}, {"PUT", "/v1/alerts/x/files?name=a", "data"}, {"GET", "/v1/watch/alerts?received=true", ""},
		{"GET", "/v1/directory/mx%2Ffgr", ""}, {"PUT", "//v1/../session;", "{"}, {"OPTIONS", "*", ""}, {"GET", "/v1/requests/%00/check", ""},
	} {
		f.Add(seed[0], seed[1], []byte(seed[2]))
	}
	f.Fuzz(func(t *testing.T, method, target string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !token(method) || method == "CONNECT" {
			t.Skip()
		}
		w := ask(handler, "", method, target, body)
		public := u.Path == "/healthz" || u.Path == "/openapi.json"
		if w.Code < 400 {
			if !public || method != "GET" && method != "HEAD" {
				t.Fatalf("%s %s without a token = %d", method, target, w.Code)
			}
			return
		}
		formed(t, w, method+" "+target)
		if strings.HasPrefix(u.Path, "/v1/watch") || method == "DELETE" {
			return // one does not end, the other ends the session
		}
		if w = ask(handler, ana, method, target, body); w.Code >= 400 {
			formed(t, w, method+" "+target+" by ana")
		}
	})
}

func ask(handler http.Handler, secret, method, target string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest("GET", "/", bytes.NewReader(body))
	req.Method, req.RequestURI = method, target
	req.URL, _ = url.ParseRequestURI(target)
	req.Header.Set("Content-Type", "application/json")
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, req)
	return w
}

func formed(t *testing.T, w *httptest.ResponseRecorder, what string) {
	t.Helper()
	var p problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Kind == "" || p.Message == "" {
		t.Fatalf("%s = %d %q, not an error in its form", what, w.Code, w.Body)
	}
}

func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return c < 'A' || c > 'Z' })
}

// fuzzHandler is the router without the HTTP server around it, over a gRPC server that is really there.
func fuzzHandler(f *testing.F, h *house) http.Handler {
	f.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	s := h.door.server(wire.Limits{})
	go func() { _ = s.Serve(l) }()
	f.Cleanup(s.Stop)
	handler, conn, err := h.door.handler(l.Addr().String())
	h.must(err)
	f.Cleanup(func() { _ = conn.Close() })
	return handler
}
