package format

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/enlace-network/enlace/internal/fault"
)

// read reads a whole list.
func read(t *testing.T, dir fs.FS) ([]Entry, []Problem) {
	t.Helper()
	var entries []Entry
	var problems []Problem
	for e, err := range OFAC(dir, func(p Problem) { problems = append(problems, p) }) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries, problems
}

func TestJoin(t *testing.T) {
	entries, _ := read(t, os.DirFS("testdata/list"))
	if len(entries) != 5 {
		t.Fatalf("%d entries, want 5", len(entries))
	}
	e := entries[0]
	if e.Number != 101 || e.Name != "IBÁÑEZ MUÑOZ, José Ángel" || e.Type != Individual {
		t.Errorf("entry = %d %q %s, want 101, the name as written, individual", e.Number, e.Name, e.Type)
	}
	if want := []Address{{Street: "Calle Niños Héroes 5", City: "Culiacán", Country: "Mexico"}}; !slices.Equal(e.Addresses, want) {
		t.Errorf("addresses = %q, want %q", e.Addresses, want)
	}
	if want := "Linked To: COMPAÑÍA DE PRUEBA, S.A. DE C.V."; !strings.HasSuffix(e.Remarks, want) {
		t.Errorf("remarks = %q, want them to end with the overflow: %q", e.Remarks, want)
	}
	want := []Alias{{Kind: "f.k.a.", Name: "PRUEBA VIEJA"}, {Kind: "n.k.a.", Name: "PRUEBA NUEVA", Remark: "since 2010"}}
	if got := entries[1].Aliases; !slices.Equal(got, want) {
		t.Errorf("aliases = %q, want %q", got, want)
	}
	if got, want := entries[1].Programmes, []string{"TCO", "GLOMAG"}; !slices.Equal(got, want) {
		t.Errorf("programmes = %q, want %q", got, want)
	}
	if v := entries[2]; v.Tonnage != "99,144" || v.GrossTonnage != "56,068" || v.Flag != "Panama" || v.Owner != "Armadora Ñ" || v.CallSign != "XX0001" {
		t.Errorf("vessel = %+v, want its columns as written", v)
	}
}

func TestProblems(t *testing.T) {
	_, problems := read(t, os.DirFS("testdata/list"))
	want := []Problem{
		{"sdn.csv", 6, "the row has 3 fields, not 12"},
		{"sdn.csv", 7, "the type is none of individual, vessel, aircraft"},
		{"sdn.csv", 8, "the number of the entry is not a positive number"},
		{"sdn.csv", 9, "the row is not CSV: a quote is misplaced or left open"},
		{"sdn.csv", 10, "the number of the entry was used before"},
		{"sdn.csv", 11, "the name is missing"},
		{"alt.csv", 4, "the other name is missing or of a kind that is none of aka, fka, nka"},
		{"add.csv", 5, "it belongs to no entry of sdn.csv"},
	}
	for _, p := range want {
		if !slices.Contains(problems, p) {
			t.Errorf("problems lack %v", p)
		}
	}
	if len(problems) != len(want) {
		t.Errorf("%d problems, want %d: %v", len(problems), len(want), problems)
	}
}

// list is a small list whose sdn.csv is given.
func list(sdn string) fstest.MapFS {
	dir := fstest.MapFS{"sdn.csv": {Data: []byte(sdn)}}
	for _, name := range []string{"add.csv", "alt.csv", "sdn_comments.csv"} {
		dir[name] = &fstest.MapFile{Data: []byte("\x1a")}
	}
	return dir
}

const plain = `7,"NAME",-0- ,"SDNT",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,"` + "REMARK\"\n"

func TestRowsSkipped(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"too long", strings.Replace(plain, "REMARK", strings.Repeat("x", maxRow), 1), "longer than"},
		{"far too long", strings.Replace(plain, "REMARK", strings.Repeat("x", 5*maxRow), 1), "longer than"},
		{"not UTF-8", strings.Replace(plain, "NAME", "NU\xd1EZ", 1), "not UTF-8"},
		{"control character", strings.Replace(plain, "NAME", "NA\x00ME", 1), "control character"},
		{"number zero", strings.Replace(plain, "7", "0", 1), "not a positive number"},
		{"number too large", strings.Replace(plain, "7", "99999999999", 1), "not a positive number"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			entries, problems := read(t, list(test.text+strings.Replace(plain, "7", "8", 1)))
			if len(entries) != 1 || entries[0].Number != 8 {
				t.Errorf("%d entries, want the one behind the bad row", len(entries))
			}
			if len(problems) != 1 || problems[0].Line != 1 || !strings.Contains(problems[0].Reason, test.want) {
				t.Errorf("problems = %v, want %q in line 1", problems, test.want)
			}
		})
	}
}

func TestWholeFileRefused(t *testing.T) {
	missing := list(plain)
	delete(missing, "alt.csv")
	rowsBeyond := list(plain)
	rowsBeyond["add.csv"] = &fstest.MapFile{Data: bytes.Repeat([]byte("7,1,a,b,c,d\n"), maxRows+1)}
	bytesBeyond := list(plain)
	bytesBeyond["add.csv"] = &fstest.MapFile{Data: bytes.Repeat([]byte("x"), maxFile+1)}
	tests := []struct {
		name string
		dir  fs.FS
		want fault.Kind
	}{{"missing", missing, fault.NotFound}, {"too many rows", rowsBeyond, fault.TooLarge}, {"too many bytes", bytesBeyond, fault.TooLarge}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []error
			for e, err := range OFAC(test.dir, func(Problem) {}) {
				if err == nil {
					t.Errorf("entry %d came out", e.Number)
				}
				got = append(got, err)
			}
			if len(got) != 1 || !fault.Is(got[0], test.want) {
				t.Errorf("errors = %v, want one of kind %s", got, test.want)
			}
		})
	}
}

func TestMostRows(t *testing.T) {
	dir := list(plain)
	dir["add.csv"] = &fstest.MapFile{Data: bytes.Repeat([]byte("7,1,a,b,c,d\n"), maxRows)}
	entries, problems := read(t, dir)
	if len(entries) != 1 || len(entries[0].Addresses) != maxRows || len(problems) > 0 {
		t.Errorf("%d entries, %d problems; want one entry with %d addresses and no problem", len(entries), len(problems), maxRows)
	}
}

func TestRemarksBounded(t *testing.T) {
	dir := list(plain)
	comment := "7,\"" + strings.Repeat("x", maxRow/2) + "\"\n"
	dir["sdn_comments.csv"] = &fstest.MapFile{Data: []byte(comment + comment)}
	entries, problems := read(t, dir)
	if got, want := len(entries[0].Remarks), len("REMARK")+maxRow/2; got != want {
		t.Errorf("remarks of %d bytes, want %d", got, want)
	}
	if len(problems) != 1 || problems[0].Line != 2 || !strings.Contains(problems[0].Reason, "would be longer") {
		t.Errorf("problems = %v, want one about the second overflow", problems)
	}
}

func TestStopsWhenAsked(t *testing.T) {
	for range OFAC(os.DirFS("testdata/list"), func(p Problem) { t.Errorf("reported %v behind the stop", p) }) {
		break
	}
}

// sample is the real list, which is not part of the repository.
func sample(t *testing.T) fs.FS {
	t.Helper()
	root := os.Getenv("ENLACE_SAMPLES")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "samples")
	}
	dir := filepath.Join(root, "ofac")
	if _, err := os.Stat(filepath.Join(dir, fileEntries)); err != nil {
		t.Skipf("the sample list is absent: set ENLACE_SAMPLES to the folder that holds ofac/%s", fileEntries)
	}
	return os.DirFS(dir)
}

func TestSample(t *testing.T) {
	entries, problems := read(t, sample(t))
	// The folder has 7,378 line ends; the last entry stands behind the last of them.
	if got, want := len(entries), 7379; got != want {
		t.Errorf("%d entries, want %d", got, want)
	}
	organised, addresses, aliases := 0, 0, 0
	for _, e := range entries {
		addresses += len(e.Addresses)
		aliases += len(e.Aliases)
		if e.Organised() {
			organised++
		}
	}
	if organised != 2489 {
		t.Errorf("%d entries against narcotics and organised crime, want 2489", organised)
	}
	// 11,696 rows, 2,222 of them without any value.
	if addresses != 9474 || aliases != 9682 {
		t.Errorf("%d addresses and %d aliases, want 9474 and 9682", addresses, aliases)
	}
	// The overflow file is of a later day than the list: ten of its rows continue entries that are not listed.
	for _, p := range problems {
		if p.File != fileComments || !strings.HasPrefix(p.Reason, "it belongs to no entry") {
			t.Errorf("problem: %v", p)
		}
	}
	if len(problems) != 10 {
		t.Errorf("%d problems, want 10", len(problems))
	}
}

func FuzzOFAC(f *testing.F) {
	for _, name := range []string{fileEntries, fileAddresses, fileAliases, fileComments} {
		b, err := os.ReadFile(filepath.Join("testdata", "list", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b), string(b))
	}
	f.Add(plain, "7,\"aka\"\n")
	f.Fuzz(func(t *testing.T, sdn, side string) {
		dir := list(sdn)
		for _, name := range []string{fileAddresses, fileAliases, fileComments} {
			dir[name] = &fstest.MapFile{Data: []byte(side)}
		}
		seen := map[int]bool{}
		lines := strings.Count(sdn, "\n") + strings.Count(side, "\n") + 2
		for e, err := range OFAC(dir, func(p Problem) {
			if p.Line < 1 || p.Line > lines || p.Reason == "" {
				t.Errorf("problem %v is nowhere in %d lines", p, lines)
			}
		}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Name == "" || e.Number < 1 || seen[e.Number] {
				t.Errorf("entry %d %q came out", e.Number, e.Name)
			}
			seen[e.Number] = true
			checkSubjects(t, e)
		}
	})
}

// slow hands out one byte at a time, as a pipe may.
type slow struct{ r io.Reader }

func (s slow) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 1)]) }

func TestLinesAcrossReads(t *testing.T) {
	var got []string
	for l, err := range lines(slow{strings.NewReader("á\r\nb\n\nc")}, maxFile, maxRows) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l.text)
	}
	if want := []string{"á", "b", "", "c"}; !slices.Equal(got, want) {
		t.Errorf("lines = %q, want %q", got, want)
	}
}
