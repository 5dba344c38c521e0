package enlace_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

const module = "github.com/enlace-network/enlace"

var printImports = flag.Bool("print-imports", false, "print the import table as the code has it")

// TestImports holds the imports of every package against the table in
// ARCHITECTURE.md: what a room may import is written there, by name, and what
// is written there is used.
func TestImports(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	table, faults := parseTable(string(text))
	packages := ourPackages(t)
	if *printImports {
		fmt.Print(render(table, packages))
		return
	}
	faults = append(faults, checkTable(table, packages)...)
	for _, fault := range faults {
		t.Error(fault)
	}
	if len(faults) > 0 {
		t.Logf("the table as the code has it, to paste once it is right:\n%s", render(table, packages))
	}
}

// A row is what one room may import, or does import. Room is the package's path
// without module and "internal/"; ours are such paths, theirs are module paths.
type row struct {
	room         string
	floor        int
	ours, theirs []string
}

func (r row) String() string {
	cells := func(names []string) string {
		if len(names) == 0 {
			return "–"
		}
		return "`" + strings.Join(names, "`, `") + "`"
	}
	floor := "?"
	if r.floor > 0 {
		floor = strconv.Itoa(r.floor)
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |", r.room, floor, cells(r.ours), cells(r.theirs))
}

// parseTable reads the rows between the two markers, and says what it cannot read.
func parseTable(text string) ([]row, []string) {
	_, rest, begins := strings.Cut(text, "<!-- imports:begin -->")
	inside, _, ends := strings.Cut(rest, "<!-- imports:end -->")
	if !begins || !ends {
		return nil, []string{"ARCHITECTURE.md lacks the markers imports:begin and imports:end"}
	}
	var rows []row
	var faults []string
	for line := range strings.Lines(inside) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "| room") || strings.HasPrefix(line, "| ---") {
			continue
		}
		r, err := parseRow(line)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		if slices.ContainsFunc(rows, func(other row) bool { return other.room == r.room }) {
			faults = append(faults, r.room+" has two rows")
		}
		rows = append(rows, r)
	}
	return rows, faults
}

func parseRow(line string) (row, error) {
	cells := strings.Split(strings.Trim(line, "|"), "|")
	if len(cells) != 4 {
		return row{}, fmt.Errorf("%q has %d cells, want 4", line, len(cells))
	}
	floor, err := strconv.Atoi(strings.TrimSpace(cells[1]))
	if err != nil || floor < 1 {
		return row{}, fmt.Errorf("%q: the floor is not a number from 1", line)
	}
	r := row{room: strings.Trim(cells[0], " `"), floor: floor}
	if r.ours, err = parseCell(cells[2]); err != nil {
		return row{}, fmt.Errorf("%s: %w", r.room, err)
	}
	if r.theirs, err = parseCell(cells[3]); err != nil {
		return row{}, fmt.Errorf("%s: %w", r.room, err)
	}
	return r, nil
}

func parseCell(cell string) ([]string, error) {
	var names []string
	for name := range strings.SplitSeq(cell, ",") {
		name = strings.Trim(name, " `")
		if name == "" || name == "–" || name == "-" {
			continue
		}
		if strings.ContainsAny(name, "*… ") || strings.Contains(name, "...") {
			return nil, fmt.Errorf("%q is not the name of one package or module", name)
		}
		names = append(names, name)
	}
	return names, nil
}

// checkTable compares what the table allows with what the packages import.
func checkTable(table, packages []row) []string {
	allowed := byRoom(table)
	actual := byRoom(packages)
	var faults []string
	for _, p := range packages {
		may, ok := allowed[p.room]
		if !ok {
			faults = append(faults, p.room+" is not in the table")
			continue
		}
		faults = append(faults, compare(p.room, p.ours, may.ours)...)
		faults = append(faults, compare(p.room, p.theirs, may.theirs)...)
		for _, name := range p.ours {
			if lower, ok := allowed[name]; ok && lower.floor > may.floor {
				faults = append(faults, fmt.Sprintf("%s on floor %d imports %s above it, on floor %d", p.room, may.floor, name, lower.floor))
			}
		}
	}
	for _, r := range table {
		if _, ok := actual[r.room]; !ok {
			faults = append(faults, r.room+" is in the table but is no package")
		}
		for _, name := range r.ours {
			if _, ok := actual[name]; !ok && !generated(name) {
				faults = append(faults, fmt.Sprintf("%s may import %s, which is no package", r.room, name))
			}
		}
	}
	return faults
}

func compare(room string, actual, allowed []string) []string {
	var faults []string
	for _, name := range actual {
		if !slices.Contains(allowed, name) {
			faults = append(faults, fmt.Sprintf("%s imports %s, which the table does not allow", room, name))
		}
	}
	for _, name := range allowed {
		if !slices.Contains(actual, name) {
			faults = append(faults, fmt.Sprintf("%s may import %s by the table, but does not", room, name))
		}
	}
	return faults
}

func byRoom(rows []row) map[string]row {
	rooms := make(map[string]row, len(rows))
	for _, r := range rows {
		rooms[r.room] = r
	}
	return rooms
}

// render prints the packages as a table, on the floors that table gives them.
func render(table, packages []row) string {
	floors := byRoom(table)
	rows := slices.Clone(packages)
	for i := range rows {
		rows[i].floor = floors[rows[i].room].floor
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		if a.floor != b.floor {
			return a.floor - b.floor
		}
		return strings.Compare(a.room, b.room)
	})
	var text strings.Builder
	fmt.Fprintln(&text, "| room | floor | may import (ours) | may import (third party) |")
	fmt.Fprintln(&text, "| --- | --- | --- | --- |")
	for _, r := range rows {
		fmt.Fprintln(&text, r)
	}
	return text.String()
}

// ourPackages returns every package with code that is not a test, but generated
// ones and tools, each with what it imports on any platform.
func ourPackages(t *testing.T) []row {
	t.Helper()
	modules := required(t)
	var rows []row
	for _, p := range list(t) {
		if generated(p.room()) || strings.HasPrefix(p.room(), "tools/") || len(p.files()) == 0 {
			continue
		}
		r := row{room: p.room()}
		for _, path := range p.imports(t) {
			switch name, kind := classify(path, modules); kind {
			case ours:
				r.ours = append(r.ours, name)
			case theirs:
				r.theirs = append(r.theirs, name)
			case unknown:
				t.Errorf("%s imports %s, which no requirement in go.mod provides", r.room, path)
			}
		}
		r.ours, r.theirs = unique(r.ours), unique(r.theirs)
		rows = append(rows, r)
	}
	return rows
}

// A pkg is what the go command says of one package.
type pkg struct {
	Dir, ImportPath   string
	GoFiles, CgoFiles []string
	IgnoredGoFiles    []string
}

func (p pkg) room() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module+"/"), "internal/")
}

// files returns the paths of all files that are not tests, those for other platforms too.
func (p pkg) files() []string {
	var paths []string
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) {
		if !strings.HasSuffix(name, "_test.go") {
			paths = append(paths, filepath.Join(p.Dir, name))
		}
	}
	return paths
}

func (p pkg) imports(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, file := range p.files() {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
	}
	return unique(paths)
}

func list(t *testing.T) []pkg {
	t.Helper()
	var stderr bytes.Buffer
	command := exec.Command("go", "list", "-json=Dir,ImportPath,GoFiles,CgoFiles,IgnoredGoFiles", "./...")
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var p pkg
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	return packages
}

// required returns the paths of all modules that go.mod requires.
func required(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.ParseLax("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, requirement := range file.Require {
		paths = append(paths, requirement.Mod.Path)
	}
	return paths
}

// A kind is whose package an import path names.
type kind int

const (
	standard kind = iota
	ours
	theirs
	unknown
)

// classify returns the room or the module that path belongs to.
func classify(path string, modules []string) (string, kind) {
	if rest, ok := strings.CutPrefix(path, module+"/"); ok {
		return strings.TrimPrefix(rest, "internal/"), ours
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return path, standard
	}
	best := ""
	for _, m := range modules {
		if (path == m || strings.HasPrefix(path, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	if best == "" {
		return path, unknown
	}
	return best, theirs
}

func generated(room string) bool { return strings.HasPrefix(room, "pb/") }

func unique(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func TestCheckTable(t *testing.T) {
	const head = "<!-- imports:begin -->\n| room | floor | may import (ours) | may import (third party) |\n| --- | --- | --- | --- |\n"
	good := head + "| `fault` | 1 | – | – |\n| `seal` | 4 | `fault`, `pb/x/v1` | `filippo.io/age` |\n<!-- imports:end -->"
	packages := []row{{room: "fault"}, {room: "seal", ours: []string{"fault", "pb/x/v1"}, theirs: []string{"filippo.io/age"}}}
	tests := []struct {
		name, table string
		packages    []row
		want        string
	}{
		{"as written", good, packages, ""},
		{"no markers", "", packages, "lacks the markers"},
		{"wildcard", strings.Replace(good, "pb/x/v1", "pb/...", 1), packages, "not the name of one package"},
		{"no floor", strings.Replace(good, "| 1 |", "| ? |", 1), packages, "floor is not a number"},
		{"cell missing", strings.Replace(good, "| 1 | – |", "| 1 |", 1), packages, "has 3 cells"},
		{"row twice", strings.Replace(good, "| `seal`", "| `fault` | 1 | – | – |\n| `seal`", 1), packages, "two rows"},
		{"not in the table", good, append(packages, row{room: "bus"}), "bus is not in the table"},
		{"no such package", good, packages[:1], "seal is in the table but is no package"},
		{"ours not allowed", good, []row{packages[0], {room: "seal", ours: []string{"bus"}}}, "seal imports bus,"},
		{"theirs not allowed", good, []row{{room: "fault", theirs: []string{"go.uber.org/zap"}}, packages[1]}, "fault imports go.uber.org/zap,"},
		{"theirs unused", good, []row{packages[0], {room: "seal", ours: packages[1].ours}}, "seal may import filippo.io/age by the table, but does not"},
		{"ours gone", good, packages[1:], "seal may import fault, which is no package"},
		{"upward", strings.Replace(good, "| 1 |", "| 5 |", 1), packages, "seal on floor 4 imports fault above it, on floor 5"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			table, faults := parseTable(test.table)
			got := strings.Join(append(faults, checkTable(table, test.packages)...), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("faults = %q, want %q", got, test.want)
			}
		})
	}
}

func TestRenderParses(t *testing.T) {
	rows := []row{{room: "fault", floor: 1}, {room: "seal", floor: 4, ours: []string{"fault"}, theirs: []string{"filippo.io/age"}}}
	table, faults := parseTable("<!-- imports:begin -->\n" + render(rows, rows) + "<!-- imports:end -->")
	if len(faults) > 0 || fmt.Sprint(table) != fmt.Sprint(rows) {
		t.Errorf("table = %v, %q; want %v", table, faults, rows)
	}
}

func TestClassify(t *testing.T) {
	modules := []string{"a.io/x", "a.io/x/v2", "a.io/xy"}
	tests := []struct {
		path, name string
		kind       kind
	}{
		{"net/http", "net/http", standard},
		{module + "/internal/fault", "fault", ours},
		{module + "/certs", "certs", ours},
		{"a.io/x/sub", "a.io/x", theirs},
		{"a.io/x/v2/sub", "a.io/x/v2", theirs},
		{"a.io/xy", "a.io/xy", theirs},
		{"a.io/other", "a.io/other", unknown},
	}
	for _, test := range tests {
		if name, kind := classify(test.path, modules); name != test.name || kind != test.kind {
			t.Errorf("classify(%s) = %s, %d; want %s, %d", test.path, name, kind, test.name, test.kind)
		}
	}
}
