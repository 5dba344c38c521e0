package rest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/enlace-network/enlace/internal/fault"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Bodies take no more than their budget together, and give it back.
func TestBodiesShareABudget(t *testing.T) {
	b := &budget{most: 100}
	first, second := &counted{body: bytes.NewReader(make([]byte, 80)), of: b}, &counted{body: bytes.NewReader(make([]byte, 80)), of: b}
	if _, err := io.ReadAll(first); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(second); !fault.Is(err, fault.Retry) {
		t.Errorf("beyond the budget: %v, want retry", err)
	}
	first.release()
	second.release()
	if held := b.held.Load(); held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
}

// A body that would go beyond it is answered 503, and the next one served.
func TestRESTIsBusy(t *testing.T) {
	e := newEntrance(func(context.Context, string) error { return nil }, func(string) bool { return false })
	e.known.most = 1000
	handled := 0
	handler := e.check(func(http.ResponseWriter, *http.Request, map[string]string) { handled++ })
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(w, r, nil) })}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	for size, want := range map[int]int{900: 200, 2000: 503} {
		res, err := http.Post("http://"+l.Addr().String(), jsonType, strings.NewReader(strings.Repeat(" ", size)))
		must(t, err)
		_ = res.Body.Close()
		if res.StatusCode != want || (want == 503 && res.Header.Get("Retry-After") == "") {
			t.Errorf("a body of %d = %d, want %d", size, res.StatusCode, want)
		}
	}
	if held := e.known.held.Load(); held != 0 || handled != 1 {
		t.Errorf("%d bytes held after %d handled, want 0 and 1", held, handled)
	}
}

func TestPanicInHTTPIsLoggedWithoutItsValue(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	_, err := newQuiet(zap.New(core)).Write([]byte("http: panic serving 192.0.2.7:99: the content\ngoroutine 7 [running]:\nmain.go:7\n"))
	if err != nil || logs.Len() != 1 {
		t.Fatalf("%d lines, %v", logs.Len(), err)
	}
	text := fmt.Sprint(logs.All()[0].Message, logs.All()[0].ContextMap())
	if strings.Contains(text, "192.0.2.7") || strings.Contains(text, "content") || !strings.Contains(text, "main.go:7") {
		t.Errorf("logged %s", text)
	}
}
