package authority

import (
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/enlace-network/enlace/internal/fault"
)

const network = "network.example"

// PROTOCOL 3.5.
func TestNodeID(t *testing.T) {
	for text, want := range map[string]string{
		"mx/node/primary": "spiffe://mx.network.example/node/primary",
		"x-rss/node/b":    "spiffe://x-rss.network.example/node/b",
	} {
		node := mustNode(t, text)
		id, err := NodeID(node, network)
		if err != nil || id.String() != want {
			t.Errorf("%s = %v, %v; want %s", text, id, err, want)
		}
		back, err := ParseNodeID(id, network)
		if err != nil || back != node {
			t.Errorf("%s reads as %v, %v", id, back, err)
		}
		if IsHubID(id, network) {
			t.Errorf("%s passes as the hub", id)
		}
	}
	if _, err := NodeID(mustNode(t, "mx/node/primary"), "no such name!"); fault.CodeOf(err) != "malformed-name" {
		t.Errorf("malformed network: %v", err)
	}
}

// PROTOCOL 3.5: no state's CA can name the hub, and the hub's can name no node.
func TestHubID(t *testing.T) {
	id, err := HubID(network)
	if err != nil || id.String() != "spiffe://hub.network.example/directory/primary" {
		t.Fatalf("hub = %v, %v", id, err)
	}
	if !IsHubID(id, network) || IsHubID(id, "other.example") {
		t.Error("the hub is not told by its network")
	}
	if node, err := ParseNodeID(id, network); err == nil {
		t.Errorf("the hub reads as node %v", node)
	}
	if _, err := ParseState(hubDomain); err == nil {
		t.Error("a state may have the hub's trust domain")
	}
	if _, err := HubID("no such name!"); fault.CodeOf(err) != "malformed-name" {
		t.Errorf("malformed network: %v", err)
	}
}

// PROTOCOL 3.5.
func TestParseNodeIDRefuses(t *testing.T) {
	for _, text := range []string{
		"spiffe://mx.other.example/node/primary",
		"spiffe://mx.evil.network.example/node/primary",
		"spiffe://network.example/node/primary",
		"spiffe://mexico.network.example/node/primary",
		"spiffe://mx.network.example/nodes/primary",
		"spiffe://mx.network.example/node/primary/x",
		"spiffe://mx.network.example/node/Primary",
		"spiffe://mx.network.example/fgr",
		"spiffe://mx.network.example",
	} {
		node, err := ParseNodeID(spiffeid.RequireFromString(text), network)
		if fault.CodeOf(err) != "wrong-identity" || !node.IsZero() {
			t.Errorf("%s = %v, %v; want wrong-identity", text, node, err)
		}
	}
}

func FuzzParseNodeID(f *testing.F) {
	f.Add("spiffe://mx.network.example/node/primary")
	f.Add("spiffe://hub.network.example/directory/primary")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := spiffeid.FromString(s)
		if err != nil {
			return
		}
		node, err := ParseNodeID(id, network)
		if err != nil {
			return
		}
		if back, err := NodeID(node, network); err != nil || back != id {
			t.Errorf("%s reads as %v, whose identity is %v", id, node, back)
		}
	})
}
