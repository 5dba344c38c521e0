package witness

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
	"github.com/enlace-network/enlace/internal/witness/witnesstest"
)

// party is a third party whose answers a test writes itself: what real witnesses do not answer.
func party(t *testing.T, answer http.HandlerFunc) ThirdParty {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return ThirdParty{"w.example/1", seed(5).PublicKey(), server.URL + "/submit/"}
}

func cosigned(t *testing.T, cp merkle.Checkpoint, name string, key seed) string {
	t.Helper()
	line, err := merkle.Cosign(cp, name, key, now)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

func noProof(int64) (tlog.TreeProof, error) { return tlog.TreeProof{{1}}, nil }

// TestAsk pins what is asked, byte for byte, and that of the answer only what verifies is passed on. PROTOCOL 11.8.
func TestAsk(t *testing.T) {
	cp := history{fork: 9, size: 9}.at(7)
	head := sign(t, cp, logKey)
	good := cosigned(t, cp, "w.example/1", 5)
	var asked []string
	p := party(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+string(body))
		if len(asked) == 1 {
			w.Header().Set("Content-Type", "text/x.tlog.size")
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, "3\n")
			return
		}
		_, _ = io.WriteString(w, cosigned(t, cp, "stranger.example/1", 6)+cosigned(t, cp, "w.example/1", 6)+good)
	})
	asker := NewAsker([]ThirdParty{p}, http.DefaultClient)
	for range 2 {
		lines, failures := asker.Ask(t.Context(), append(head[:len(head):len(head)], cosigned(t, cp, name, 2)...), noProof)
		if len(lines) != 1 || string(lines[0]) != good || len(failures) != 0 {
			t.Errorf("lines %q, %v; want its own alone", lines, failures)
		}
	}
	want := []string{
		"POST /submit/add-checkpoint old 0\n\n" + string(head),
		"POST /submit/add-checkpoint old 3\nAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n" + string(head),
		"POST /submit/add-checkpoint old 7\n\n" + string(head),
	}
	if fmt.Sprintf("%q", asked) != fmt.Sprintf("%q", want) {
		t.Errorf("asked\n%q, want\n%q", asked, want)
	}
}

// TestAskFailures holds what each other answer is taken for.
func TestAskFailures(t *testing.T) {
	cp := history{fork: 9, size: 9}.at(7)
	conflict := func(contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, body)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	say := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
	}
	const size = "text/x.tlog.size"
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		kind   fault.Kind
		code   string
	}{
		"larger":            {conflict(size, "8\n"), fault.Conflict, "rollback"},
		"other root":        {conflict("text/plain", ""), fault.Conflict, "not-consistent"},
		"size is none":      {conflict(size, "07\n"), fault.Invalid, "malformed"},
		"negative size":     {conflict(size, "-1\n"), fault.Invalid, "malformed"},
		"our size, no more": {conflict(size, "7\n"), fault.Conflict, "not-consistent"},
		"always a size":     {conflict(size, "3\n"), fault.Retry, "moved"},
		"no proof":          {status(422), fault.Conflict, "not-consistent"},
		"unknown log":       {status(404), fault.Denied, "unknown-log"},
		"unknown key":       {status(403), fault.Denied, "unknown-key"},
		"bad request":       {status(400), fault.Invalid, "malformed"},
		"redirection":       {http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP, fault.Invalid, "malformed"},
		"busy":              {status(429), fault.Retry, "unreachable"},
		"broken":            {status(500), fault.Retry, "unreachable"},
		"nothing":           {say(""), fault.Invalid, "bad-signature"},
		"no line":           {say("thanks\n"), fault.Invalid, "bad-signature"},
		"another key":       {say(cosigned(t, cp, "w.example/1", 6)), fault.Invalid, "bad-signature"},
		"another name":      {say(cosigned(t, cp, "x.example/1", 5)), fault.Invalid, "bad-signature"},
		"another size":      {say(cosigned(t, history{fork: 9, size: 9}.at(6), "w.example/1", 5)), fault.Invalid, "bad-signature"},
		"the log's own":     {say(strings.TrimPrefix(string(sign(t, cp, logKey)), cp.Text()+"\n")), fault.Invalid, "bad-signature"},
		"much too much":     {say(strings.Repeat(cosigned(t, cp, "w.example/1", 5), 1000)), fault.Invalid, "too-large"},
		"two hundred of it": {say(strings.Repeat(cosigned(t, cp, "w.example/1", 5), 200)), fault.Invalid, "bad-signature"},
	} {
		asker := NewAsker([]ThirdParty{party(t, test.answer)}, http.DefaultClient)
		lines, failures := asker.Ask(t.Context(), sign(t, cp, logKey), noProof)
		if len(lines) != 0 || len(failures) != 1 || fault.KindOf(failures[0]) != test.kind || fault.CodeOf(failures[0]) != test.code {
			t.Errorf("%s: %q, %v; want %v %s", name, lines, failures, test.kind, test.code)
		}
	}
}

// TestAskOthers holds that one party that hangs or is away costs the others nothing but its time.
func TestAskOthers(t *testing.T) {
	cp := history{fork: 9, size: 9}.at(7)
	good := party(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, cosigned(t, cp, "w.example/1", 5))
	})
	release := make(chan struct{})
	hangs := party(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	away := ThirdParty{"w.example/2", seed(5).PublicKey(), "http://" + witnesstest.Free(t)}
	nonsense := ThirdParty{"w.example/3", seed(5).PublicKey(), "::"}
	asker := NewAsker([]ThirdParty{hangs, away, nonsense, good}, &http.Client{Timeout: 300 * time.Millisecond})
	lines, failures := asker.Ask(t.Context(), sign(t, cp, logKey), noProof)
	if len(lines) != 1 || len(failures) != 3 {
		t.Errorf("%q, %v; want one line and three failures", lines, failures)
	}
	if _, failures := asker.Ask(t.Context(), []byte("no head"), noProof); len(failures) != 1 || fault.CodeOf(failures[0]) != "malformed" {
		t.Errorf("no head: %v, want malformed", failures)
	}
}
