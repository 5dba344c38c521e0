package node

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
	"go.uber.org/zap/zapcore"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/nudge"
	"github.com/enlace-network/enlace/internal/policy"
	"github.com/enlace-network/enlace/internal/registry"
)

// Config is node.yaml. Unknown keys are refused; a zero value takes the default named. Relative paths are relative to
// the file. Secrets come from files of their own, never from here.
type Config struct {
	Network struct {
		// Fingerprint is the network ID, 64 hexadecimal digits, as the Secretariat publishes it.
		Fingerprint string `yaml:"fingerprint"`
		// Hubs are host:port addresses of the directory hub.
		Hubs []string `yaml:"hubs"`
		// Head is a recently published head of the directory, "size root" with the root in base64: nothing is in force
		// before this node's own copy has come to it. Empty = none.
		Head string `yaml:"head"`
	} `yaml:"network"`
	// Node is this node's name, such as mx/node/primary.
	Node string `yaml:"node"`
	// Data is the directory of ledger, statements and attachments; default "data".
	Data string `yaml:"data"`
	// Profile is standard (default) or small-state.
	Profile string `yaml:"profile"`
	// Language of refusals: es, en (default), pt, fr.
	Language string `yaml:"language"`
	Peer     struct {
		// Listen is where other nodes reach this one; default :7443.
		Listen string `yaml:"listen"`
		// Advertise is the host:port declared in the directory; informative here.
		Advertise string `yaml:"advertise"`
		// OutboundOnly nodes open no door to peers.
		OutboundOnly bool `yaml:"outbound_only"`
	} `yaml:"peer"`
	Operator struct {
		// GRPC is the door to own people; default localhost:7444.
		GRPC string `yaml:"grpc"`
		// HTTP is the REST face; empty = none.
		HTTP string `yaml:"http"`
		// Hosts are the names and addresses in the door's certificate; default localhost and 127.0.0.1.
		Hosts []string `yaml:"hosts"`
		// CORS lists the origins whose pages may call the REST face.
		CORS []string `yaml:"cors"`
	} `yaml:"operator"`
	Keyring struct {
		// Backend is file (default).
		Backend string `yaml:"backend"`
		File    struct {
			// Path of the key file; default keys/keyring.age.
			Path string `yaml:"path"`
			// Unlock is prompt (default), file:PATH or systemd:NAME.
			Unlock string `yaml:"unlock"`
			// UnlockOnDataDisk allows an unlock file on the disk that it protects; doctor stays red.
			UnlockOnDataDisk bool `yaml:"unlock_on_data_disk"`
		} `yaml:"file"`
	} `yaml:"keyring"`
	Ledger struct {
		// Backend is sqlite (default), a file in DATA, or postgres: a database, on which further processes with the same
		// keyring and this configuration wait as hot standbys. Each has a DATA of its own; Attachments.Dir is one that all
		// of them reach.
		Backend  string `yaml:"backend"`
		Postgres struct {
			// DSNFile holds the connection string, such as "host=db.example user=enlace dbname=enlace sslmode=verify-full".
			DSNFile string `yaml:"dsn_file"`
		} `yaml:"postgres"`
	} `yaml:"ledger"`
	Attachments struct {
		// Dir holds the sealed attachments; default DATA/attachments.
		Dir string `yaml:"dir"`
		// PeerQuota is how many bytes one state may have announced and not yet sent; default 64 GiB.
		PeerQuota uint64 `yaml:"peer_quota"`
	} `yaml:"attachments"`
	Policy struct {
		// Dir holds Cedar files; empty = the built-in set.
		Dir string `yaml:"dir"`
		// FourEyes is two-person (default) or single.
		FourEyes string `yaml:"four_eyes"`
	} `yaml:"policy"`
	// Notify says whom to nudge, by mail or webhook, when something immediate waits; empty = nobody.
	Notify  nudge.Config `yaml:"notify"`
	Observe struct {
		// LogLevel is debug, info (default), warn or error.
		LogLevel string `yaml:"log_level"`
	} `yaml:"observe"`

	// dir is the folder of the file, which relative paths are relative to.
	dir string
}

// single is the value of policy.four_eyes that lets one person send (domain.md 12): logged, and marked for the receiver.
const single = "single"

// smallState is the value of profile for a node behind a line of some 64 kbit/s.
const smallState = "small-state"

// LoadConfig reads and checks node.yaml. Kind Usage naming file, line and key where something is wrong.
func LoadConfig(path string) (Config, error) {
	const op = "read configuration"
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fault.Wrap(err, fault.Usage, "", op, "the file cannot be read: "+path)
	}
	var c Config
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&c); err != nil {
		return Config{}, fault.Wrap(err, fault.Usage, "bad-configuration", op, path+": "+yaml.FormatError(err, false, false))
	}
	c.fill(filepath.Dir(path))
	if _, err := c.parse(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// fill puts in defaults and makes paths absolute to the file's directory.
func (c *Config) fill(dir string) {
	c.dir = dir
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&c.Data, "data")
	set(&c.Profile, "standard")
	set(&c.Language, "en")
	set(&c.Peer.Listen, ":7443")
	set(&c.Operator.GRPC, "localhost:7444")
	set(&c.Keyring.Backend, "file")
	set(&c.Keyring.File.Path, filepath.Join("keys", "keyring.age"))
	set(&c.Keyring.File.Unlock, "prompt")
	set(&c.Ledger.Backend, inFile)
	set(&c.Policy.FourEyes, policy.TwoPerson.String())
	set(&c.Observe.LogLevel, "info")
	if len(c.Operator.Hosts) == 0 {
		c.Operator.Hosts = []string{"localhost", "127.0.0.1"}
	}
	set(&c.Attachments.Dir, filepath.Join(c.Data, "attachments"))
	for _, p := range []*string{&c.Data, &c.Keyring.File.Path, &c.Attachments.Dir, &c.Policy.Dir, &c.Ledger.Postgres.DSNFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// parsed is the configuration in typed form.
type parsed struct {
	node     authority.Node
	language authority.Language
	mode     policy.Mode
	fourEyes bool
	level    zapcore.Level
}

// parse checks every value, naming the key that is wrong.
func (c Config) parse() (parsed, error) {
	var p parsed
	var err error
	if p.node, err = authority.ParseNode(c.Node); err != nil {
		return p, wrongKey("node", err)
	}
	if p.language, err = authority.ParseLanguage(c.Language); err != nil {
		return p, wrongKey("language", err)
	}
	p.fourEyes = c.Policy.FourEyes != single
	if p.fourEyes {
		if p.mode, err = policy.ParseMode(c.Policy.FourEyes); err != nil {
			return p, wrongKey("policy.four_eyes", err)
		}
		if p.mode != policy.TwoPerson {
			return p, unbuiltMode(p.mode)
		}
	}
	if p.level, err = zapcore.ParseLevel(c.Observe.LogLevel); err != nil {
		return p, wrongKey("observe.log_level", err)
	}
	if err := registry.CheckAnchor(c.Network.Head); err != nil {
		return p, wrongKey("network.head", err)
	}
	for key, ok := range map[string]bool{
		"network.fingerprint": len(c.Network.Fingerprint) == 64, "network.hubs": len(c.Network.Hubs) > 0,
		"profile": c.Profile == "standard" || c.Profile == smallState, "keyring.backend": c.Keyring.Backend == "file",
		"ledger.backend":           c.Ledger.Backend == inFile || c.Ledger.Backend == onServer,
		"ledger.postgres.dsn_file": (c.Ledger.Backend == onServer) == (c.Ledger.Postgres.DSNFile != ""),
	} {
		if !ok {
			return p, wrongKey(key, nil)
		}
	}
	return p, nil
}

// unbuiltMode refuses what the rules know and the case work does not: under same-state the other authority could not
// open the case, under retrospective nobody would hold the author to the approval that is due. A node that started
// would promise a second person who never comes.
func unbuiltMode(m policy.Mode) error {
	return fault.New(fault.Usage, "bad-configuration", "read configuration", "policy.four_eyes: "+m.String()+" is not supported by this version").
		WithHint("set it to two-person, or to single, which receivers see")
}

func wrongKey(key string, cause error) error {
	return fault.Wrap(cause, fault.Usage, "bad-configuration", "read configuration", "the value of "+key+" is missing or not one this version knows")
}
