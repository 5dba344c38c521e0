package doctor_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/doctor"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/message"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/seal"
	"github.com/enlace-network/enlace/internal/testnet"
)

// prober sends probes as a member's node does, with its own keys, over its own connections.
type prober struct {
	t    *testing.T
	from *testnet.Member
	to   directory.NodeEntry
	ring *keyring.Ring
	view directory.View
}

func newProber(t *testing.T, n *testnet.Network, from, to *testnet.Member) prober {
	t.Helper()
	file := from.Config.Keyring.File
	ring, _, err := keyring.OpenConfigured(keyring.Setting{Path: file.Path, Unlock: file.Unlock, OnDataDisk: file.UnlockOnDataDisk, Data: from.Config.Data}, nil)
	must(t, err)
	view := from.Daemon.Follower.Current().Load().At(time.Now())
	entry, ok := view.Node(to.Daemon.Node)
	if !ok {
		t.Fatal("the peer is not in the directory")
	}
	return prober{t, from, entry, ring, view}
}

// probe is one as the node makes it, changed.
func (p prober) probe(change func(*seal.ControlDraft)) seal.Control {
	p.t.Helper()
	key, ok := p.view.Newest(directory.OfNode(p.to.Node), directory.PurposeSeal)
	sign, err := p.ring.Public(keyring.NodeSign)
	must(p.t, err)
	if !ok {
		p.t.Fatal("no sealing key")
	}
	now := time.Now()
	id, err := message.NewID(now, rand.Reader)
	must(p.t, err)
	d := seal.ControlDraft{
		Network: p.from.Daemon.Follower.Current().Load().NetworkID(), ID: id, From: p.from.Daemon.Node, To: p.to.Node,
		Incarnation: p.from.Daemon.Exchange.Incarnation, Kind: seal.ControlProbe, Created: now, Expires: now.Add(time.Minute), Key: key.Public, NodeKey: sign.Fingerprint(),
	}
	change(&d)
	c, err := seal.NewControl(p.t.Context(), d, p.ring, nil)
	must(p.t, err)
	return c
}

func (p prober) send(c seal.Control) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	answer, err := p.from.Daemon.Courier.Control(ctx, p.to, c.Bytes)
	return answer.Receipt, err
}

// TestProbe: a probe is answered by a receipt that verifies, was committed, and is the same for ever; what is not a probe as
// it should be is refused as any control envelope is; nobody sees anything of it. PROTOCOL 7.6.
func TestProbe(t *testing.T) {
	n := start(t, testnet.Options{States: []string{"mx", "jm"}})
	mx, jm := n.Members[0], n.Members[1]
	p := newProber(t, n, mx, jm)
	good := p.probe(func(*seal.ControlDraft) {})
	if !doctor.IsProbe(good.Bytes) || len(good.Bytes) > doctor.MaxProbe {
		t.Fatalf("a probe of %d bytes is not taken for one", len(good.Bytes))
	}
	receipt, err := p.send(good)
	must(t, err)
	r, err := seal.VerifyControlReceipt(receipt, good, p.view.NodeKey)
	must(t, err)
	if r.Stage != message.Received || r.Node != jm.Daemon.Node {
		t.Errorf("the receipt says %s by %s", r.Stage, r.Node)
	}

	// Committed: the same again, after a restart too, has the same bytes.
	must(t, jm.Stop())
	must(t, n.StartMember(t.Context(), jm))
	var again []byte
	await(t, "the node answers again", func() bool { again, err = p.send(good); return err == nil })
	if !bytes.Equal(again, receipt) {
		t.Error("a repeat has another receipt")
	}

	for name, c := range map[string]struct {
		change func(*seal.ControlDraft)
		code   string // of a rejection, over a receipt
		fault  string // of an error of the call, unsigned
	}{
		"with a body": {func(d *seal.ControlDraft) { d.Body = []byte("x") }, "malformed", ""},
		"for another": {func(d *seal.ControlDraft) { d.To = mx.Daemon.Node }, "wrong-addressee", ""},
		"over": {func(d *seal.ControlDraft) {
			d.Created, d.Expires = d.Created.Add(-time.Hour), d.Created.Add(-time.Minute)
		}, "expired", ""},
		"for too long": {func(d *seal.ControlDraft) { d.Expires = d.Created.Add(2 * time.Hour) }, "", "expires"},
		"of the future": {func(d *seal.ControlDraft) {
			d.Created, d.Expires = d.Created.Add(time.Hour), d.Created.Add(90*time.Minute)
		}, "", "future"},
		"of another net":    {func(d *seal.ControlDraft) { d.Network = "00" + d.Network[2:] }, "", "wrong-network"},
		"another, same ID":  {func(d *seal.ControlDraft) { d.ID = good.ID }, "", "same-id"},
		"from another node": {func(d *seal.ControlDraft) { d.From = jm.Daemon.Node }, "", "bad-signature"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := p.probe(c.change)
			receipt, err := p.send(bad)
			if c.fault != "" {
				if fault.CodeOf(err) != c.fault {
					t.Errorf("error %v, want code %s", err, c.fault)
				}
				return
			}
			must(t, err)
			r, _, err := receiptOf(receipt, bad, p.view)
			must(t, err)
			if r.Stage != message.Rejected || r.Code != c.code {
				t.Errorf("%s %s, want a rejection with %s", r.Stage, r.Code, c.code)
			}
		})
	}

	// It makes no case and no alert, and disturbs nobody.
	officer, err := jm.Login(t.Context(), "duty")
	must(t, err)
	requests, err := officer.Requests.ListRequests(t.Context(), &operatorv1.ListRequestsRequest{})
	must(t, err)
	alerts, err := officer.Alerts.ListAlerts(t.Context(), &operatorv1.ListAlertsRequest{})
	must(t, err)
	if len(requests.GetRequests()) > 0 || len(alerts.GetAlerts()) > 0 {
		t.Errorf("officers see %v %v", requests, alerts)
	}
}

// receiptOf verifies a receipt even where the envelope names another addressee than the node that answered.
func receiptOf(signed []byte, c seal.Control, view directory.View) (seal.ControlReceipt, authority.Node, error) {
	to := c.To
	if r, err := seal.VerifyControlReceipt(signed, c, view.NodeKey); err == nil {
		return r, to, nil
	}
	for _, n := range view.Nodes() {
		c.To = n.Node
		if r, err := seal.VerifyControlReceipt(signed, c, view.NodeKey); err == nil {
			return r, n.Node, nil
		}
	}
	r, err := seal.VerifyControlReceipt(signed, c, view.NodeKey)
	return r, to, err
}

// TestProbesAreRationed: a node that brings probe after probe is told to come back. PROTOCOL 7.6.
func TestProbesAreRationed(t *testing.T) {
	n := start(t, testnet.Options{States: []string{"mx", "jm"}})
	p := newProber(t, n, n.Members[0], n.Members[1])
	one := p.probe(func(*seal.ControlDraft) {})
	for range 200 {
		_, err := p.send(one)
		if fault.CodeOf(err) == "busy" {
			return
		}
		must(t, err)
	}
	t.Error("200 probes at once were all answered")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, o testnet.Options) *testnet.Network {
	t.Helper()
	o.Dir = t.TempDir()
	n, err := testnet.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// await waits for what daemons do by themselves.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
