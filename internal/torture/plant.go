package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/enlace-network/enlace/internal/fault"
)

// Plant is a bug to put into the daemons: in a source file, texts take the place of others.
type Plant struct {
	Name, Promise string
	// What is said of it to people.
	What  string
	File  string // in the module
	Edits []Edit
	// Favour are kinds of faults without which it does no harm.
	Favour []string
}

// Edit puts New in the place of Old, which must be in the file exactly once.
type Edit struct{ Old, New string }

// Plants are the ten, at least one for each promise at stake.
func Plants() []Plant {
	return []Plant{
		{
			Name: "unsynced", Promise: "P1", What: "a message is acknowledged before it is on stable storage",
			File: "internal/ledger/sqlite/conn.go", Favour: []string{faultPower},
			Edits: []Edit{{`"synchronous=FULL",`, `"synchronous=OFF",`}},
		},
		{
			Name: "repeat", Promise: "P2", What: "the inbox does not look whether a message came before",
			File: "internal/exchange/receive.go", Favour: []string{faultMute},
			Edits: []Edit{
				{"if r.Digest == env.Header.Digest {\n\t\treturn newest(r), nil", "if r.Digest == env.Header.Digest {\n\t\treturn nil, nil"},
				{"if r, err := tx.ReceiptFor(env.Header.Key()); err == nil {", "if r, err := tx.ReceiptFor(env.Header.Key()); err == nil && len(r.Received) == 0 {"},
			},
		},
		{
			Name: "new-receipt", Promise: "P2", What: "a repeat is answered with a receipt made anew",
			File: "internal/exchange/receive.go", Favour: []string{faultMute},
			Edits: []Edit{{
				"if r.Digest == env.Header.Digest {\n\t\treturn newest(r), nil",
				`if r.Digest == env.Header.Digest {
		var again []byte
		err := e.Ledger.Update(ctx, func(tx ledger.Tx) error {
			stage := message.Complete
			if len(env.Header.Attachments) > 0 && len(r.Complete) == 0 {
				stage = message.Received
			}
			var err error
			again, err = e.signReceipt(ctx, tx, env.Header, e.addressees(e.Directory.Load().At(e.Clock()), env.Header), stage, "")
			return err
		})
		return again, err`,
			}},
		},
		{
			Name: "unchecked-file", Promise: "P3", What: "COMPLETE is receipted without a look at the bytes of a file",
			File: "internal/exchange/attachment.go", Favour: []string{faultFlipFile},
			Edits: []Edit{{"if hash.Size() != row.SealedSize || hash.Root() != row.Root {", "if hash.Size() != row.SealedSize {"}},
		},
		{
			Name: "backwards", Promise: "P3", What: "a late receipt takes a request back that has been acknowledged",
			File: "internal/exchange/deliver.go", Favour: []string{faultMute},
			Edits: []Edit{{"if err != nil || (c.State != message.Queued && c.State != message.Undeliverable) {", "if err != nil {"}},
		},
		{
			Name: "no-index", Promise: "P8", What: "members are not sent the index of what was published, so what the bus loses is lost",
			File: "internal/broadcast/tell.go", Favour: []string{faultWipe, faultHub},
			Edits: []Edit{{"if err != nil || len(links) == 0 {", "if err != nil || len(links) >= 0 {"}},
		},
		{
			Name: "gives-up", Promise: "P10", What: "a message is given up after three attempts",
			File: "internal/exchange/deliver.go", Favour: []string{faultCut, faultStop},
			Edits: []Edit{{"d.e.Clock().After(env.Header.Expires.Add(message.UndeliverableAfter)):", "row.Attempts >= 3:"}},
		},
		{
			Name: "full-disk", Promise: "P12", What: "a full disk is not noticed, and what did not fit is acknowledged",
			File: "internal/ledger/sqlite/conn.go", Favour: []string{faultFull},
			Edits: []Edit{{"case errors.Is(err, sqlite3.FULL):\n", "case errors.Is(err, sqlite3.FULL) && err != nil:\n\t\treturn nil\n\tcase errors.Is(err, sqlite3.FULL):\n"}},
		},
		{
			Name: "wrong-offset", Promise: "P13", What: "a transfer that was cut goes on at the wrong place",
			File: "internal/exchange/deliver.go", Favour: []string{faultFlipFile, faultTrickle, faultCut},
			Edits: []Edit{{"at := there.Bytes\n", "at := there.Bytes\n\tif at > 0 {\n\t\tat--\n\t}\n"}},
		},
		{
			Name: "other-root", Promise: "P14", What: "checkpoints are signed over another tree than the stored one",
			File:  "internal/ledger/evidence.go",
			Edits: []Edit{{"Size: l.base.Size(), Root: l.base.Root()}", "Size: l.base.Size(), Root: l.head.Root()}"}},
		},
	}
}

// plantNamed finds one; "seed" is one chosen by the seed.
func plantNamed(name string, seed uint64) (Plant, error) {
	all := Plants()
	if name == "seed" {
		return all[seed%uint64(len(all))], nil
	}
	at := slices.IndexFunc(all, func(p Plant) bool { return p.Name == name })
	if at < 0 {
		return Plant{}, fault.New(fault.Usage, "no-plant", "plant", "there is no planted bug "+name).WithHint("--plants list")
	}
	return all[at], nil
}

// Mutated is the file's text with the bug in it. It fails where an old text is not there exactly once.
func (p Plant) Mutated(source string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(source, p.File))
	if err != nil {
		return nil, failed("plant "+p.Name, err)
	}
	text := string(b)
	for _, edit := range p.Edits {
		if n := strings.Count(text, edit.Old); n != 1 {
			return nil, failed("plant "+p.Name, fmt.Errorf("%q is %d times in %s", edit.Old, n, p.File))
		}
		text = strings.Replace(text, edit.Old, edit.New, 1)
	}
	return []byte(text), nil
}

// Build builds the torture program with the bug, into a folder, and returns its path. The source stays as it is.
func (p Plant) Build(ctx context.Context, source, dir string) (string, error) {
	mutated, err := p.Mutated(source)
	if err != nil {
		return "", err
	}
	file, overlay, program := filepath.Join(dir, "mutated.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "torture-"+p.Name)
	list, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(source, p.File): file}})
	if err != nil {
		return "", failed("plant "+p.Name, err)
	}
	if err := errors.Join(os.WriteFile(file, mutated, 0o600), os.WriteFile(overlay, list, 0o600)); err != nil {
		return "", failed("plant "+p.Name, err)
	}
	build := exec.CommandContext(ctx, "go", "-C", source, "build", "-overlay", overlay, "-o", program, "./tools/torture")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", failed("plant "+p.Name, fmt.Errorf("%w\n%s", err, out))
	}
	return program, nil
}
