package operator

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator/streams"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

func TestLifeOfAnAlert(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	ana, luis, eva := h.client(h.login("ana")), h.client(h.login("luis")), h.client(h.login("eva"))
	made := must2(ana.Alerts.CreateAlert(ctx, &operatorv1.CreateAlertRequest{Draft: alarm("lancha rápida")}))
	id := made.GetId()
	checked := must2(ana.Alerts.CheckAlert(ctx, &operatorv1.CheckAlertRequest{Id: id}))
	if !checked.GetSendable() || strings.Join(checked.GetAudience(), " ") != "jm/dpp" {
		t.Errorf("check = %v", checked)
	}
	sent := must2(ana.Alerts.PublishAlert(ctx, &operatorv1.PublishAlertRequest{Id: id}))
	if sent.GetStatus() != "PENDING_APPROVAL" || sent.GetMessageId() != "" || sent.GetAudience() != 3 || sent.GetFreshness() != "fresh" {
		t.Errorf("publish = %v", sent)
	}
	_, err := ana.Alerts.ApproveAlert(ctx, &operatorv1.ApproveAlertRequest{Id: id})
	h.refused(err, fault.Denied, "policy")
	_, err = luis.Alerts.ApproveAlert(ctx, &operatorv1.ApproveAlertRequest{Id: id, Digest: "00"})
	h.refused(err, fault.Invalid, "malformed-digest")
	back := must2(luis.Alerts.ReturnAlert(ctx, &operatorv1.ReturnAlertRequest{Id: id, Reason: "título"}))
	if back.GetStatus() != "DRAFT" {
		t.Errorf("return = %v", back)
	}
	must2(ana.Alerts.PublishAlert(ctx, &operatorv1.PublishAlertRequest{Id: id}))
	out := must2(luis.Alerts.ApproveAlert(ctx, &operatorv1.ApproveAlertRequest{Id: id}))
	if out.GetStatus() != "ISSUED" || out.GetMessageId() == "" || out.GetAudience() != 3 {
		t.Errorf("approve = %v", out)
	}
	if shown := must2(eva.Alerts.GetAlert(ctx, &operatorv1.GetAlertRequest{Id: id})); shown.GetNotice().GetTitle() != "lancha rápida" {
		t.Errorf("show = %v", shown)
	}
	must2(ana.Alerts.UpdateAlert(ctx, &operatorv1.UpdateAlertRequest{Id: id, Draft: alarm("dos lanchas")}))
	said := must2(ana.Alerts.GiveFeedback(ctx, &operatorv1.GiveFeedbackRequest{Id: id, Feedback: &formatv1.Feedback{Mark: "HIT"}}))
	if said.GetMessageId() == "" {
		t.Errorf("feedback = %v", said)
	}
	// Who may only write does not silence alone what two persons said; who answers for the desk does.
	_, err = ana.Alerts.CancelAlert(ctx, &operatorv1.CancelAlertRequest{Id: id, Reason: "ERROR"})
	h.refused(err, fault.Denied, "policy")
	if f := fault.As(err); !strings.Contains(f.Say, "approver or a duty officer") {
		t.Errorf("refusal = %q", f.Say)
	}
	_, err = luis.Alerts.CancelAlert(ctx, &operatorv1.CancelAlertRequest{Id: id})
	h.refused(err, fault.Invalid, "incomplete")
	if c := must2(luis.Alerts.CancelAlert(ctx, &operatorv1.CancelAlertRequest{Id: id, Reason: "ERROR"})); c.GetStatus() != "CANCELLED" || c.GetMessageId() == "" {
		t.Errorf("cancel = %v", c)
	}
}

// An alert is counted by its newest message; who refused it or was removed is in no count.
func TestHoldersAreCounted(t *testing.T) {
	h := open(t)
	got := must2(h.client(h.login("eva")).Alerts.ListHolders(t.Context(), &operatorv1.ListHoldersRequest{Id: h.board.write("x").String()}))
	if len(got.GetHolders()) != 7 || got.GetConfirmed() != 3 || got.GetPending() != 1 || got.GetOverdue() != 1 {
		t.Errorf("holders = %d, confirmed %d, pending %d, overdue %d; want 7, 3, 1, 1", len(got.GetHolders()), got.GetConfirmed(), got.GetPending(), got.GetOverdue())
	}
}

func TestSubscriptions(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	ana, luis := h.client(h.login("ana")), h.client(h.login("luis"))
	added := must2(ana.Subscriptions.AddSubscription(ctx, &operatorv1.AddSubscriptionRequest{Subscription: &operatorv1.Subscription{Categories: "drugs.>"}}))
	if added.GetStatus() != "PENDING_APPROVAL" {
		t.Errorf("add = %v", added)
	}
	_, err := ana.Subscriptions.AddSubscription(ctx, &operatorv1.AddSubscriptionRequest{})
	h.refused(err, fault.Invalid, "incomplete")
	_, err = ana.Subscriptions.ApproveSubscription(ctx, &operatorv1.ApproveSubscriptionRequest{Id: added.GetId()})
	h.refused(err, fault.Denied, "policy")
	if got := must2(luis.Subscriptions.ApproveSubscription(ctx, &operatorv1.ApproveSubscriptionRequest{Id: added.GetId()})); got.GetStatus() != "ACTIVE" {
		t.Errorf("approve = %v", got)
	}
	code, body := h.call(h.token(people.ScopeSubscriptionsRead), http.MethodGet, "/v1/subscriptions", "")
	if code != 200 || !strings.Contains(squeeze(body), `"categories":"drugs.>"`) {
		t.Errorf("list = %d %s", code, body)
	}
	if code, body := h.call(h.login("ana"), http.MethodDelete, "/v1/subscriptions/"+added.GetId(), ""); code != 200 {
		t.Errorf("remove = %d %s", code, body)
	}
	if got := must2(luis.Subscriptions.ListSubscriptions(ctx, &operatorv1.ListSubscriptionsRequest{})); len(got.GetSubscriptions()) != 0 {
		t.Errorf("after the removal: %v", got)
	}
}

// Tokens do what their scopes say, and never what a person must.
func TestScopesOfAlerts(t *testing.T) {
	h := open(t)
	id, issued := h.board.write("x").String(), h.board.arrive("y").String()
	read, write := h.token(people.ScopeAlertsRead), h.token(people.ScopeAlertsWrite)
	wants, confirms := h.token(people.ScopeSubscriptionsRead), h.token(people.ScopeSubscriptionsWrite, people.ScopeAlertsWrite)
	draft := `{"draft":{"category":"drugs.trafficking"}}`
	for _, c := range []struct {
		secret, method, path, body string
		code                       int
		why                        string
	}{
		{read, "GET", "/v1/alerts", "", 200, ""},
		{read, "GET", "/v1/alerts/" + id, "", 200, ""},
		{read, "GET", "/v1/alerts/" + id + "/check", "", 200, ""},
		{read, "GET", "/v1/alerts/" + id + "/holders", "", 200, ""},
		{read, "POST", "/v1/alerts", draft, 403, "alerts:write"},
		{read, "GET", "/v1/subscriptions", "", 403, "subscriptions:read"},
		{write, "GET", "/v1/alerts", "", 403, "alerts:read"},
		{write, "GET", "/v1/watch/alerts", "", 403, "alerts:read"},
		{write, "POST", "/v1/alerts", draft, 200, ""},
		{write, "POST", "/v1/alerts/" + id + "/publish", "{}", 200, ""},
		{write, "POST", "/v1/alerts/" + id + "/approve", "{}", 403, "people-only"},
		{write, "POST", "/v1/alerts/" + id + "/return", "{}", 403, "people-only"},
		{write, "POST", "/v1/alerts/" + issued + "/cancel", `{"reason":"ERROR"}`, 403, "approver or a duty officer"},
		{write, "POST", "/v1/alerts/" + id + "/cancel", `{"reason":"ERROR"}`, 200, ""}, // never issued: dropped
		{wants, "GET", "/v1/subscriptions", "", 200, ""},
		{wants, "POST", "/v1/subscriptions", `{"subscription":{"categories":">"}}`, 403, "subscriptions:write"},
		{confirms, "POST", "/v1/subscriptions", `{"subscription":{"categories":">"}}`, 200, ""},
		{confirms, "POST", "/v1/subscriptions/" + id + "/approve", "{}", 403, "people-only"},
		{h.login("root"), "GET", "/v1/alerts/" + id, "", 403, "policy"}, // an administrator sees no content
		{h.login("eva"), "POST", "/v1/alerts", draft, 403, "auditors change nothing"},
	} {
		if code, body := h.call(c.secret, c.method, c.path, c.body); code != c.code || !strings.Contains(body, c.why) {
			t.Errorf("%s %s = %d %s, want %d %s", c.method, c.path, code, body, c.code, c.why)
		}
	}
}

func TestAlertsByREST(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	code, body := h.call(ana, "POST", "/v1/alerts", `{"draft":{"category":"drugs.trafficking","urgency":"IMMEDIATE","notice":{"title":"Ñandú","type":"vessel"}}}`)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(body), &made); code != 200 || err != nil || made.ID == "" {
		t.Fatalf("create = %d %s", code, body)
	}
	if code, body = h.call(ana, "GET", "/v1/alerts/"+made.ID, ""); code != 200 || !strings.Contains(squeeze(body), `"title":"Ñandú"`) {
		t.Errorf("show = %d %s", code, body)
	}
	h.board.arrive("from elsewhere")
	if code, body = h.call(ana, "GET", "/v1/alerts?direction=received&category=drugs.trafficking&limit=5", ""); code != 200 || strings.Contains(body, "Ñandú") || !strings.Contains(body, "from elsewhere") {
		t.Errorf("list = %d %s", code, body)
	}
	for _, c := range []struct{ method, path, body, why string }{
		{"GET", "/v1/alerts?direction=sent", "", "unknown-direction"},
		{"GET", "/v1/alerts?status=LOST", "", "unknown-status"},
		{"GET", "/v1/alerts?limit=501", "", "limit"},
		{"GET", "/v1/alerts?category=Drugs", "", "malformed"},
		{"GET", "/v1/alerts?cursor=-1", "", "malformed-cursor"},
		{"GET", "/v1/alerts?x=1", "", "unknown-field"},
		{"GET", "/v1/alerts/7", "", "malformed-id"},
		{"POST", "/v1/alerts", "{}", "no-draft"},
		{"POST", "/v1/alerts", `{"draft":{"to_whom":[]}}`, "malformed-json"},
		{"POST", "/v1/alerts/" + made.ID + "/update", "{}", "no-draft"},
		{"POST", "/v1/alerts/" + made.ID + "/feedback", "{}", "incomplete"},
		{"DELETE", "/v1/subscriptions/7", "", "malformed-id"},
	} {
		if code, body := h.call(ana, c.method, c.path, c.body); code != 400 || !strings.Contains(body, c.why) {
			t.Errorf("%s %s = %d %s, want %s", c.method, c.path, code, body, c.why)
		}
	}
}

// A draft with files inside it may have 1 MiB on either face, and not more.
func TestDraftWithFilesInside(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	photo := pattern(message.MaxSealedBody - 4096)
	d := alarm("photo")
	d.Files = []*formatv1.File{{Name: "p.jpg", MediaType: "image/jpeg", Data: photo}}
	c := h.client(ana)
	made := must2(c.Alerts.CreateAlert(t.Context(), &operatorv1.CreateAlertRequest{Draft: d}))
	if got := must2(c.Alerts.GetAlert(t.Context(), &operatorv1.GetAlertRequest{Id: made.GetId()})); !bytes.Equal(got.GetFiles()[0].GetData(), photo) {
		t.Error("the photo is another now")
	}
	post := func(data []byte) (int, string) {
		return h.call(ana, "POST", "/v1/alerts", `{"draft":{"files":[{"name":"p.jpg","data":"`+base64.StdEncoding.EncodeToString(data)+`"}]}}`)
	}
	if code, body := post(photo); code != 200 {
		t.Errorf("REST = %d %s", code, body)
	}
	if code, body := post(pattern(message.MaxSealedBody)); code != 413 || !strings.Contains(body, "one by one") {
		t.Errorf("more than 1 MiB by REST = %d %s", code, body)
	}
	d.Files[0].Data = pattern(message.MaxSealedBody)
	_, err := c.Alerts.UpdateAlert(t.Context(), &operatorv1.UpdateAlertRequest{Id: made.GetId(), Draft: d})
	h.refused(err, fault.TooLarge, "too-large")
	d = alarm("many")
	for range message.MaxItems + 1 {
		d.Subjects = append(d.Subjects, &formatv1.Subject{})
	}
	_, err = c.Alerts.CreateAlert(t.Context(), &operatorv1.CreateAlertRequest{Draft: d})
	h.refused(err, fault.TooLarge, "too-many")
}

func TestFilesOfAlerts(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	c, id := h.client(ana), h.board.write("files").String()
	for i, size := range []int{0, 1, slice, 2*slice + 7} {
		up, err := c.UploadAlertFile(t.Context(), id, &formatv1.AttachmentNote{Name: "f" + strconv.Itoa(i)}, bytes.NewReader(pattern(size)))
		h.must(err)
		if up.GetIndex() != uint32(i) || up.GetSize() != uint64(size) {
			t.Errorf("upload of %d bytes = %v", size, up)
		}
		var got bytes.Buffer
		info, err := c.DownloadAlertFile(t.Context(), &operatorv1.GetAlertFileRequest{AlertId: id, Index: uint32(i)}, &got)
		h.must(err)
		if info.GetName() != "f"+strconv.Itoa(i) || !bytes.Equal(got.Bytes(), pattern(size)) {
			t.Errorf("download of %d bytes gave %d as %v", size, got.Len(), info)
		}
	}
	_, err := c.UploadAlertFile(t.Context(), "nonsense", &formatv1.AttachmentNote{Name: "x"}, strings.NewReader("x"))
	h.refused(err, fault.Invalid, "malformed-id")
	_, err = h.client(h.login("root")).DownloadAlertFile(t.Context(), &operatorv1.GetAlertFileRequest{AlertId: id}, io.Discard)
	h.refused(err, fault.Denied, "policy")

	base, data := "/v1/alerts/"+id+"/files", pattern(slice+3)
	res, body := h.do(ana, http.MethodPut, base+"?name=mapa.png", bytes.NewReader(data), "Content-Type", "image/png")
	if res.StatusCode != 201 || !strings.Contains(squeeze(body), `"index":4`) {
		t.Fatalf("REST upload = %d %s", res.StatusCode, body)
	}
	res, body = h.do(ana, http.MethodGet, base+"/4", nil)
	if body != strings.TrimSpace(string(data)) || res.Header.Get("Content-Type") != "application/octet-stream" || res.Header.Get("Repr-Digest") == "" {
		t.Errorf("REST download = %d bytes of %d as %v", len(body), len(data), res.Header)
	}
	for path, want := range map[string]int{base + "/9": 404, base + "/x": 400, base + "/4?range=1": 400, "/v1/alerts/nonsense/files/0": 400} {
		if code, body := h.call(ana, http.MethodGet, path, ""); code != want {
			t.Errorf("GET %s = %d %s, want %d", path, code, body, want)
		}
	}
	if code, body := h.call(h.token(people.ScopeAlertsRead, people.ScopeAttachmentsWrite), http.MethodPut, base+"?name=a", "data"); code != 403 || !strings.Contains(body, "alerts:write") {
		t.Errorf("upload by a reader = %d %s", code, body)
	}
}

// watchAlerts collects changes of one watch.
func (h *house) watchAlerts(secret string, from *operatorv1.WatchAlertsRequest) *watching {
	h.t.Helper()
	w := &watching{done: make(chan struct{})}
	stream, err := h.client(secret).Alerts.WatchAlerts(h.t.Context(), from)
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
			w.seen = append(w.seen, m.GetCursor()+":"+m.GetAlert().GetNotice().GetTitle())
			w.mu.Unlock()
		}
	}()
	return w
}

func TestWatchAlertsMissesAndRepeatsNothing(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	h.board.write("a")
	h.board.arrive("b")
	fresh := h.watchAlerts(ana, &operatorv1.WatchAlertsRequest{})
	whole := h.watchAlerts(ana, &operatorv1.WatchAlertsRequest{Cursor: "0"})
	received := h.watchAlerts(ana, &operatorv1.WatchAlertsRequest{Cursor: "0", Received: true})
	h.board.write("c")
	h.board.arrive("d")
	for what, w := range map[string]struct {
		*watching
		n    int
		want string
	}{
		"from now on": {fresh, 2, "[3:c 4:d]"}, "from the beginning": {whole, 4, "[1:a 2:b 3:c 4:d]"}, "received": {received, 2, "[2:b 4:d]"},
	} {
		if got := fmt.Sprint(w.until(t, w.n)); got != w.want {
			t.Errorf("%s = %s, want %s", what, got, w.want)
		}
	}
	const more = 250 // over two pages
	for i := range more {
		h.board.arrive(strconv.Itoa(i))
	}
	late := h.watchAlerts(ana, &operatorv1.WatchAlertsRequest{Cursor: "4"})
	for w, before := range map[*watching]int{whole: 4, received: 2, late: 0} {
		seen := w.until(t, before+more)
		for i, s := range seen[before:] {
			if want := place(int64(i+5), strconv.Itoa(i)); s != want {
				t.Fatalf("change %d = %s, want %s", i, s, want)
			}
		}
	}
	h.refused(h.watchAlerts(ana, &operatorv1.WatchAlertsRequest{Cursor: "9999"}).ended(t), fault.Conflict, "cursor-ahead")
	h.refused(h.watchAlerts(ana, &operatorv1.WatchAlertsRequest{Cursor: "1x"}).ended(t), fault.Invalid, "malformed-cursor")
}

// What is left out is not looked at again: a watch stands behind it, though it sent nothing.
func TestWatchAlertsPassesOverWhatIsLeftOut(t *testing.T) {
	h := open(t)
	for range 2 * alertPage {
		h.board.write("ours")
	}
	w := h.watchAlerts(h.login("ana"), &operatorv1.WatchAlertsRequest{Cursor: "0", Received: true})
	h.board.arrive("theirs")
	if got, want := fmt.Sprint(w.until(t, 1)), fmt.Sprintf("[%d:theirs]", 2*alertPage+1); got != want {
		t.Errorf("seen = %s, want %s", got, want)
	}
	h.board.mu.Lock()
	defer h.board.mu.Unlock()
	if !slices.IsSorted(h.board.asked) || slices.Max(h.board.asked) < 2*alertPage {
		t.Errorf("asked after %v", h.board.asked)
	}
	again := 0
	for _, cursor := range h.board.asked {
		if cursor == 0 {
			again++
		}
	}
	if again != 1 {
		t.Errorf("asked %d times from the beginning", again)
	}
}

// A reader who takes nothing holds up neither other readers nor those who write.
func TestSlowReaderOfAlertsBlocksNobody(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stuck, err := h.client(ana).Alerts.WatchAlerts(ctx, &operatorv1.WatchAlertsRequest{Cursor: "0"})
	h.must(err)
	quick := h.watchAlerts(ana, &operatorv1.WatchAlertsRequest{Cursor: "0"})
	const n = 200
	for range n {
		h.board.arrive(strings.Repeat("x", 8<<10))
	}
	quick.until(t, n)
	for i := range n { // and when it reads at last, nothing is missing
		m, err := stuck.Recv()
		h.must(err)
		if m.GetCursor() != strconv.Itoa(i+1) {
			t.Fatalf("change %d has cursor %s", i+1, m.GetCursor())
		}
	}
}

func TestWatchAlertsEndsWithItsRight(t *testing.T) {
	h := open(t)
	root := h.client(h.login("root"))
	w := h.watchAlerts(h.login("luis"), &operatorv1.WatchAlertsRequest{})
	must2(root.Users.LockUser(t.Context(), &operatorv1.LockUserRequest{User: "luis"}))
	h.refused(w.ended(t), fault.Unauthenticated, "no-session")
	w = h.watchAlerts(h.login("eva"), &operatorv1.WatchAlertsRequest{})
	must2(root.Users.SetRoles(t.Context(), &operatorv1.SetRolesRequest{User: "eva", Roles: []string{"administrator"}}))
	h.refused(w.ended(t), fault.Denied, "policy")
}

func TestClientWatchesAlertsOverACut(t *testing.T) {
	h := open(t)
	robot := h.client(h.token(people.ScopeAlertsRead))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, done, enough := make(chan string, 10), make(chan error, 1), errors.New("enough")
	h.board.arrive("a")
	h.board.write("ours")
	go func() {
		done <- robot.WatchAlerts(ctx, &operatorv1.WatchAlertsRequest{Cursor: "0", Received: true}, func(m *operatorv1.WatchAlertsResponse) error {
			got <- m.GetAlert().GetNotice().GetTitle()
			if m.GetAlert().GetNotice().GetTitle() == "b" {
				return enough
			}
			return nil
		})
	}()
	if s := <-got; s != "a" {
		t.Fatalf("first = %s", s)
	}
	h.stop() // the cut: the door stops, and opens again at the same address
	h.door = New(h.door.c)
	h.board.arrive("b")
	h.runAt(h.rpc)
	if s := <-got; s != "b" {
		t.Errorf("after the cut = %s, want b, once", s)
	}
	if err := <-done; !errors.Is(err, enough) {
		t.Errorf("WatchAlerts = %v", err)
	}
}

func TestAlertsAsServerSentEvents(t *testing.T) {
	h := open(t)
	ana := h.login("ana")
	h.board.write("ours")
	photo := hex.EncodeToString(pattern(300 << 10)) // longer than a line of a careless reader
	d := alarm("theirs\nid: 99\n\nevent: forged")
	d.Subjects = []*formatv1.Subject{{}}
	d.Notice.Details = photo
	h.board.mu.Lock()
	h.board.put(&pinned{own: name("mx/fgr"), draft: d, state: message.AlertIssued})
	h.board.mu.Unlock()
	events := func(query, last string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.web+"/v1/watch/alerts"+query, nil)
		h.must(err)
		req.Header.Set("Authorization", "Bearer "+ana)
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		res, err := h.http.Do(req)
		h.must(err)
		defer res.Body.Close()
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("status = %d %v", res.StatusCode, res.Header)
		}
		text, buf := "", make([]byte, 64<<10)
		for !strings.Contains(text, ": here\n") { // the stream has nothing more to say
			n, err := res.Body.Read(buf)
			text += string(buf[:n])
			h.must(err)
		}
		return squeeze(text)
	}
	got := events("?cursor=0&received=true", "")
	if !strings.HasPrefix(got, "retry:3000\nid:0\n\nid:2\nevent:alert\ndata:{") || !strings.Contains(got, `"title":"theirs\nid:99\n\nevent:forged"`) || !strings.Contains(got, photo) {
		t.Errorf("events = %.300s", got)
	}
	if got := events("?cursor=0", "1"); strings.Contains(got, "ours") || !strings.Contains(got, "id:1\n\nid:2\n") { // the header wins
		t.Errorf("resumed = %.300s", got)
	}
	for query, code := range map[string]string{"?cursor=x": "malformed-cursor", "?cursor=77": "cursor-ahead", "?x=1": "unknown-field", "?received=yes": "malformed-query"} {
		if _, body := h.call(ana, http.MethodGet, "/v1/watch/alerts"+query, ""); !strings.Contains(body, code) {
			t.Errorf("watch%s = %s, want %s", query, body, code)
		}
	}
	if _, body := h.call(ana, http.MethodGet, "/v1/watch?received=true", ""); !strings.Contains(body, "unknown-field") {
		t.Errorf("requests have no such parameter: %s", body)
	}
}

// A node without alerts has no such methods, on either face.
func TestNodeWithoutAlerts(t *testing.T) {
	h := open(t, func(c *Config) { c.Alerts, c.Subscriptions = nil, nil })
	ana := h.login("ana")
	_, err := h.client(ana).Alerts.ListAlerts(t.Context(), &operatorv1.ListAlertsRequest{})
	h.refused(err, fault.Invalid, "unknown-method")
	_, err = h.client(ana).Subscriptions.ListSubscriptions(t.Context(), &operatorv1.ListSubscriptionsRequest{})
	h.refused(err, fault.Invalid, "unknown-method")
	if code, body := h.call(ana, http.MethodGet, "/v1/watch/alerts", ""); code != 400 || !strings.Contains(body, "unknown-method") {
		t.Errorf("watch = %d %s", code, body)
	}
}

// Every type that the description names is described.
func TestOpenAPIIsWhole(t *testing.T) {
	data, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Definitions map[string]any }
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(data), `"#/definitions/`)[1:] {
		if name, _, _ := strings.Cut(part, `"`); doc.Definitions[name] == nil {
			t.Errorf("%s is named and not described", name)
		}
	}
}
