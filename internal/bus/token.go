package bus

import (
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
)

// issuer makes the tokens of one network's bus. The keys stay in the ring.
type issuer struct {
	ring                      *keyring.Ring
	operator, account, system string
}

func newIssuer(ring *keyring.Ring) (issuer, error) {
	i := issuer{ring: ring}
	for slot, to := range map[keyring.Slot]*string{
		keyring.HubBusOperator: &i.operator, keyring.HubBusAccount: &i.account, keyring.HubBusSystem: &i.system} {
		public, err := ring.Public(slot)
		if err != nil {
			return issuer{}, err
		}
		*to = string(public.Bytes())
	}
	return i, nil
}

// encoder is any claims.
type encoder interface {
	EncodeWithSigner(pair nkeys.KeyPair, fn jwt.SignFn) (string, error)
}

func (i issuer) sign(by string, claims encoder) (string, error) {
	pair, err := nkeys.FromPublicKey(by)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "", opAccess, "a key of the bus is not one")
	}
	token, err := claims.EncodeWithSigner(pair, i.ring.SignToken)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "", opAccess, "a token of the bus could not be made")
	}
	return token, nil
}

func (i issuer) operatorClaims(network string) *jwt.OperatorClaims {
	c := jwt.NewOperatorClaims(i.operator)
	c.Name, c.SystemAccount = network, i.system
	return c
}

func (i issuer) systemToken() (string, error) {
	c := jwt.NewAccountClaims(i.system)
	c.Name = "system"
	return i.sign(i.operator, c)
}

// accountToken is the account of traffic with the user keys that are refused where their token is no younger than that,
// Unix seconds.
func (i issuer) accountToken(revoked map[string]int64) (string, error) {
	c := jwt.NewAccountClaims(i.account)
	c.Name = "traffic"
	c.Limits.DisallowBearer = true
	c.Limits.Imports, c.Limits.Exports, c.Limits.LeafNodeConn, c.Limits.WildcardExports = 0, 0, 0, false
	c.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit, MaxAckPending: jwt.NoLimit}
	c.Revocations = jwt.RevocationList(revoked)
	return i.sign(i.operator, c)
}

// nodeToken is what a node may do on the bus, and for how long. It names no subject of the server's own: where a node
// could acknowledge to the server itself, it could name a reply subject that the server would write to in its stead
// (tried on 2.15.2: an acknowledgement with the reply $JS.API.STREAM.DELETE.<name> deletes that stream). So nodes
// acknowledge to the hub, which passes it on.
func (i issuer) nodeToken(node authority.Node, user string, payload int, life time.Duration) (string, time.Time, error) {
	c := jwt.NewUserClaims(user)
	c.Name = node.String()
	// The machine's clock, not the hub's: the server compares with its own.
	expires := time.Now().Add(life)
	c.Expires = expires.Unix()
	c.Permissions.Pub.Allow.Add(alertToken+".*.*.*."+node.State().String(), ackOf(node)+".*", boxToken+"."+place(node))
	c.Permissions.Sub.Allow.Add(deliverOf(node)+".*", inboxOf(node)+".>")
	for _, k := range kinds() {
		c.Permissions.Pub.Allow.Add(k.String() + ".*.*." + node.State().String())
		c.Permissions.Sub.Allow.Add(toldOf(k, node) + ".*")
	}
	c.Limits.NatsLimits = jwt.NatsLimits{Subs: maxSubscriptions, Data: jwt.NoLimit, Payload: int64(payload)}
	c.AllowedConnectionTypes.Add(jwt.ConnectionTypeStandard)
	token, err := i.sign(i.account, c)
	return token, time.Unix(c.Expires, 0).UTC(), err
}

// hubToken is the hub's own user in an account, whose key dies with the process.
func (i issuer) hubToken(account, user string, publish, subscribe []string) (string, error) {
	c := jwt.NewUserClaims(user)
	c.Name = "hub"
	c.Permissions.Pub.Allow.Add(publish...)
	c.Permissions.Sub.Allow.Add(subscribe...)
	return i.sign(account, c)
}

// maxSubscriptions is how many a node's connection may have: three for each other state, more than there are states.
const maxSubscriptions = 3 * 1024
