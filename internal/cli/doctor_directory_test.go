package cli

import (
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/doctor"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// TestDiagnoseDirectory: what is wrong with the directory is named, each with what to do. PROTOCOL 4.9, 4.20, 4.21, 11.9.
func TestDiagnoseDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		found []doctor.Finding
		state doctor.State
		words string
	}{
		"recovery": {diagnoseRecovery(&operatorv1.StateInfo{Name: "mx", Recovery: "held"}), doctor.Failing, "enlace state veto mx"},
		"vetoed":   {diagnoseRecovery(&operatorv1.StateInfo{Name: "mx", Recovery: "vetoed"}), doctor.Warning, "enlace state settle mx"},
		"split":    {diagnoseDirectory(&operatorv1.GetDirectoryStatusResponse{Proofs: []*operatorv1.ProofInfo{{Kind: "split"}}}), doctor.Failing, "two histories"},
		"omitted":  {diagnoseDirectory(&operatorv1.GetDirectoryStatusResponse{Omitted: []*operatorv1.OmittedInfo{{Kind: "revoke", Subject: "mx"}}}), doctor.Failing, "has not logged"},
		"rules":    {diagnoseDirectory(&operatorv1.GetDirectoryStatusResponse{Halted: "newer-rules"}), doctor.Failing, "newer program"},
		"stale":    {diagnoseStale("mx", &operatorv1.ListEntriesResponse{Authorities: []*operatorv1.AuthorityInfo{{Name: "mx/fgr"}}}), doctor.Warning, "enlace authority confirm mx"},
	} {
		if len(c.found) != 1 || c.found[0].State != c.state || c.found[0].Code == "" || !strings.Contains(c.found[0].Found+c.found[0].Do, c.words) {
			t.Errorf("%s: %+v", name, c.found)
		}
	}
	if found := append(diagnoseRecovery(&operatorv1.StateInfo{Name: "mx"}), diagnoseDirectory(&operatorv1.GetDirectoryStatusResponse{})...); len(found) != 0 {
		t.Errorf("nothing is wrong, and %+v is found", found)
	}
}

// TestWordsOfNetwork: the words of a fingerprint stand wherever the fingerprint stands, and are taken in its place.
func TestWordsOfNetwork(t *testing.T) {
	o := newOffice(t)
	said := strings.TrimSpace(o.run("network", "fingerprint", "hub/genesis.statement", "--words", "--lang", "fr"))
	if n := len(strings.Fields(said)); n != 24 {
		t.Fatalf("%d words: %s", n, said)
	}
	o.run("network", "show", "--hub", o.hub, "--network", said)
	words := strings.Fields(said)
	words[6] = "xylophone"
	if _, errs, code := o.try("network", "show", "--hub", o.hub, "--network", strings.Join(words, " ")); code != 2 || !strings.Contains(errs, `word 7, "xylophone"`) {
		t.Errorf("a misheard word: exit code %d, %s", code, errs)
	}
	if _, errs, _ := o.try("network", "fingerprint", "hub/genesis.statement", "--words", "--lang", "pt"); !strings.Contains(errs, "no list of words") {
		t.Errorf("of Portuguese nothing is said: %q", errs)
	}
}

// TestSubmitVia: with a log at hand a restriction goes to a node. PROTOCOL 10.10.
func TestSubmitVia(t *testing.T) {
	o := newOffice(t)
	o.join("mx")
	d := o.startNode("mx/node.yaml")
	o.run(o.as("ana.key", "directory", "log", "--out", "log")...)
	o.run("authority", "retire", "mx/fgr", "--reason", "merged", "--key", "mx/mx.state-key", "--passphrase-file", "pass", "--yes", "--log", "log", "--out", "retire.statements")
	out := o.run("statement", "submit", "retire.statements", "--via", d.Node.String(), "--log", "log", "--key", "mx/mx.state-key", "--passphrase-file", "pass")
	if !strings.Contains(out, "retire mx/fgr") {
		t.Errorf("it says %s", out)
	}
	if _, errs, code := o.try("statement", "submit", "retire.statements", "--via", "jm/node/primary", "--log", "log", "--key", "mx/mx.state-key", "--passphrase-file", "pass"); code != 4 {
		t.Errorf("an unknown node: %d, %s", code, errs)
	}
}
