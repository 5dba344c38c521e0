package node

import (
	"context"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/exchange"
)

// thinSlice is how much of an attachment one mail carries on a thin line.
const thinSlice = 16 << 10

// mailbox lets the exchange use the bus: it implements exchange.Mailbox.
type mailbox struct{ c *bus.Client }

func (m mailbox) Open() bool { return m.c.Connected() }

func (m mailbox) Standing(ctx context.Context, to authority.Node, bulk bool) (exchange.MailboxStanding, error) {
	b, err := m.c.Box(ctx, boxKind(bulk), to)
	return exchange.MailboxStanding(b), err
}

func (m mailbox) Post(ctx context.Context, to authority.Node, bulk bool, mail []byte) error {
	return m.c.Post(ctx, boxKind(bulk), to, mail)
}

func boxKind(bulk bool) bus.Kind {
	if bulk {
		return bus.Bulk
	}
	return bus.Mail
}

// useMail joins the exchange to the road by the hub.
func (d *daemon) useMail() {
	d.exchange.Mail = mailbox{d.bus}
	if d.cfg.Profile == smallState {
		d.exchange.MailSlice = thinSlice
	}
}
