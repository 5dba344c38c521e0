package node

import (
	"context"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/nudge"
)

// busWorkers is how many alerts of the bus are taken at once.
const busWorkers = 16

// openAlerts joins the node to the one-to-many road: bus, audiences, and what alerts mean to its people.
func (d *daemon) openAlerts(ctx context.Context) error {
	nodeKey, err := d.nodeKey()
	if err != nil {
		return err
	}
	sender, targets, err := nudge.Load(d.cfg.Notify, d.cfg.dir)
	if err != nil {
		return err
	}
	incarnation := d.ledger.Identity().Incarnation
	d.bus = bus.NewClient(bus.ClientOptions{
		Node: d.parsed.node, Access: d.busAccess, Workers: busWorkers, Clock: d.Clock, Log: d.Log,
		Mail:    func(ctx context.Context, l bus.Letter) error { return d.exchange.TakeMail(ctx, l.From, l.Data) },
		Sign:    func(nonce []byte) ([]byte, error) { return d.ring.SignNonce(keyring.NodeBus, nonce) },
		Filters: func() []string { return d.alerts.Filters() },
		Changed: func() <-chan struct{} { return d.alerts.FiltersChanged() },
		Handle:  func(ctx context.Context, a bus.Arrival) error { return d.take(ctx, a) },
	})
	d.broadcast = broadcast.New(broadcast.Options{
		Node: d.parsed.node, NodeKey: nodeKey, Incarnation: incarnation, Ledger: d.ledger, Keys: d.ring,
		Directory: known{d.follower}, Bus: settledBus{d.bus, d.exchange}, Courier: settledCourier{d.courier, d.exchange}, Clock: d.Clock, Random: d.Random, Log: d.Log,
	})
	d.alerts, err = alert.New(ctx, alert.Options{
		Node: d.parsed.node, Incarnation: incarnation, Ledger: d.ledger, Keys: d.ring, Directory: known{d.follower}, Road: settledPublisher{d.broadcast, d.exchange},
		Exchange: d.exchange, Puller: d.courier, Gate: d.gate(), Lists: d.lists, FourEyes: d.parsed.fourEyes,
		Sender: sender, Targets: targets, Clock: d.Clock, Random: d.Random, Log: d.Log,
	})
	if err != nil {
		return err
	}
	d.broadcast.Attach(d.alerts)
	d.exchange.Alerts, d.exchange.Reborn = d.alerts, d.broadcast.Reborn
	d.courier.Greet(d.exchange, d.greeted)
	d.useMail()
	return nil
}

// busAccess asks the hub for access to the bus.
func (d *daemon) busAccess(ctx context.Context, filters []string) (bus.Access, error) {
	a, err := d.follower.BusAccess(ctx, filters)
	return bus.Access(a), err
}
