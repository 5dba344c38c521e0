// Clauses holds proto/PROTOCOL.md against the code: every numbered clause must
// be cited by code that obeys it and by a test that would notice if it did not.
//
// A clause is a line of PROTOCOL.md that starts with its number in bold,
// "**4.2** The header ...". One that a later release fills carries the word
// "(reserved)" right after the number and needs no citation yet. A citation is
// "PROTOCOL 4.2" anywhere in a Go file under internal/ or cmd/; several may
// follow one word, "PROTOCOL 4.2, 4.3 and 7.1". Generated code does not count.
//
//	clauses [directory of the repository]
//
// It prints a table by chapter and what is missing, and exits 1 if a clause
// lacks code or test, if one is numbered twice, or if a citation names a clause
// that does not exist.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	faults, err := check(root, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "clauses:", err)
		os.Exit(2)
	}
	if faults > 0 {
		os.Exit(1)
	}
}

// check writes the report on the repository at root and returns the number of faults in it.
func check(root string, out io.Writer) (int, error) {
	text, err := os.ReadFile(filepath.Join(root, "proto", "PROTOCOL.md"))
	if err != nil {
		return 0, err
	}
	clauses, twice := parse(text)
	if len(clauses) == 0 {
		return 0, errors.New("PROTOCOL.md has no numbered clause")
	}
	cited, err := citations(root)
	if err != nil {
		return 0, err
	}
	summary(out, clauses, cited)
	return complain(out, "numbered twice", twice) +
		complain(out, "without code", missing(clauses, cited.code)) +
		complain(out, "without test", missing(clauses, cited.test)) +
		complain(out, "cited but not in PROTOCOL.md", unknown(clauses, cited)), nil
}

// A clause is one numbered rule of PROTOCOL.md.
type clause struct {
	number   string
	reserved bool
}

// parse returns the clauses in the order of the text, and the numbers that stand in it twice.
func parse(text []byte) ([]clause, []string) {
	var clauses []clause
	var twice []string
	heading := regexp.MustCompile(`(?m)^\*\*(\d+(?:\.\d+)+)\*\*( \(reserved\))?`)
	seen := map[string]bool{}
	for _, m := range heading.FindAllSubmatch(text, -1) {
		number := string(m[1])
		if seen[number] {
			twice = append(twice, number)
			continue
		}
		seen[number] = true
		clauses = append(clauses, clause{number: number, reserved: len(m[2]) > 0})
	}
	return clauses, twice
}

// cited maps a clause number to the first file that cites it.
type cited struct {
	code, test map[string]string
}

// citations reads every Go file under internal/ and cmd/ of root.
func citations(root string) (cited, error) {
	found := cited{code: map[string]string{}, test: map[string]string{}}
	for _, top := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			return found.read(path)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return cited{}, err
		}
	}
	return found, nil
}

func (c cited) read(path string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(source, []byte("// Code generated ")) {
		return nil
	}
	into := c.code
	if strings.HasSuffix(path, "_test.go") {
		into = c.test
	}
	for _, number := range numbers(source) {
		if into[number] == "" {
			into[number] = path
		}
	}
	return nil
}

// numbers returns every clause number that source cites.
func numbers(source []byte) []string {
	citation := regexp.MustCompile(`PROTOCOL \d+(?:\.\d+)+(?:(?:,| and|, and|;) \d+(?:\.\d+)+)*`)
	number := regexp.MustCompile(`\d+(?:\.\d+)+`)
	var all []string
	for _, c := range citation.FindAll(source, -1) {
		all = append(all, number.FindAllString(string(c), -1)...)
	}
	return all
}

func missing(clauses []clause, where map[string]string) []string {
	var none []string
	for _, c := range clauses {
		if !c.reserved && where[c.number] == "" {
			none = append(none, c.number)
		}
	}
	return none
}

// unknown returns citations of clauses that PROTOCOL.md does not have, each with a file that makes it.
func unknown(clauses []clause, cited cited) []string {
	var wrong []string
	for _, where := range []map[string]string{cited.code, cited.test} {
		for number, path := range where {
			if !slices.ContainsFunc(clauses, func(c clause) bool { return c.number == number }) {
				wrong = append(wrong, number+" ("+path+")")
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}

func complain(out io.Writer, what string, which []string) int {
	if len(which) > 0 {
		fmt.Fprintf(out, "\n%s (%d):\n  %s\n", what, len(which), strings.Join(which, "\n  "))
	}
	return len(which)
}

// summary prints one row per chapter.
func summary(out io.Writer, clauses []clause, cited cited) {
	type count struct{ all, reserved, code, test int }
	chapters := map[int]*count{}
	for _, c := range clauses {
		chapter, _ := strconv.Atoi(strings.Split(c.number, ".")[0]) // digits by the pattern of parse
		row := chapters[chapter]
		if row == nil {
			row = &count{}
			chapters[chapter] = row
		}
		row.all++
		row.reserved += one(c.reserved)
		row.code += one(cited.code[c.number] != "")
		row.test += one(cited.test[c.number] != "")
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "chapter\tclauses\treserved\tin code\tin tests\t")
	for _, chapter := range slices.Sorted(maps.Keys(chapters)) {
		row := chapters[chapter]
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%d\t\n", chapter, row.all, row.reserved, row.code, row.test)
	}
	table.Flush()
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
