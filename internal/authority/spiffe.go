package authority

import (
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/enlace-network/enlace/internal/fault"
)

// hubDomain is the first label of the hub's own trust domain: three letters, so no state can ever have it.
const hubDomain = "hub"

// hubPath is the path of the directory hub's identity.
const hubPath = "/directory/primary"

// NodeID is the TLS identity of a node: spiffe://mx.<network name>/node/primary. PROTOCOL 3.5.
func NodeID(n Node, network string) (spiffeid.ID, error) {
	td, err := spiffeid.TrustDomainFromString(n.State().String() + "." + network)
	if err != nil {
		return spiffeid.ID{}, fault.Wrap(err, fault.Invalid, "malformed-name", "name node", "the network's name cannot be part of an identity")
	}
	return spiffeid.FromPath(td, "/node/"+n.Slug())
}

// HubID is the TLS identity of the directory hub: spiffe://hub.<network name>/directory/primary. PROTOCOL 3.5.
func HubID(network string) (spiffeid.ID, error) {
	td, err := spiffeid.TrustDomainFromString(hubDomain + "." + network)
	if err != nil {
		return spiffeid.ID{}, fault.Wrap(err, fault.Invalid, "malformed-name", "name hub", "the network's name cannot be part of an identity")
	}
	return spiffeid.FromPath(td, hubPath)
}

// ParseNodeID reads a node's name out of its TLS identity, refusing another network's. PROTOCOL 3.5.
func ParseNodeID(id spiffeid.ID, network string) (Node, error) {
	label, rest, _ := strings.Cut(id.TrustDomain().Name(), ".")
	node, err := ParseNode(label + id.Path())
	if err != nil || rest != network {
		return Node{}, fault.New(fault.Invalid, "wrong-identity", "read TLS identity", "the certificate does not name a node of this network")
	}
	return node, nil
}

// IsHubID reports whether id is the hub of this network.
func IsHubID(id spiffeid.ID, network string) bool {
	want, err := HubID(network)
	return err == nil && id == want
}
