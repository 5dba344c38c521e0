package operator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/net/http2"

	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

// What is refused anyhow is refused before its body: the bodies here never come.
func TestRESTRefusesUnread(t *testing.T) {
	h := open(t)
	for request, want := range map[string]int{
		"POST /nowhere": 404, "PUT /v1/requests": 405, "POST /v1/requests": 401, "POST /v1/requests/x/send": 401,
		"POST /v1/requests/x/attachments?name=x": 401,
	} {
		method, target, _ := strings.Cut(request, " ")
		conn, err := tls.Dial("tcp", strings.TrimPrefix(h.web, "https://"), &tls.Config{RootCAs: newPool(h.ca), ServerName: "localhost"})
		h.must(err)
		h.must(conn.SetDeadline(time.Now().Add(5 * time.Second)))
		_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\n\r\n", method, target)
		h.must(err)
		head := make([]byte, len("HTTP/1.1 404"))
		if _, err := io.ReadFull(conn, head); err != nil || string(head) != fmt.Sprintf("HTTP/1.1 %d", want) {
			t.Errorf("%s with its body to come: %q, %v; want %d", request, head, err, want)
		}
		_ = conn.Close()
	}
}

// One connection has 16 requests at once.
func TestRESTStreamsAreFew(t *testing.T) {
	h := open(t)
	config := &tls.Config{RootCAs: newPool(h.ca), ServerName: "localhost", NextProtos: []string{"h2"}}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(h.web, "https://"), config)
	h.must(err)
	defer conn.Close()
	h.must(conn.SetDeadline(time.Now().Add(5 * time.Second)))
	_, err = io.WriteString(conn, http2.ClientPreface)
	h.must(err)
	framer := http2.NewFramer(conn, conn)
	h.must(framer.WriteSettings())
	frame, err := framer.ReadFrame()
	h.must(err)
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("the server begins with %T", frame)
	}
	if got, _ := settings.Value(http2.SettingMaxConcurrentStreams); got != 16 {
		t.Errorf("%d streams, want 16", got)
	}
}

func TestRESTLoginIsSmall(t *testing.T) {
	h := open(t)
	code, body := h.call("", http.MethodPost, "/v1/session", `{"user":"`+strings.Repeat("a", 8<<10)+`"}`)
	if code != http.StatusRequestEntityTooLarge {
		t.Errorf("a login of more than 8 KiB = %d %s, want 413", code, body)
	}
}

// Silent sockets of one address close neither face for others.
func TestSilentSocketsCloseNoFace(t *testing.T) {
	h := open(t)
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: time.Second}
	for _, addr := range []string{h.rpc, strings.TrimPrefix(h.web, "https://")} {
		for range 520 {
			if c, err := from.Dial("tcp", addr); err == nil {
				defer c.Close()
			}
		}
	}
	ana := h.login("ana")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := h.client(ana).Session.WhoAmI(ctx, &operatorv1.WhoAmIRequest{}); err != nil {
		t.Errorf("gRPC: %v", err)
	}
	h.http.Timeout = 5 * time.Second
	if code, body := h.call(ana, http.MethodGet, "/v1/session", ""); code != http.StatusOK {
		t.Errorf("REST = %d %s", code, body)
	}
}

// A connection that has been logged in over is none of the silent ones: those of its address go first.
func TestProvenConnectionStays(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	conn, err := tls.Dial("tcp", strings.TrimPrefix(h.web, "https://"), &tls.Config{RootCAs: newPool(h.ca), ServerName: "localhost"})
	h.must(err)
	defer conn.Close()
	call := func() error {
		h.must(conn.SetDeadline(time.Now().Add(5 * time.Second)))
		_, err := io.WriteString(conn, "GET /v1/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+ana+"\r\n\r\n")
		if err != nil {
			return err
		}
		n, err := conn.Read(make([]byte, 4096))
		if err == nil && n == 0 {
			return errors.New("no answer")
		}
		return err
	}
	h.must(call())
	var oldest net.Conn
	for range 50 {
		c, err := net.Dial("tcp", strings.TrimPrefix(h.web, "https://"))
		h.must(err)
		defer c.Close()
		if oldest == nil {
			oldest = c
		}
	}
	h.must(oldest.SetReadDeadline(time.Now().Add(5 * time.Second)))
	if _, err := oldest.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest silent connection: %v, want closed", err)
	}
	if err := call(); err != nil {
		t.Errorf("a logged-in connection beside 50 silent ones of its address: %v", err)
	}
}

// Who knocks on the HTTP face leaves no address in the log, and not a line for each knock.
func TestHTTPLogIsQuiet(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	h := open(t, func(c *Config) { c.Log = zap.New(core) })
	for _, addr := range []string{h.rpc, strings.TrimPrefix(h.web, "https://")} {
		for i := range 60 {
			c, err := net.Dial("tcp", addr)
			h.must(err)
			_, _ = io.WriteString(c, []string{"GET / HTTP/1.0\r\n\r\n", "\x16\x03"}[i%2])
			time.Sleep(2 * time.Millisecond)
			_ = c.(*net.TCPConn).SetLinger(0) // a reset: Go's error for it names both addresses
			_ = c.Close()
		}
	}
	time.Sleep(500 * time.Millisecond)
	n := 0
	for _, line := range logs.All() {
		text := fmt.Sprint(line.Message, line.ContextMap())
		if strings.Contains(text, "127.0.0.1") {
			t.Fatalf("the log has an address: %s", text)
		}
		if line.Message == "HTTP connection failed" {
			n++
		}
	}
	if n == 0 || n > 30 {
		t.Errorf("%d lines for 60 knocks, want about 20", n)
	}
}

// A case whose messages are each within their limit can be shown, on both faces; what comes in has the old limit.
func TestLargeCaseIsShown(t *testing.T) {
	h := open(t)
	d := &operatorv1.Draft{To: "jm/dpp", Request: &formatv1.Request{Title: "t"}}
	for i := range 9 {
		d.Asks = append(d.Asks, &formatv1.Ask{Number: uint32(i + 1), Question: strings.Repeat("q", 1<<20)})
	}
	id, err := h.shelf.Create(context.Background(), people.Principal{User: user("ana"), Authority: name("mx/fgr"), Roles: []people.Role{people.RoleUser}}, d)
	h.must(err)
	ana := h.login("ana")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := h.client(ana)
	got, err := c.Requests.GetRequest(ctx, &operatorv1.GetRequestRequest{Id: id.String()})
	if err != nil || len(got.GetAsks()) != 9 {
		t.Errorf("gRPC: %d questions, %v; want 9", len(got.GetAsks()), err)
	}
	if code, body := h.call(ana, http.MethodGet, "/v1/requests/"+id.String(), ""); code != http.StatusOK || len(body) < 9<<20 {
		t.Errorf("REST = %d, %d bytes", code, len(body))
	}
	if _, err := c.Requests.CreateRequest(ctx, &operatorv1.CreateRequestRequest{Draft: d}); !fault.Is(err, fault.TooLarge) {
		t.Errorf("9 MiB coming in: %v, want too-large", err)
	}
}

// A call that anybody may make is cut off before it reaches the handler, which would name the fields that are too long.
func TestLoginIsCutOff(t *testing.T) {
	h := open(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := h.client("").Session.Login(ctx, &operatorv1.LoginRequest{User: "ana", Password: strings.Repeat("p", maxLogin)})
	if err == nil || strings.Contains(err.Error(), "password") {
		t.Errorf("a login of more than 8 KiB: %v, want it cut off", err)
	}
}
