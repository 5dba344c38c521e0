package operator

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator/streams"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

// draft makes a request of ana's and gives its ID.
func (h *house) draft(title string) string {
	h.t.Helper()
	who := people.Principal{Name: "ana", User: user("ana"), Authority: name("mx/fgr"), Roles: []people.Role{people.RoleUser}}
	id, err := h.shelf.Create(context.Background(), who, &operatorv1.Draft{To: "jm/dpp", Request: &formatv1.Request{Title: title}})
	h.must(err)
	return id.String()
}

// settled waits until no upload is under way and says how many files there are.
func (h *house) settled() int {
	h.t.Helper()
	for range 200 {
		if files, running := h.shelf.left(); running == 0 {
			return files
		}
		time.Sleep(20 * time.Millisecond)
	}
	h.t.Fatal("an upload is still under way")
	return 0
}

func TestAttachmentsByGRPC(t *testing.T) {
	h := open(t)
	ana := h.client(h.login("ana"))
	id := h.draft("files")
	for i, size := range []int{0, 1, slice - 1, slice, slice + 1, 3*slice + 7} {
		data := pattern(size)
		sum := sha256.Sum256(data)
		up, err := ana.Upload(t.Context(), id, &formatv1.AttachmentNote{Name: "f" + strconv.Itoa(i)}, bytes.NewReader(data))
		h.must(err)
		if up.GetIndex() != uint32(i) || up.GetSize() != uint64(size) || up.GetDigest() != hex.EncodeToString(sum[:]) {
			t.Errorf("upload of %d bytes = %v", size, up)
		}
		var got bytes.Buffer
		info, err := ana.Download(t.Context(), &operatorv1.GetAttachmentRequest{RequestId: id, Index: uint32(i)}, &got)
		h.must(err)
		if info.GetName() != "f"+strconv.Itoa(i) || !bytes.Equal(got.Bytes(), data) {
			t.Errorf("download of %d bytes gave %d as %v", size, got.Len(), info)
		}
	}
	_, err := ana.Download(t.Context(), &operatorv1.GetAttachmentRequest{RequestId: id, Index: 99}, io.Discard)
	h.refused(err, fault.NotFound, "unknown-attachment")
	_, err = h.client(h.login("root")).Download(t.Context(), &operatorv1.GetAttachmentRequest{RequestId: id}, io.Discard)
	h.refused(err, fault.Denied, "policy")
	_, err = ana.Upload(t.Context(), id, &formatv1.AttachmentNote{}, strings.NewReader("x"))
	h.refused(err, fault.Invalid, "no-name")
	_, err = ana.Upload(t.Context(), "nonsense", &formatv1.AttachmentNote{Name: "x"}, strings.NewReader("x"))
	h.refused(err, fault.Invalid, "malformed-id")
}

// endless gives bytes for ever, or until it has given what it may.
type endless struct{ left int }

func (e *endless) Read(b []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(b), e.left)
	e.left -= n
	return n, nil
}

// A node that refuses does so while the file is still being sent, and most of it is never read.
func TestUploadRefusedEarly(t *testing.T) {
	h := open(t)
	src := &endless{left: 1 << 40}
	_, err := h.client(h.login("root")).Upload(t.Context(), h.draft("not root's"), &formatv1.AttachmentNote{Name: "x"}, src)
	h.refused(err, fault.Denied, "policy")
	if read := 1<<40 - src.left; read > 64<<20 {
		t.Errorf("%d bytes were read of a file that was refused", read)
	}
}

func TestUploadRules(t *testing.T) {
	h := open(t)
	ana := h.client(h.login("ana"))
	id := h.draft("rules")
	send := func(messages ...*operatorv1.AddAttachmentRequest) error {
		stream, err := ana.Attachments.AddAttachment(t.Context())
		h.must(err)
		for _, m := range messages {
			if err := stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		_, err = stream.CloseAndRecv()
		return err
	}
	first := &operatorv1.AddAttachmentRequest{RequestId: id, Note: &formatv1.AttachmentNote{Name: "x"}}
	h.refused(send(), fault.Invalid, "incomplete")
	h.refused(send(first, first), fault.Invalid, "unexpected-field")
	h.refused(send(first, &operatorv1.AddAttachmentRequest{Data: pattern(slice + 1)}), fault.TooLarge, "too-large")
	h.refused(send(first, &operatorv1.AddAttachmentRequest{Data: pattern(3 << 20)}), fault.TooLarge, "too-large")
	if files := h.settled(); files != 0 {
		t.Errorf("%d files were kept of uploads that failed", files)
	}
}

// An upload that is given up half-way must not pass for a file that ends there.
func TestUploadBrokenOff(t *testing.T) {
	h := open(t)
	id := h.draft("broken")
	cause := errors.New("the disk here failed")
	_, err := h.client(h.login("ana")).Upload(t.Context(), id, &formatv1.AttachmentNote{Name: "x"},
		io.MultiReader(&endless{left: 3 * slice}, failing{cause}))
	if !errors.Is(err, cause) {
		t.Errorf("error = %v, want the reader's own", err)
	}
	_, err = h.client(h.login("ana")).Upload(t.Context(), id, &formatv1.AttachmentNote{Name: "x"},
		io.MultiReader(&endless{left: 3 * slice}, failing{io.ErrUnexpectedEOF}))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a source cut short = %v, want its own error", err)
	}
	if files := h.settled(); files != 0 {
		t.Errorf("%d files were kept of uploads that broke off", files)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestSilentUploadIsGivenUp(t *testing.T) {
	h := open(t, func(c *Config) { c.Idle = 300 * time.Millisecond })
	id := h.draft("slow")
	ana := h.login("ana")
	stream, err := h.client(ana).Attachments.AddAttachment(t.Context())
	h.must(err)
	h.must(stream.Send(&operatorv1.AddAttachmentRequest{RequestId: id, Note: &formatv1.AttachmentNote{Name: "x"}, Data: []byte("abc")}))
	h.refused(stream.RecvMsg(new(operatorv1.AddAttachmentResponse)), fault.Retry, "too-slow")

	r, w := io.Pipe()
	go func() { _, _ = w.Write([]byte("abc")) }()
	res, body := h.do(ana, http.MethodPut, "/v1/requests/"+id+"/attachments?name=x", r)
	if res.StatusCode != 503 || !strings.Contains(body, "too-slow") || res.Header.Get("Retry-After") == "" {
		t.Errorf("silent REST upload = %d %s", res.StatusCode, body)
	}
	if files := h.settled(); files != 0 {
		t.Errorf("%d files were kept of uploads that stood still", files)
	}
	// Slow is not silent: a byte every 100 ms for longer than the idle time.
	r, w = io.Pipe()
	go func() {
		for range 8 {
			time.Sleep(100 * time.Millisecond)
			if _, err := w.Write([]byte("z")); err != nil {
				return
			}
		}
		_ = w.Close()
	}()
	res, body = h.do(ana, http.MethodPut, "/v1/requests/"+id+"/attachments?name=x", r)
	if res.StatusCode != 201 || !strings.Contains(squeeze(body), `"size":"8"`) {
		t.Errorf("slow REST upload = %d %s", res.StatusCode, body)
	}
}

func TestAttachmentsByREST(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	base := "/v1/requests/" + h.draft("rest") + "/attachments"
	data := pattern(2*slice + 5)
	res, body := h.do(ana, http.MethodPost, base+"?name=informe%20%C3%B1and%C3%BA%22.pdf", bytes.NewReader(data), "Content-Type", "application/pdf")
	if res.StatusCode != 201 || !strings.Contains(squeeze(body), `"index":0`) {
		t.Fatalf("upload = %d %s", res.StatusCode, body)
	}
	req, err := http.NewRequest(http.MethodGet, h.web+base+"/draft/0", nil)
	h.must(err)
	req.Header.Set("Authorization", "Bearer "+ana)
	res, err = h.http.Do(req)
	h.must(err)
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	h.must(err)
	sum := sha256.Sum256(data)
	if !bytes.Equal(got, data) || res.ContentLength != int64(len(data)) || res.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("download = %d bytes of %d as %q", len(got), res.ContentLength, res.Header.Get("Content-Type"))
	}
	if want := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"; res.Header.Get("Repr-Digest") != want {
		t.Errorf("digest = %q, want %q", res.Header.Get("Repr-Digest"), want)
	}
	if got := res.Header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment; filename") || strings.Contains(got, "ñ") {
		t.Errorf("disposition = %q", got)
	}
	for path, want := range map[string]int{
		base + "/draft/1": 404, base + "/draft/x": 400, base + "/draft/-1": 400, base + "/draft/4294967296": 400,
		base + "/nonsense/0": 400, base + "/draft/0?range=1": 400,
	} {
		if code, body := h.call(ana, http.MethodGet, path, ""); code != want {
			t.Errorf("GET %s = %d %s, want %d", path, code, body, want)
		}
	}
	for query, want := range map[string]string{"": "no-name", "?name=a&x=1": "unknown-field", "?name=a&name=b": "malformed-query", "?name=%zz": "malformed-query"} {
		if code, body := h.call(ana, http.MethodPut, base+query, "data"); code != 400 || !strings.Contains(body, want) {
			t.Errorf("PUT %s = %d %s, want %s", query, code, body, want)
		}
	}
	if code, body := h.call(h.token(people.ScopeAttachmentsRead), http.MethodPut, base+"?name=a", "data"); code != 403 || !strings.Contains(body, "attachments:write") {
		t.Errorf("upload by a reader = %d %s", code, body)
	}
	if status, body := raw(t, h, "PUT "+base+"?name=a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+ana+"\r\nContent-Length: 99999999999999\r\nConnection: close\r\n\r\n"); status != 413 {
		t.Errorf("oversize upload = %d %s", status, body)
	}
}

// watching collects changes of one watch.
type watching struct {
	mu   sync.Mutex
	seen []string
	err  error
	done chan struct{}
}

func (h *house) watch(secret, cursor string) *watching {
	w := &watching{done: make(chan struct{})}
	c := h.client(secret)
	stream, err := c.Requests.WatchRequests(h.t.Context(), &operatorv1.WatchRequestsRequest{Cursor: cursor})
	h.must(err)
	if _, err := streams.Start(stream); err != nil {
		w.err = err
		close(w.done)
		return w
	}
	go func() {
		defer close(w.done)
		for {
			m, err := stream.Recv()
			if err != nil {
				w.err = err
				return
			}
			w.mu.Lock()
			w.seen = append(w.seen, m.GetCursor()+":"+m.GetSummary().GetTitle())
			w.mu.Unlock()
		}
	}()
	return w
}

func (w *watching) until(t *testing.T, n int) []string {
	t.Helper()
	for range 500 {
		w.mu.Lock()
		seen := append([]string{}, w.seen...)
		w.mu.Unlock()
		if len(seen) >= n {
			return seen
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("only %v came, want %d", w.seen, n)
	return nil
}

func (w *watching) ended(t *testing.T) error {
	t.Helper()
	select {
	case <-w.done:
		return w.err
	case <-time.After(5 * time.Second):
		t.Fatal("the watch goes on")
		return nil
	}
}

func TestWatchMissesAndRepeatsNothing(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	h.draft("a")
	h.draft("b")
	fresh := h.watch(ana, "")
	whole := h.watch(ana, "0")
	h.draft("c")
	if got, want := fmt.Sprint(fresh.until(t, 1)), "[3:c]"; got != want {
		t.Errorf("from now on = %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(whole.until(t, 3)), "[1:a 2:b 3:c]"; got != want {
		t.Errorf("from the beginning = %s, want %s", got, want)
	}
	const more = 300
	var writers sync.WaitGroup
	for i := range 3 {
		writers.Go(func() {
			for j := range more / 3 {
				h.draft(fmt.Sprintf("%d/%d", i, j))
			}
		})
	}
	late := h.watch(ana, "2")
	writers.Wait()
	for _, w := range []*watching{whole, late} {
		seen := w.until(t, more+1)
		for i, s := range seen[len(seen)-more:] {
			if want := strconv.Itoa(i+4) + ":"; !strings.HasPrefix(s, want) {
				t.Fatalf("change %d = %s, want %s", i, s, want)
			}
		}
	}
	h.refused(h.watch(ana, "9999").ended(t), fault.Conflict, "cursor-ahead")
	h.refused(h.watch(ana, "1x").ended(t), fault.Invalid, "malformed-cursor")
}

// A reader who takes nothing holds up neither other readers nor those who write.
func TestSlowReaderBlocksNobody(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stuck, err := h.client(ana).Requests.WatchRequests(ctx, &operatorv1.WatchRequestsRequest{Cursor: "0"})
	h.must(err)
	quick := h.watch(ana, "0")
	title := strings.Repeat("x", 8<<10)
	const n = 200 // 1.6 MB, far beyond a stream's window
	for range n {
		h.draft(title)
	}
	quick.until(t, n)
	last := ""
	for range n { // and when it reads at last, nothing is missing
		m, err := stuck.Recv()
		h.must(err)
		if m.GetCursor() == last {
			t.Fatalf("cursor %s came twice", last)
		}
		last = m.GetCursor()
	}
	if last != strconv.Itoa(n) {
		t.Errorf("the slow reader ends at %s, want %d", last, n)
	}
}

func TestWatchEndsWithItsRight(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	root := h.client(h.login("root"))
	ends := map[string]func(secret string){
		"locked":         func(string) { must2(root.Users.LockUser(ctx, &operatorv1.LockUserRequest{User: "luis"})) },
		"password reset": func(string) { must2(root.Users.ResetPassword(ctx, &operatorv1.ResetPasswordRequest{User: "luis"})) },
		"logged out":     func(s string) { must2(h.client(s).Session.Logout(ctx, &operatorv1.LogoutRequest{})) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			must2(root.Users.ResetPassword(ctx, &operatorv1.ResetPasswordRequest{User: "luis", Password: password}))
			must2(root.Users.LockUser(ctx, &operatorv1.LockUserRequest{User: "luis", Unlock: true}))
			secret := h.login("luis")
			w := h.watch(secret, "")
			begun := time.Now()
			end(secret)
			h.refused(w.ended(t), fault.Unauthenticated, "no-session")
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
			h.draft("after " + name)
			if len(w.seen) != 0 {
				t.Errorf("it still saw %v", w.seen)
			}
		})
	}
	t.Run("other roles", func(t *testing.T) {
		must2(root.Users.SetRoles(ctx, &operatorv1.SetRolesRequest{User: "eva", Roles: []string{"user"}}))
		w := h.watch(h.login("eva"), "")
		must2(root.Users.SetRoles(ctx, &operatorv1.SetRolesRequest{User: "eva", Roles: []string{"administrator"}}))
		h.refused(w.ended(t), fault.Denied, "policy")
	})
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A session's absolute end cuts what it has open, without anybody asking.
func TestWatchEndsWhenTheTokenExpires(t *testing.T) {
	h := open(t)
	secret, _, err := h.desk.IssueToken(t.Context(), people.Principal{User: user("root")},
		people.NewToken{Name: "brief", Authority: name("mx/fgr"), Scopes: []people.Scope{people.ScopeRequestsRead}, Expires: h.now().Add(400 * time.Millisecond)})
	h.must(err)
	h.refused(h.watch(secret, "").ended(t), fault.Unauthenticated, "no-session")
}

func TestClientWatchGoesOnAfterACut(t *testing.T) {
	h := open(t)
	ana := h.client(h.login("ana"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := make(chan string, 10)
	done := make(chan error, 1)
	enough := errors.New("enough")
	h.draft("a")
	go func() {
		done <- ana.Watch(ctx, "0", func(m *operatorv1.WatchRequestsResponse) error {
			got <- m.GetSummary().GetTitle()
			if m.GetSummary().GetTitle() == "c" {
				return enough
			}
			return nil
		})
	}()
	if s := <-got; s != "a" {
		t.Fatalf("first = %s", s)
	}
	h.draft("b")
	if s := <-got; s != "b" {
		t.Fatalf("second = %s", s)
	}
	h.stop() // the cut: the door stops, and opens again at the same address
	h.door = New(h.door.c)
	h.runAt(h.rpc)
	h.draft("c")
	if s := <-got; s != "c" {
		t.Errorf("after the cut = %s, want c, once", s)
	}
	if err := <-done; !errors.Is(err, enough) {
		t.Errorf("Watch = %v", err)
	}
}

// sse reads events of a stream as "id event data".
func (h *house) sse(secret, query, last string) (*http.Response, func() (string, error)) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.web+"/v1/watch"+query, nil)
	h.must(err)
	req.Header.Set("Authorization", "Bearer "+secret)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := h.http.Do(req)
	h.must(err)
	h.t.Cleanup(func() { _ = res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	return res, func() (string, error) {
		event := ""
		for lines.Scan() {
			line := lines.Text()
			if line != "" {
				event += line + "|"
			} else if event != "" {
				return event, nil
			}
		}
		return event, errors.Join(lines.Err(), io.EOF)
	}
}

func TestServerSentEvents(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	h.draft("a")
	res, next := h.sse(ana, "", "")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("status = %d %v", res.StatusCode, res.Header)
	}
	want := func(next func() (string, error), parts ...string) {
		t.Helper()
		for {
			event, err := next()
			if err != nil {
				t.Fatalf("the stream ended (%v), want %q", err, parts)
			}
			if event == ": here|" {
				continue
			}
			for _, p := range parts {
				if !strings.Contains(squeeze(event), p) {
					t.Fatalf("event = %s, want %s in it", event, p)
				}
			}
			return
		}
	}
	want(next, "retry:3000|", "id:1|")
	if event, err := next(); event != ": here|" || err != nil {
		t.Errorf("a silent stream says %q, %v", event, err)
	}
	h.draft("b\nid: 99\n\nevent: forged")
	want(next, "id:2|event:request|data:{", `"title":"b\nid:99\n\nevent:forged"`)
	_ = res.Body.Close()

	h.draft("c")
	_, next = h.sse(ana, "?cursor=0", "2") // the header wins
	want(next, "id:2|")
	want(next, "id:3|", `"title":"c"`)

	root := h.client(h.login("root"))
	must2(root.Users.LockUser(t.Context(), &operatorv1.LockUserRequest{User: "ana"}))
	want(next, "event:end|", `"kind":"unauthenticated"`)
	if _, err := next(); err == nil {
		t.Error("the stream goes on after its end")
	}
	eva := h.login("eva")
	for query, code := range map[string]string{"?cursor=x": "malformed-cursor", "?cursor=77": "cursor-ahead", "?x=1": "unknown-field"} {
		_, body := h.call(eva, http.MethodGet, "/v1/watch"+query, "")
		var p problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || p.Code != code {
			t.Errorf("watch%s = %s, want %s", query, body, code)
		}
	}
}

// A download that fails half-way must not look whole: the connection breaks before Content-Length is reached.
func TestBrokenDownloadIsSeen(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	id := h.draft("short")
	_, err := h.client(ana).Upload(t.Context(), id, &formatv1.AttachmentNote{Name: "x"}, &endless{left: 3 * slice})
	h.must(err)
	h.shelf.cut = 2 * slice
	req, err := http.NewRequest(http.MethodGet, h.web+"/v1/requests/"+id+"/attachments/draft/0", nil)
	h.must(err)
	req.Header.Set("Authorization", "Bearer "+ana)
	res, err := h.http.Do(req)
	h.must(err)
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Errorf("%d of %d bytes came and no error", n, 3*slice)
	}
	_, err = h.client(ana).Download(t.Context(), &operatorv1.GetAttachmentRequest{RequestId: id}, io.Discard)
	if err == nil {
		t.Error("the client took part of a file for the whole")
	}
}
