package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/enlace-network/enlace/internal/fault"
)

// configText is node.yaml as Init writes it: every key a person may want to change, with what it means.
const configText = `# Configuration of an Enlace node. Paths are relative to this file. Unknown keys are refused.
# Secrets are in files of their own, never here.

network:
  # The network's ID, as the Secretariat publishes it: compare it once, by another road than this computer.
  fingerprint: {{.Fingerprint | quote}}
  # Addresses of the directory hub.
  hubs: {{.Hubs | quote}}
{{- with .Head}}
  # A head of the log that was published when this was written: a history without it is refused.
  head: {{. | quote}}
{{- end}}

# The name of this node.
node: {{.Node.String | quote}}

# Ledger, directory and attachments.
data: data
{{with .Profile}}
# standard, or small-state for a thin and slow link.
profile: {{. | quote}}
{{end -}}
{{with .Language}}
# Language of refusals: es, en, pt or fr.
language: {{. | quote}}
{{end}}
peer:
  # The door to other nodes.
{{- with .Listen}}
  listen: {{. | quote}}
{{- end}}
{{- if .Advertise}}
  # Where they reach it; it changes together with the directory entry.
  advertise: {{.Advertise | quote}}
{{- else}}
  outbound_only: true
{{- end}}

operator:
  # The door to your own people and systems: gRPC, and REST where http is set.
  grpc: {{or .OperatorGRPC "localhost:7444" | quote}}
{{- with .OperatorHTTP}}
  http: {{. | quote}}
{{- end}}
{{- with .OperatorHosts}}
  # The names by which they call it.
  hosts: {{. | quote}}
{{- end}}

keyring:
  backend: file
  file:
    path: keys/keyring.age
    # prompt, systemd:NAME or file:PATH. Keep an unlock file off the disk of the data.
    unlock: {{.Unlock.Setting | quote}}
{{- if .Unlock.OnDataDisk}}
    # Whoever takes the disk can open the keys: doctor stays red.
    unlock_on_data_disk: true
{{- end}}

ledger:
  # sqlite: a file. postgres: a database on which hot standbys wait, with the connection string in a file:
  # postgres: {dsn_file: postgres.dsn}
  backend: sqlite

policy:
  # two-person: a second person approves what leaves; single: nobody does, and the receiver sees it.
  four_eyes: {{or .FourEyes "two-person" | quote}}

observe:
  # debug, info, warn or error.
  log_level: info
`

// writeConfig writes node.yaml and reads it back: nobody is told of a node that does not start.
func (s *setting) writeConfig() error {
	if s.Unlock.File != "" {
		path, err := filepath.Abs(s.Unlock.File)
		if err != nil {
			return fault.Wrap(err, fault.Usage, "no-folder", opInit, "the unlock file has no place")
		}
		s.Unlock.Setting = "file:" + path
	}
	t, err := template.New(configFile).Funcs(template.FuncMap{"quote": quote}).Parse(configText)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, s); err != nil {
		return fault.Wrap(err, fault.Internal, "", opInit, "the configuration cannot be written")
	}
	unfinished := s.path(configFile + ".new")
	if err := s.put(unfinished, text.Bytes(), 0o600); err != nil {
		return err
	}
	if _, err := LoadConfig(unfinished); err != nil {
		return err
	}
	s.result.Config = s.path(configFile)
	if err := os.Rename(unfinished, s.result.Config); err != nil { // commit
		return fault.Wrap(err, fault.Internal, "", opInit, "the configuration cannot be written")
	}
	s.made = append(s.made, s.result.Config)
	return syncFolder(s.Dir)
}

// quote writes a text, or a list of them, as JSON, which YAML reads.
func quote(v any) (string, error) {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSpace(out.String()), err
}

// writeNew makes a file that must not exist; on stable storage on return.
func writeNew(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return fault.Wrap(err, fault.Conflict, "exists", opInit, "there is a file of that name already: "+path)
	}
	if err == nil {
		_, err = f.Write(b)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opInit, "the file cannot be written: "+path)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opInit, "the folder cannot be synced")
	}
	return nil
}
