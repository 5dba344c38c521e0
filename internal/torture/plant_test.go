package torture

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPlants: the text of each planted bug is in today's source once, and the daemons compile with it. All are compiled
// together where they are in different files or places.
func TestPlants(t *testing.T) {
	folder, err := source(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(Plants()); n != 10 {
		t.Errorf("there are %d planted bugs, want 10", n)
	}
	names, promises := map[string]bool{}, map[string]bool{}
	for _, p := range Plants() {
		names[p.Name], promises[p.Promise] = true, true
		mutated, err := p.Mutated(folder)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		compiles(t, folder, p, mutated)
	}
	if len(names) != 10 {
		t.Error("two planted bugs have one name")
	}
	for _, promise := range []string{"P1", "P2", "P3", "P8", "P10", "P12", "P13", "P14"} {
		if !promises[promise] {
			t.Errorf("no planted bug breaks %s", promise)
		}
	}
}

// compiles builds the one package with the bug in it.
func compiles(t *testing.T, folder string, p Plant, mutated []byte) {
	t.Helper()
	dir := t.TempDir()
	list, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(folder, p.File): filepath.Join(dir, "mutated.go")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"mutated.go": mutated, "overlay.json": list} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "-C", folder, "build", "-overlay", filepath.Join(dir, "overlay.json"), "./"+filepath.Dir(p.File))
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", p.Name, err, out)
	}
}
