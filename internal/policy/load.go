package policy

import (
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	cedarschema "github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	schemaFile = "schema.cedarschema"
	maxFile    = 256 << 10 // bytes of one file
	maxFiles   = 64
	maxRules   = 500
	maxText    = 500 // bytes of one reason
)

//go:embed default/*.cedar default/schema.cedarschema
var builtin embed.FS

// Set is a checked set of rules. It never changes.
type Set struct {
	files   []file
	digest  [sha256.Size]byte
	all     rules
	byID    map[string]*rule
	actions []actionRules // by Action
}

type file struct {
	name string
	data []byte
}

// actionRules is what one action needs: its place in the schema's groups, and the rules that can concern it.
type actionRules struct {
	entity  cedar.Entity
	rules   rules
	permits []Reason
}

// Load reads and checks a state's own rules; nil means the built-in set.
//
// They are files *.cedar, and nothing else but Markdown, names that begin with a dot and an unchanged copy
// of the built-in schema.cedarschema: a rule in a file with a misspelt ending would be a rule silently missing. Any
// mistake is a Usage error that names file and line, and no Set comes back. At most 64 files of 256 KiB, 500 rules.
func Load(own fs.FS) (*Set, error) {
	files, err := readBuiltin()
	if err != nil {
		return nil, err
	}
	if own != nil {
		if files, err = readOwn(own, files); err != nil {
			return nil, err
		}
	}
	schema, err := readSchema(files)
	if err != nil {
		return nil, err
	}
	s := &Set{files: files, digest: digest(files), byID: map[string]*rule{}}
	c := newChecker(schema)
	var all rules
	for _, f := range files {
		found, err := c.parse(f)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	if err := s.index(all, schema); err != nil {
		return nil, err
	}
	return s, nil
}

// Digest is SHA-256 over all files in the order of their names: for each the length of its name (8 bytes, big endian),
// the name, the length of its bytes, the bytes. The schema is one of them.
func (s *Set) Digest() [sha256.Size]byte { return s.digest }

// Source is all rules as text, each file under a comment with its name.
func (s *Set) Source() string {
	var b strings.Builder
	for _, f := range s.files {
		fmt.Fprintf(&b, "// ---- %s\n\n%s\n", f.name, f.data)
	}
	return b.String()
}

// Rules lists every rule, in the order of the files.
func (s *Set) Rules() []Reason {
	reasons := make([]Reason, len(s.all))
	for i, r := range s.all {
		reasons[i] = r.reason
	}
	return reasons
}

func readBuiltin() ([]file, error) {
	root, err := fs.Sub(builtin, "default")
	if err != nil {
		return nil, broken(err, "the built-in rules are not there")
	}
	return readFiles(root)
}

// readOwn reads a state's own rules and puts the built-in schema beside them.
func readOwn(own fs.FS, builtin []file) ([]file, error) {
	files, err := readFiles(own)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 || (len(files) == 1 && files[0].name == schemaFile) {
		return nil, broken(nil, "the directory of rules holds no file *.cedar, so everything would be denied").
			WithHint("copy the built-in rules there (enlace policy show) or leave policy.dir empty")
	}
	schema := builtin[slices.IndexFunc(builtin, isSchema)]
	copied := slices.IndexFunc(files, isSchema)
	if copied >= 0 && string(files[copied].data) != string(schema.data) {
		return nil, broken(nil, schemaFile+" is not the one of this version").
			WithHint("remove it: the program brings its own; then read what changed in it")
	}
	if copied < 0 {
		files = append(files, schema)
		slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	}
	return files, nil
}

func isSchema(f file) bool { return f.name == schemaFile }

// readFiles reads a directory's rules, sorted by name.
func readFiles(root fs.FS) ([]file, error) {
	entries, err := fs.ReadDir(root, ".")
	if err != nil {
		return nil, broken(err, "the directory of rules cannot be read")
	}
	var files []file
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".md") {
			continue
		}
		if !strings.HasSuffix(name, ".cedar") && name != schemaFile {
			return nil, broken(nil, fmt.Sprintf("%q is neither a file *.cedar nor %s", name, schemaFile)).
				WithHint("rename it, or move it elsewhere")
		}
		if len(files) == maxFiles {
			return nil, broken(nil, fmt.Sprintf("more than %d files of rules", maxFiles))
		}
		data, err := readFile(root, name)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name, data})
	}
	return files, nil
}

func readFile(root fs.FS, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, broken(err, name+" cannot be read")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, broken(err, name+" cannot be read")
	}
	if len(data) > maxFile {
		return nil, broken(nil, fmt.Sprintf("%s is larger than %d bytes", name, maxFile))
	}
	return data, nil
}

func readSchema(files []file) (*resolved.Schema, error) {
	i := slices.IndexFunc(files, isSchema)
	if i < 0 {
		return nil, broken(errors.New("schema missing"), "the built-in schema is not there")
	}
	var schema cedarschema.Schema
	schema.SetFilename(schemaFile)
	if err := schema.UnmarshalCedar(files[i].data); err != nil {
		return nil, broken(err, "the schema cannot be read")
	}
	r, err := schema.Resolve()
	if err != nil {
		return nil, broken(err, "the schema contradicts itself")
	}
	return r, nil
}

func digest(files []file) [sha256.Size]byte {
	h := sha256.New()
	for _, f := range files {
		for _, part := range [][]byte{[]byte(f.name), f.data} {
			_ = binary.Write(h, binary.BigEndian, uint64(len(part))) // a hash takes every write
			h.Write(part)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func broken(cause error, say string) *fault.Error {
	return fault.Wrap(cause, fault.Usage, "bad-policy", "load policy", say)
}
