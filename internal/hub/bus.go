package hub

import (
	"bytes"
	"context"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/registry"
)

const (
	busFolder   = "bus"
	busEmbedded = "embedded"
	busExternal = "external"
	busOff      = "off"
)

// BusConfig is the section bus of directory.yaml.
type BusConfig struct {
	// Mode is embedded (default), external or off.
	Mode string `yaml:"mode"`
	// URLs are the servers of an external bus, nats:// or tls://.
	URLs []string `yaml:"urls"`
	// CAFile is PEM: whom hub and nodes trust as an external server; default the system's authorities.
	CAFile string `yaml:"ca_file"`
	// SystemCredsFile is of the external server's system account; default: the hub makes its own.
	SystemCredsFile string `yaml:"system_creds_file"`
	// Replicas of each publisher's alerts; default 1.
	Replicas int `yaml:"replicas"`
	// MaxAge is how long an alert waits on the bus; default 336h.
	MaxAge time.Duration `yaml:"max_age"`
	// MaxPayload is the largest message in bytes; default 2097152.
	MaxPayload int `yaml:"max_payload"`
	// PublisherBytes is how much one state's alerts may take; default 1073741824.
	PublisherBytes int64 `yaml:"publisher_bytes"`
	// Mailbox bounds what may wait of one state for one node, and as much again of slices of attachments.
	Mailbox struct {
		// Bytes are 67108864 by default.
		Bytes int64 `yaml:"bytes"`
		// Messages are 4096 by default.
		Messages int64 `yaml:"messages"`
	} `yaml:"mailbox"`
}

// Limits of what a configuration may ask for; more is a mistake.
const (
	leastPayload = 64 << 10
	mostPayload  = 64 << 20
	leastBytes   = 1 << 20
	mostBytes    = 1 << 40
	leastAge     = time.Minute
	mostReplicas = 5
	leastMailbox = 4 << 20 // three of the largest mails
	mostMailbox  = 1 << 30
	mostMails    = 1 << 20
)

func (c *BusConfig) fill(dir string) {
	if c.Mode == "" {
		c.Mode = busEmbedded
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.MaxAge == 0 {
		c.MaxAge = 14 * 24 * time.Hour
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = 2 << 20
	}
	if c.PublisherBytes == 0 {
		c.PublisherBytes = 1 << 30
	}
	if c.Mailbox.Bytes == 0 {
		c.Mailbox.Bytes = 64 << 20
	}
	if c.Mailbox.Messages == 0 {
		c.Mailbox.Messages = 4096
	}
	for _, p := range []*string{&c.CAFile, &c.SystemCredsFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

func (c BusConfig) check() error {
	for key, ok := range map[string]bool{
		"bus.mode":             c.Mode == busEmbedded || c.Mode == busExternal || c.Mode == busOff,
		"bus.urls":             (len(c.URLs) > 0) == (c.Mode == busExternal),
		"bus.replicas":         c.Replicas > 0 && c.Replicas <= mostReplicas && (c.Replicas == 1 || c.Mode == busExternal),
		"bus.max_age":          c.MaxAge >= leastAge,
		"bus.max_payload":      c.MaxPayload >= leastPayload && c.MaxPayload <= mostPayload,
		"bus.publisher_bytes":  c.PublisherBytes >= leastBytes && c.PublisherBytes <= mostBytes,
		"bus.mailbox.bytes":    c.Mailbox.Bytes >= leastMailbox && c.Mailbox.Bytes <= mostMailbox,
		"bus.mailbox.messages": c.Mailbox.Messages >= 1 && c.Mailbox.Messages <= mostMails,
	} {
		if !ok {
			return wrongKey(key)
		}
	}
	for _, u := range c.URLs {
		scheme, rest, _ := strings.Cut(u, "://")
		if _, _, err := net.SplitHostPort(rest); err != nil || (scheme != "nats" && scheme != "tls") {
			return wrongKey("bus.urls")
		}
	}
	return nil
}

// openBus starts the bus, or begins to reach it.
func (d *daemon) openBus() error {
	if d.cfg.Bus.Mode == busOff {
		return nil
	}
	if err := d.ring.CompleteHub(d.Clock()); err != nil {
		return err
	}
	o, err := d.busOptions()
	if err != nil {
		return err
	}
	if d.bus, err = bus.Start(o); err != nil {
		return err
	}
	d.closers = append(d.closers, d.bus.Close)
	d.service.UseBus(busDoor{d.bus})
	return nil
}

func (d *daemon) busOptions() (bus.Options, error) {
	c := d.cfg.Bus
	categories, err := registered()
	if err != nil {
		return bus.Options{}, err
	}
	o := bus.Options{Keys: d.ring, Directory: d.service.Current(), Clock: d.Clock, Log: d.Log.Named("bus"), Categories: categories,
		Replicas: c.Replicas, MaxAge: c.MaxAge, MaxPayload: c.MaxPayload, PublisherBytes: c.PublisherBytes,
		MailboxBytes: c.Mailbox.Bytes, MailboxMessages: c.Mailbox.Messages}
	if c.Mode == busExternal {
		o.URLs, o.SystemCredentials = c.URLs, c.SystemCredsFile
		if c.CAFile != "" {
			if o.CA, err = os.ReadFile(c.CAFile); err != nil {
				return bus.Options{}, fault.Wrap(err, fault.Usage, "no-file", opStart, "the file of bus.ca_file cannot be read")
			}
		}
		return o, nil
	}
	return o, d.embed(&o)
}

// embed completes the options for a server in this process. It shows the hub's own certificate, which nodes know by the
// directory's word, and which is for the hosts under which it is reached.
func (d *daemon) embed(o *bus.Options) error {
	listen := d.cfg.Listen.NATS
	if d.NATS != "" {
		listen = d.NATS
	}
	advertise, err := d.cfg.natsAddresses(listen)
	if err != nil {
		return err
	}
	for _, addr := range advertise {
		o.URLs = append(o.URLs, "tls://"+addr)
	}
	snapshot := d.service.Current().Load()
	id, err := authority.HubID(snapshot.NetworkName())
	if err != nil {
		return err
	}
	hosts := make([]string, 0, len(advertise))
	for _, addr := range advertise {
		host, _, _ := net.SplitHostPort(addr) // written by natsAddresses
		hosts = append(hosts, host)
	}
	var ca bytes.Buffer
	for _, der := range snapshot.Hub().Certificates {
		if err := pem.Encode(&ca, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return fault.Wrap(err, fault.Internal, "", opStart, "the hub's certificates cannot be written")
		}
	}
	o.CA = ca.Bytes()
	// The real clock: a NATS client compares with its machine's.
	o.Embedded = &bus.Embedded{Data: filepath.Join(d.cfg.Data, busFolder), Listen: listen, TLS: d.ring.HubSource(id, hosts, time.Now).OperatorTLS()}
	return nil
}

// natsAddresses are host:port under which nodes reach the embedded bus.
func (c Config) natsAddresses(listen string) ([]string, error) {
	if len(c.AdvertiseNATS) > 0 {
		for _, addr := range c.AdvertiseNATS {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				return nil, wrongKey("advertise_nats")
			}
		}
		return c.AdvertiseNATS, nil
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, wrongKey("listen.nats")
	}
	hosts, err := c.hosts()
	if err != nil {
		return nil, err
	}
	var all []string
	for _, host := range hosts {
		all = append(all, net.JoinHostPort(host, port))
	}
	return all, nil
}

// registered are the shipped categories, which hold where the directory registers none. PROTOCOL 4.18.
func registered() ([]authority.Category, error) {
	lists, err := message.LoadLists()
	if err != nil {
		return nil, err
	}
	var all []authority.Category
	for _, slug := range lists.Codes("crime-categories") {
		c, err := authority.ParseCategory(slug)
		if err != nil {
			return nil, err
		}
		if c != c.Group() {
			all = append(all, c)
		}
	}
	return all, nil
}

// busDoor is the bus as the registry's service wants it.
type busDoor struct{ bus *bus.Bus }

func (b busDoor) Access(ctx context.Context, node authority.Node, filters []string) (registry.BusAccess, error) {
	a, err := b.bus.Access(ctx, node, filters)
	return registry.BusAccess(a), err
}

// WriteBusFiles writes what an external NATS server for this hub's network needs into a folder, which is made if need
// be: see bus.External. No file that exists is overwritten (Conflict "exists"). It asks for the passphrase where the
// configuration says so; the hub may run meanwhile, unless its keyring is of an earlier version and has no accounts yet.
func WriteBusFiles(cfg Config, dir string, o Options) error {
	d := &daemon{Options: o, cfg: cfg}
	if err := d.openKeys(); err != nil {
		return err
	}
	if err := d.ring.CompleteHub(o.Clock()); err != nil {
		return err
	}
	genesis, err := readGenesis(cfg.Network.GenesisFile)
	if err != nil {
		return err
	}
	snapshot, err := directory.Apply(nil, genesis)
	if err != nil {
		return err
	}
	files, err := bus.External(bus.ExternalOptions{Keys: d.ring, Network: snapshot.NetworkName(), Listen: cfg.Listen.NATS, MaxPayload: cfg.Bus.MaxPayload})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(err, fault.Usage, "no-folder", "write bus files", "the folder cannot be made: "+dir)
	}
	for name, b := range files {
		if err := writeNew(filepath.Join(dir, name), b); err != nil {
			return err
		}
	}
	return nil
}
