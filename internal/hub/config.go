package hub

import (
	"bytes"
	"net"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
	"go.uber.org/zap/zapcore"

	"github.com/enlace-network/enlace/internal/fault"
)

// Config is directory.yaml. Unknown keys are refused; a zero value takes the default named. Relative paths are relative
// to the file. Secrets come from files of their own, never from here.
type Config struct {
	Network struct {
		// GenesisFile holds the signed genesis, as Install writes it; default genesis.statement.
		GenesisFile string `yaml:"genesis_file"`
	} `yaml:"network"`
	// Data is the folder of log and contact cards; default "data".
	Data   string `yaml:"data"`
	Listen struct {
		// GRPC is where nodes and key holders reach the directory; default :7440.
		GRPC string `yaml:"grpc"`
		// HTTPS is where anyone reads the log as tiles; empty: they are not served.
		HTTPS string `yaml:"https"`
		// NATS is where nodes reach the embedded bus; default :4222. Port 0 is any free one: nodes are told which.
		NATS string `yaml:"nats"`
	} `yaml:"listen"`
	Log struct {
		// Tiles is the folder of the log's tiles; default "tiles" in the data folder. It is made anew where it is missing.
		Tiles string `yaml:"tiles"`
	} `yaml:"log"`
	// Witnesses are third parties that are asked to cosign heads too. They have no vote.
	Witnesses []WitnessConfig `yaml:"witnesses"`
	// Advertise are host:port under which the genesis names this hub; their hosts stand in its certificate.
	Advertise []string `yaml:"advertise"`
	// AdvertiseNATS are host:port of the embedded bus; default the hosts of Advertise with the port of listen.nats.
	AdvertiseNATS []string  `yaml:"advertise_nats"`
	Bus           BusConfig `yaml:"bus"`
	Keyring       struct {
		// Backend is file (default).
		Backend string `yaml:"backend"`
		File    struct {
			// Path of the key file; default keys/keyring.age.
			Path string `yaml:"path"`
			// Unlock is prompt (default), file:PATH or systemd:NAME.
			Unlock string `yaml:"unlock"`
			// UnlockOnDataDisk allows an unlock file on the disk that it protects.
			UnlockOnDataDisk bool `yaml:"unlock_on_data_disk"`
		} `yaml:"file"`
	} `yaml:"keyring"`
	Observe struct {
		// LogLevel is debug, info (default), warn or error.
		LogLevel string `yaml:"log_level"`
	} `yaml:"observe"`
}

const (
	opConfig    = "read configuration"
	maxConfig   = 1 << 20
	configFile  = "directory.yaml"
	genesisFile = "genesis.statement"
	draftFile   = "genesis.draft"
	dataFolder  = "data"
	tilesFolder = "tiles"
	keysFolder  = "keys"
	keysFile    = "keyring.age"
	defaultNATS = ":4222"
)

// LoadConfig reads and checks directory.yaml. Errors: Usage "bad-configuration" naming file, line and key.
func LoadConfig(path string) (Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fault.Wrap(err, fault.Usage, "no-configuration", opConfig, "the file cannot be read: "+path)
	}
	c, err := parseConfig(path, b)
	if err != nil {
		return Config{}, err
	}
	return c, c.check()
}

// parseConfig reads the text of a file at path, whose folder relative paths start from.
func parseConfig(path string, b []byte) (Config, error) {
	if len(b) > maxConfig {
		return Config{}, fault.New(fault.Usage, "bad-configuration", opConfig, "the file is too large to be a configuration: "+path)
	}
	var c Config
	// An empty file is a configuration: zero values work. The decoder calls it an unexpected end.
	if len(bytes.TrimSpace(b)) > 0 {
		if err := yaml.UnmarshalWithOptions(b, &c, yaml.Strict()); err != nil {
			return Config{}, fault.New(fault.Usage, "bad-configuration", opConfig, path+": "+yaml.FormatError(err, false, true))
		}
	}
	c.fill(filepath.Dir(path))
	return c, nil
}

func (c *Config) fill(dir string) {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&c.Network.GenesisFile, genesisFile)
	set(&c.Data, dataFolder)
	set(&c.Listen.GRPC, ":7440")
	set(&c.Listen.NATS, defaultNATS)
	set(&c.Keyring.Backend, "file")
	set(&c.Keyring.File.Path, filepath.Join(keysFolder, keysFile))
	set(&c.Keyring.File.Unlock, "prompt")
	set(&c.Observe.LogLevel, "info")
	c.Bus.fill(dir)
	set(&c.Log.Tiles, filepath.Join(c.Data, tilesFolder))
	for _, p := range []*string{&c.Network.GenesisFile, &c.Data, &c.Log.Tiles, &c.Keyring.File.Path} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

func (c Config) check() error {
	if _, err := zapcore.ParseLevel(c.Observe.LogLevel); err != nil {
		return wrongKey("observe.log_level")
	}
	if c.Keyring.Backend != "file" {
		return wrongKey("keyring.backend")
	}
	if _, _, err := net.SplitHostPort(c.Listen.GRPC); err != nil {
		return wrongKey("listen.grpc")
	}
	if _, _, err := net.SplitHostPort(c.Listen.HTTPS); c.Listen.HTTPS != "" && err != nil {
		return wrongKey("listen.https")
	}
	if _, err := c.parties(); err != nil {
		return err
	}
	if _, err := c.hosts(); err != nil {
		return err
	}
	if _, err := c.natsAddresses(c.Listen.NATS); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(c.Listen.NATS); err != nil {
		return wrongKey("listen.nats")
	}
	return c.Bus.check()
}

// hosts are the names by which the hub is called.
func (c Config) hosts() ([]string, error) {
	var hosts []string
	for _, addr := range c.Advertise {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, wrongKey("advertise")
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}

func wrongKey(key string) error {
	return fault.New(fault.Usage, "bad-configuration", opConfig, "the value of "+key+" is not one this version knows").
		WithHint("see deploy/directory.yaml")
}
