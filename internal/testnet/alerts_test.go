package testnet_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/enlace-network/enlace/internal/directory"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// tenStates are as many as an alert goes to at once in these tests.
func tenStates() []string {
	return []string{"mx", "jm", "br", "ht", "ar", "bb", "ca", "cl", "do", "uy"}
}

// alert is a made-up alert with a marker in every place of its content.
func alert(from *testnet.Member, category, title string) *operatorv1.AlertDraft {
	d := testnet.ExerciseAlert(from, category, title)
	d.Notice.Type = "warning-person"
	d.Notice.Summary = "zopilote-summary"
	d.Notice.Details = "zopilote-details"
	d.Notice.Attestations = []string{"LAWFUL_BASIS", "NECESSARY_AND_PROPORTIONATE", "NEUTRAL", "NO_REFUGEE"}
	d.Subjects = []*formatv1.Subject{{Type: "person", Role: "suspect", Reason: "zopilote-reason", Attributes: []*formatv1.Attribute{
		{Name: "name", Value: "zopilote-subject", Kind: "primary"}}}}
	return d
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func subscribe(t *testing.T, m *testnet.Member, s *operatorv1.Subscription) string {
	t.Helper()
	return must[string](t)(m.Subscribe(t.Context(), s))
}

// seen lists the alerts that a member's authority has received, by ID.
func seen(t *testing.T, m *testnet.Member) []string {
	t.Helper()
	var ids []string
	for cursor := ""; ; {
		r, err := m.Officer.Alerts.ListAlerts(t.Context(), &operatorv1.ListAlertsRequest{Direction: "received", Limit: 500, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range r.GetAlerts() {
			ids = append(ids, a.GetId())
		}
		if cursor = r.GetNextCursor(); cursor == "" {
			return ids
		}
	}
}

// TestAlertsToTen publishes to ten nodes that want different things: everyone entitled who wants it receives it, no one
// else, and the issuer knows of each. The hub, which carried it, can read nothing of it. P4, P9.
func TestAlertsToTen(t *testing.T) {
	n := start(t, testnet.Options{States: tenStates()})
	mx := n.Members[0]
	for i, m := range n.Members[1:] {
		switch {
		case i == 0: // jm wants another category
			subscribe(t, m, &operatorv1.Subscription{Categories: "firearms.>"})
		case i == 1: // br wants only what is immediate
			subscribe(t, m, &operatorv1.Subscription{Categories: "drugs.>", Urgency: "IMMEDIATE"})
		case i == 2: // ht wants nothing
		default:
			subscribe(t, m, &operatorv1.Subscription{Categories: "drugs.>"})
		}
	}
	id := must[string](t)(mx.Publish(t.Context(), alert(mx, "drugs.trafficking", "zopilote-title")))
	h := must[*operatorv1.ListHoldersResponse](t)(mx.AwaitHolders(t.Context(), id, 6))
	states := map[string]string{}
	for _, x := range h.GetHolders() {
		states[x.GetNode()] = x.GetAlert()
	}
	for i, m := range n.Members[1:] {
		want := "RECEIVED"
		if i < 3 {
			want = "PASSED_OVER"
		}
		if got := states[m.State.String()+"/node/primary"]; got != want {
			t.Errorf("%s: %s, want %s", m.State, got, want)
		}
		if has := slices.Contains(seen(t, m), id); has != (want == "RECEIVED") {
			t.Errorf("%s shows the alert: %v", m.State, has)
		}
	}
	got := must[*operatorv1.GetAlertResponse](t)(n.Members[9].AwaitAlert(t.Context(), n.Members[9].Duty, id, testnet.AlertIn("ISSUED")))
	if got.GetNotice().GetTitle() != "zopilote-title" || got.GetSummary().GetOperationalStatus() != "EXERCISE" || got.GetSubjects()[0].GetAttributes()[0].GetValue() != "zopilote-subject" {
		t.Errorf("what arrived is not what was written: %v", got)
	}
	if places := containing(t, n.HubDir, "zopilote"); len(places) > 0 {
		t.Errorf("the hub can read content in %v", places)
	}
	if places := containing(t, filepath.Join(n.HubDir, "data", "bus"), "drugs.trafficking"); len(places) == 0 {
		t.Error("the alert did not go by the bus at all")
	}
}

// containing lists the files below a folder that have a text in them.
func containing(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestBusWiped takes the hub away in the middle of a stream of alerts and brings it back with an empty bus: nothing is
// lost, nothing comes twice, and nobody does anything about it.
func TestBusWiped(t *testing.T) {
	const alerts = 300
	n := start(t, testnet.Options{States: tenStates(), FourEyes: "single"})
	mx := n.Members[0]
	for _, m := range n.Members[1:] {
		subscribe(t, m, &operatorv1.Subscription{Categories: ">"})
	}
	ids := make(chan string, alerts)
	var g errgroup.Group
	g.SetLimit(8)
	for i := range alerts {
		if i == alerts/3 {
			if err := n.StopHub(); err != nil {
				t.Fatal(err)
			}
		}
		if i == 2*alerts/3 {
			if err := n.StartHub(context.Background(), true); err != nil {
				t.Fatal(err)
			}
		}
		g.Go(func() error {
			id, err := mx.Publish(t.Context(), alert(mx, "drugs.trafficking", fmt.Sprintf("made-up alert %d", i)))
			ids <- id
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	close(ids)
	var last []string
	for id := range ids {
		last = append(last, id)
	}
	for _, id := range last {
		if _, err := mx.AwaitHolders(t.Context(), id, 9); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(last)
	for _, m := range n.Members[1:] {
		got := seen(t, m)
		slices.Sort(got)
		if !slices.Equal(got, last) {
			t.Errorf("%s shows %d alerts, want the %d that were published, each once", m.State, len(got), len(last))
		}
	}
}

// TestAwayFromTheHub publishes while there is no hub at all: members that reach each other have the alert. P8.
func TestAwayFromTheHub(t *testing.T) {
	n := start(t, testnet.Options{FourEyes: "single"})
	mx, jm := n.Members[0], n.Members[1]
	subscribe(t, jm, &operatorv1.Subscription{Categories: ">"})
	if err := n.StopHub(); err != nil {
		t.Fatal(err)
	}
	id := must[string](t)(mx.Publish(t.Context(), alert(mx, "drugs.trafficking", "without a hub")))
	if _, err := jm.AwaitAlert(t.Context(), jm.Duty, id, testnet.AlertIn("ISSUED")); err != nil {
		t.Fatal(err)
	}
}

// TestRemovedFromAudience suspends a state: within 10 s its connection to the bus is cut, it receives no further alert,
// and the others go on. P7.
func TestRemovedFromAudience(t *testing.T) {
	n := start(t, testnet.Options{States: []string{"mx", "jm", "br", "ht"}, FourEyes: "single"})
	mx, br := n.Members[0], n.Members[2]
	for _, m := range n.Members[1:] {
		subscribe(t, m, &operatorv1.Subscription{Categories: ">"})
	}
	before := must[string](t)(mx.Publish(t.Context(), alert(mx, "drugs.trafficking", "before")))
	if _, err := mx.AwaitHolders(t.Context(), before, 3); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	err := n.Restrict(t.Context(), nil, func(d directory.Draft) ([]byte, error) {
		return d.Suspend(directory.OfState(br.State), time.Now().Add(time.Hour), "test")
	})
	if err != nil {
		t.Fatal(err)
	}
	for !br.Daemon.Bus.Status().Connected.IsZero() {
		if time.Since(start) > removedWithin {
			t.Fatal("the connection to the bus was not cut in time")
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("cut after %v", time.Since(start).Round(time.Millisecond))
	for time.Since(start) < removedWithin {
		if view := mx.Daemon.Follower.Current().Load().At(time.Now()); view.CheckState(br.State) != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	after := must[string](t)(mx.Publish(t.Context(), alert(mx, "drugs.trafficking", "after")))
	if _, err := mx.AwaitHolders(t.Context(), after, 2); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if got := seen(t, br); slices.Contains(got, after) || !slices.Contains(got, before) {
		t.Errorf("the suspended state shows %v", got)
	}
	if strings.Contains(fmt.Sprint(must[*operatorv1.ListHoldersResponse](t)(mx.Officer.Alerts.ListHolders(t.Context(), &operatorv1.ListHoldersRequest{Id: after}))), "br/node") {
		t.Error("the suspended state counts as a holder of what came after")
	}
}
