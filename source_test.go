package enlace_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	longestFunction = 80
	longestFile     = 800
)

// TestSource holds the rules of the house that a reader would otherwise have to
// watch for: no state in package variables, no init, no test code in the
// product, pure rooms that stay pure, and functions and files that fit the eye.
func TestSource(t *testing.T) {
	var lengths []int
	for _, p := range list(t) {
		if generated(p.room()) {
			continue
		}
		files := token.NewFileSet()
		var parsed []*ast.File
		for _, path := range p.files() {
			file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			parsed = append(parsed, file)
		}
		s := source{room: p.room(), files: files, parsed: parsed}
		for _, fault := range s.faults() {
			t.Error(fault)
		}
		lengths = append(lengths, s.lengths()...)
	}
	if len(lengths) == 0 {
		t.Fatal("no function found")
	}
	slices.Sort(lengths)
	t.Logf("%d functions: median %d lines, nine in ten at most %d, longest %d",
		len(lengths), lengths[len(lengths)/2], lengths[len(lengths)*9/10], lengths[len(lengths)-1])
}

// source is the files of one package that are not tests.
type source struct {
	room   string
	files  *token.FileSet
	parsed []*ast.File
}

func (s source) faults() []string {
	var faults []string
	for _, file := range s.parsed {
		if lines := s.files.File(file.Pos()).LineCount(); lines > longestFile {
			faults = append(faults, fmt.Sprintf("%s has %d lines, more than %d", s.at(file), lines, longestFile))
		}
		faults = append(faults, s.imports(file)...)
		faults = append(faults, s.clocks(file)...)
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				faults = append(faults, s.function(decl)...)
			case *ast.GenDecl:
				if decl.Tok == token.VAR {
					faults = append(faults, s.variables(decl)...)
				}
			}
		}
	}
	return faults
}

func (s source) at(node ast.Node) string {
	position := s.files.Position(node.Pos())
	return fmt.Sprintf("%s/%s:%d", s.room, filepath.Base(position.Filename), position.Line)
}

// closed names the standard packages, with all below them, that a pure room does without.
func closed(room string) []string {
	network := []string{"net", "database/sql"}
	switch strings.Split(room, "/")[0] {
	case "message":
		// The digest of an envelope is its name, and this room reads headers: a hash, never a key.
		return append(network, "os", "crypto/tls", "crypto/rand", "crypto/ed25519", "crypto/ecdsa", "crypto/aes", "crypto/cipher", "math/rand")
	case "fault", "authority", "directory", "policy":
		return append(network, "os", "crypto/tls", "crypto/rand", "math/rand")
	case "seal", "format", "evidence":
		return network
	}
	return nil
}

func (s source) imports(file *ast.File) []string {
	var faults []string
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		if helper := strings.HasSuffix(s.room, "test"); helper && (path == "testing" || path == "flag") {
			continue // a conformance suite or vectors: imported by tests alone
		}
		if path == "testing" || strings.HasPrefix(path, "testing/") && path != "testing/fstest" {
			faults = append(faults, fmt.Sprintf("%s: %s is for tests", s.at(spec), path))
		}
		if path == "net/url" || path == "net/netip" || path == "net/mail" {
			continue // values, not the network
		}
		for _, shut := range closed(s.room) {
			if path == shut || strings.HasPrefix(path, shut+"/") {
				faults = append(faults, fmt.Sprintf("%s: %s does without %s", s.at(spec), s.room, path))
			}
		}
	}
	return faults
}

// clocks finds readings of the clock in rooms that are handed the time.
func (s source) clocks(file *ast.File) []string {
	if !slices.Contains([]string{"fault", "authority", "message", "directory", "seal"}, s.room) {
		return nil
	}
	var faults []string
	ast.Inspect(file, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			name := types.ExprString(selector)
			if name == "time.Now" || name == "time.Since" || name == "time.Until" {
				faults = append(faults, fmt.Sprintf("%s: %s is handed the time and never reads a clock", s.at(node), s.room))
			}
		}
		return true
	})
	return faults
}

func (s source) function(decl *ast.FuncDecl) []string {
	var faults []string
	if decl.Recv == nil && decl.Name.Name == "init" {
		faults = append(faults, s.at(decl)+": init runs before anyone can ask it not to")
	}
	if lines := s.length(decl); lines > longestFunction && !strings.Contains(decl.Doc.Text(), "Long because") {
		faults = append(faults, fmt.Sprintf("%s: %s has %d lines, more than %d, and its comment does not say \"Long because\"",
			s.at(decl), decl.Name.Name, lines, longestFunction))
	}
	return faults
}

func (s source) length(decl *ast.FuncDecl) int {
	return s.files.Position(decl.End()).Line - s.files.Position(decl.Pos()).Line + 1
}

func (s source) lengths() []int {
	var lengths []int
	for _, file := range s.parsed {
		for _, decl := range file.Decls {
			if decl, ok := decl.(*ast.FuncDecl); ok {
				lengths = append(lengths, s.length(decl))
			}
		}
	}
	return lengths
}

// variables finds package variables that could change while the program runs.
// Embedded files, assertions (var _ T = x) and tables that are private, filled
// where they are declared and never written are as good as constants.
func (s source) variables(decl *ast.GenDecl) []string {
	var faults []string
	for _, spec := range decl.Specs {
		spec := spec.(*ast.ValueSpec)
		if embeds(decl.Doc) || embeds(spec.Doc) {
			continue
		}
		for i, name := range spec.Names {
			if name.Name == "_" || strings.HasSuffix(s.room, "test") {
				continue
			}
			if why := s.mutable(name.Name, spec, i); why != "" {
				faults = append(faults, fmt.Sprintf("%s: package variable %s %s", s.at(name), name.Name, why))
			}
		}
	}
	return faults
}

func embeds(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

func (s source) mutable(name string, spec *ast.ValueSpec, i int) string {
	switch {
	case i >= len(spec.Values):
		return "has no value yet, so something will write it"
	case !steady(spec.Values[i]):
		return "is not a table, nor made once for all"
	case ast.IsExported(name):
		return "is exported, so anyone may write it"
	case s.written(name):
		return "is written after its declaration"
	}
	return ""
}

// steady says whether a value stays what it is: a literal, a table, or the
// result of a call that makes something which cannot change.
func steady(value ast.Expr) bool {
	switch value := value.(type) {
	case *ast.BasicLit, *ast.Ident, *ast.SelectorExpr, *ast.BinaryExpr:
		return true
	case *ast.CompositeLit:
		of := types.ExprString(value.Type)
		return !strings.HasPrefix(of, "sync.") && !strings.HasPrefix(of, "atomic.") && !strings.HasPrefix(of, "chan")
	case *ast.CallExpr:
		switch types.ExprString(value.Fun) {
		case "regexp.MustCompile", "strings.NewReplacer", "template.Must", "netip.MustParsePrefix",
			"sync.OnceValue", "sync.OnceValues", "[]byte", "time.Date", "language.NewMatcher":
			return true
		}
	}
	return false
}

// written says whether any file of the package assigns to name, to a part of
// it, or takes its address. A local variable of the same name counts too: give
// it another.
func (s source) written(name string) bool {
	found := false
	for _, file := range s.parsed {
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.AssignStmt:
				if node.Tok != token.DEFINE {
					found = found || slices.ContainsFunc(node.Lhs, func(left ast.Expr) bool { return root(left) == name })
				}
			case *ast.IncDecStmt:
				found = found || root(node.X) == name
			case *ast.UnaryExpr:
				found = found || node.Op == token.AND && root(node.X) == name
			case *ast.CallExpr:
				call := types.ExprString(node.Fun)
				found = found || (call == "delete" || call == "clear") && root(node.Args[0]) == name
			}
			return !found
		})
	}
	return found
}

// root returns the variable at the bottom of x.f[i].g.
func root(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.Ident:
		return expr.Name
	case *ast.SelectorExpr:
		return root(expr.X)
	case *ast.IndexExpr:
		return root(expr.X)
	case *ast.SliceExpr:
		return root(expr.X)
	case *ast.StarExpr:
		return root(expr.X)
	case *ast.ParenExpr:
		return root(expr.X)
	}
	return ""
}

func TestSourceFaults(t *testing.T) {
	long := strings.Repeat("\tprintln()\n", longestFunction)
	tests := []struct{ name, room, text, want string }{
		{"clean", "seal", "import \"net/url\"\nvar _ error = x{}\nvar table = map[string]int{\"a\": 1}\nfunc f() int { return table[\"a\"] }", ""},
		{"embed", "seal", "//go:embed a\nvar A embed.FS", ""},
		{"pattern", "seal", "var p = regexp.MustCompile(`a`)", ""},
		{"no value", "seal", "var n int", "n has no value yet"},
		{"made", "seal", "var m = make(map[string]int)", "m is not a table"},
		{"pointer", "seal", "var m = &T{}", "m is not a table"},
		{"sentinel", "seal", "var errX = errors.New(\"x\")", "errX is not a table"},
		{"lock", "seal", "var m = sync.Mutex{}", "m is not a table"},
		{"exported", "seal", "var T = []int{1}", "T is exported"},
		{"assigned", "seal", "var a = []int{1}\nfunc f() { a = nil }", "a is written"},
		{"element", "seal", "var a = []int{1}\nfunc f() { a[0] = 2 }", "a is written"},
		{"field", "seal", "var a = T{1}\nfunc f() { a.b.c++ }", "a is written"},
		{"address", "seal", "var a = T{1}\nfunc f() { g(&a) }", "a is written"},
		{"deleted", "seal", "var a = T{1}\nfunc f() { delete(a, 1) }", "a is written"},
		{"init", "seal", "func init() {}", "init runs"},
		{"method named init", "seal", "func (T) init() {}", ""},
		{"test package", "node", "import \"testing\"", "testing is for tests"},
		{"network in a pure room", "message", "import \"net/http\"", "message does without net/http"},
		{"network where it belongs", "wire", "import \"net/http\"", ""},
		{"clock", "directory", "func f() any { return time.Now }", "never reads a clock"},
		{"long", "seal", "func f() {\n" + long + "}", "f has 82 lines"},
		{"long because", "seal", "// Long because it is a table.\nfunc f() {\n" + long + "}", ""},
		{"long file", "seal", strings.Repeat("\n", longestFile), "has 801 lines"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, "x.go", "package x\n"+test.text, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(source{room: test.room, files: files, parsed: []*ast.File{file}}.faults(), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("faults = %q, want %q", got, test.want)
			}
		})
	}
}
