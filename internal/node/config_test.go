package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/node"
)

// TestSampleLoads: the sample in deploy is a working file, and shows the defaults.
func TestSampleLoads(t *testing.T) {
	c, err := node.LoadConfig("../../deploy/node.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.Policy.FourEyes != "two-person" || c.Peer.Listen != ":7443" || !filepath.IsAbs(c.Data) && !strings.HasPrefix(c.Data, "../../deploy") {
		t.Errorf("sample read as %+v", c)
	}
}

func TestSmallestConfiguration(t *testing.T) {
	c, err := load(t, smallest)
	if err != nil {
		t.Fatal(err)
	}
	if c.Operator.GRPC != "localhost:7444" || c.Keyring.File.Unlock != "prompt" || c.Observe.LogLevel != "info" {
		t.Errorf("defaults are %+v", c)
	}
}

func TestOnePersonIsAChoice(t *testing.T) {
	c, err := load(t, smallest+"policy:\n  four_eyes: single\n")
	if err != nil || c.Policy.FourEyes != "single" {
		t.Errorf("got %q, %v, want single", c.Policy.FourEyes, err)
	}
}

func TestPublishedHead(t *testing.T) {
	const head = "12 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	c, err := load(t, strings.Replace(smallest, "node:", "  head: \""+head+"\"\nnode:", 1))
	if err != nil || c.Network.Head != head {
		t.Errorf("got %q, %v, want the head", c.Network.Head, err)
	}
}

func TestLedgerOnServer(t *testing.T) {
	c, err := load(t, smallest+"ledger:\n  backend: postgres\n  postgres:\n    dsn_file: postgres.dsn\n")
	if err != nil || !filepath.IsAbs(c.Ledger.Postgres.DSNFile) {
		t.Errorf("got %+v, %v, want the file beside the configuration", c.Ledger, err)
	}
	for _, text := range []string{
		"ledger:\n  backend: postgres\n", "ledger:\n  postgres:\n    dsn_file: postgres.dsn\n", "ledger:\n  backend: oracle\n",
	} {
		if _, err := load(t, smallest+text); fault.CodeOf(err) != "bad-configuration" {
			t.Errorf("%q is taken: %v", text, err)
		}
	}
}

const smallest = "network:\n  fingerprint: \"" + zeros + "\"\n  hubs: [\"localhost:1\"]\nnode: mx/node/primary\n"

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func load(t *testing.T, text string) (node.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return node.LoadConfig(path)
}

// TestConfigurationRefused: each mistake is named, and nothing starts.
func TestConfigurationRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, names string }{
		"unknown key":     {smallest + "pear:\n  listen: x\n", "pear"},
		"unknown sub key": {smallest + "peer:\n  lissen: x\n", "lissen"},
		"no fingerprint":  {"node: mx/node/primary\nnetwork:\n  hubs: [\"a:1\"]\n", "network.fingerprint"},
		"bad head":        {strings.Replace(smallest, "node:", "  head: \"12 xyz\"\nnode:", 1), "network.head"},
		"no hub":          {"node: mx/node/primary\nnetwork:\n  fingerprint: \"" + zeros + "\"\n", "network.hubs"},
		"bad node":        {strings.Replace(smallest, "mx/node/primary", "MX", 1), "node"},
		"bad level":       {smallest + "observe:\n  log_level: loud\n", "observe.log_level"},
		"bad mode":        {smallest + "policy:\n  four_eyes: none\n", "policy.four_eyes"},
		"same state":      {smallest + "policy:\n  four_eyes: same-state\n", "same-state is not supported"},
		"retrospective":   {smallest + "policy:\n  four_eyes: retrospective\n", "retrospective is not supported"},
		"not yaml":        {"node: [", "node.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.text)
			if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), c.names) {
				t.Errorf("got %v, want a usage error that names %s", err, c.names)
			}
		})
	}
}
