package hub_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/hub"
)

func TestSampleConfig(t *testing.T) {
	c, err := hub.LoadConfig(filepath.Join("..", "..", "deploy", "directory.yaml"))
	must(t, err)
	if got, want := c.Advertise, "hub.enlace.example:7440"; len(got) != 1 || got[0] != want {
		t.Errorf("advertise = %v, want %s", got, want)
	}
	if c.Keyring.File.Unlock != "systemd:enlace-hub" || c.Listen.GRPC != ":7440" {
		t.Errorf("the sample reads as %+v", c)
	}
	// The sample says what the defaults are.
	plain, err := hub.LoadConfig(write(t, t.TempDir(), ""))
	must(t, err)
	c.Bus.URLs = nil
	if !reflect.DeepEqual(c.Bus, plain.Bus) || c.Listen.NATS != plain.Listen.NATS {
		t.Errorf("the sample's bus reads as %+v, the default is %+v", c.Bus, plain.Bus)
	}
}

func TestZeroValuesWork(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"", "# nothing\n", "data:\n"} {
		c, err := hub.LoadConfig(write(t, dir, text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if c.Data != filepath.Join(dir, "data") || c.Network.GenesisFile != filepath.Join(dir, "genesis.statement") || c.Listen.GRPC != ":7440" {
			t.Errorf("%q: defaults %+v", text, c)
		}
	}
}

// TestConfigRefusals: the message names the file, and the line and the key, or the key.
func TestConfigRefusals(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown key", "data: x\nlisten:\n  grpc: :1\n  gprc: :2\n", `[4:3] unknown field "gprc"`},
		{"unknown section", "datta: x\n", `[1:1] unknown field "datta"`},
		{"wrong type", "data: [1]\n", "[1:7]"},
		{"key twice", "data: x\ndata: y\n", "[2:1]"},
		{"no yaml", "data: {\n", "directory.yaml"},
		{"level", "observe:\n  log_level: loud\n", "observe.log_level"},
		{"backend", "keyring:\n  backend: vault\n", "keyring.backend"},
		{"listen", "listen:\n  grpc: here\n", "listen.grpc"},
		{"advertise", "advertise: [here]\n", "advertise"},
		{"nats", "listen:\n  nats: here\n", "listen.nats"},
		{"advertise nats", "advertise_nats: [here]\n", "advertise_nats"},
		{"https", "listen:\n  https: here\n", "listen.https"},
		{"witness key", "witnesses:\n  - key: name+00000000+AAAA\n    url: https://w.example\n", "witnesses.key"},
		{"witness url", "witnesses:\n  - key: remote.example.com/n1+e9b8b5cd+AQ==\n    url: w\n", "witnesses"},
		{"bus mode", "bus:\n  mode: loud\n", "bus.mode"},
		{"external without urls", "bus:\n  mode: external\n", "bus.urls"},
		{"urls without external", "bus:\n  urls: [\"tls://a:1\"]\n", "bus.urls"},
		{"no such scheme", "bus:\n  mode: external\n  urls: [\"http://a:1\"]\n", "bus.urls"},
		{"replicas embedded", "bus:\n  replicas: 3\n", "bus.replicas"},
		{"age", "bus:\n  max_age: 1s\n", "bus.max_age"},
		{"payload", "bus:\n  max_payload: 1\n", "bus.max_payload"},
		{"bytes", "bus:\n  publisher_bytes: 1\n", "bus.publisher_bytes"},
		{"mailbox bytes", "bus:\n  mailbox:\n    bytes: 1\n", "bus.mailbox.bytes"},
		{"mailbox messages", "bus:\n  mailbox:\n    messages: -1\n", "bus.mailbox.messages"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := hub.LoadConfig(write(t, t.TempDir(), test.text))
			if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want a usage error with %q", err, test.want)
			}
		})
	}
	if _, err := hub.LoadConfig(filepath.Join(t.TempDir(), "none.yaml")); !fault.Is(err, fault.Usage) {
		t.Errorf("no file: %v, want a usage error", err)
	}
}

func FuzzConfig(f *testing.F) {
	sample, err := os.ReadFile(filepath.Join("..", "..", "deploy", "directory.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(sample))
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := hub.LoadConfig(write(t, t.TempDir(), text)); err == nil && !filepath.IsAbs(c.Data) {
			t.Errorf("data %q is not absolute", c.Data)
		}
	})
}

func write(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "directory.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
