// Floor holds the floor that `enlace bench` measures against the reference
// floor, in one run on one machine, so that a ratio cannot look good because
// its floor is slow.
//
//	floor -reference DIR [-within 0.10] PROGRAM [argument...]
//
// PROGRAM with its arguments prints the object of `enlace bench --json`. DIR is
// the reference, a Go package of benchmarks, run unchanged before and after it.
// A figure agrees when the program's floor lies within the given part of what
// the reference measured, slower and faster run taken as the bounds. The
// table of all figures goes to standard output; the exit code is 1 if a floor
// disagrees. Without DIR the program runs alone and nothing is compared.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	reference := flag.String("reference", "", "folder of the reference benchmarks")
	within := flag.Float64("within", 0.10, "part by which floors may differ")
	flag.Parse()
	agree, err := run(*reference, *within, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(2)
	}
	if !agree {
		os.Exit(1)
	}
}

func run(reference string, within float64, program []string) (bool, error) {
	if len(program) == 0 {
		return false, errors.New("which program shall be measured?")
	}
	if _, err := os.Stat(reference); errors.Is(err, fs.ErrNotExist) {
		fmt.Printf("no reference floor at %q: nothing to compare with\n", reference)
		reference = ""
	}
	before, err := measureReference(reference)
	if err != nil {
		return false, err
	}
	text, err := output(exec.Command(program[0], program[1:]...))
	if err != nil {
		return false, err
	}
	rows, err := parseBench(text)
	if err != nil {
		return false, err
	}
	after, err := measureReference(reference)
	if err != nil {
		return false, err
	}
	return report(os.Stdout, rows, [2]figures{before, after}, within), nil
}

// figures maps "row.figure" of `enlace bench --json` to what was measured.
type figures map[string]float64

// A measure is one figure of `enlace bench --json`.
type measure struct {
	Floor, Ours, Ratio, Goal float64
}

// parseBench reads the rows and figures of `enlace bench --json`; what is no figure is left out.
func parseBench(text []byte) (map[string]measure, error) {
	var rows map[string]json.RawMessage
	if err := json.Unmarshal(text, &rows); err != nil {
		return nil, fmt.Errorf("the program printed no JSON object: %w", err)
	}
	all := map[string]measure{}
	for row, raw := range rows {
		var inside map[string]json.RawMessage
		if json.Unmarshal(raw, &inside) != nil {
			continue
		}
		for name, raw := range inside {
			var m measure
			if json.Unmarshal(raw, &m) == nil && m != (measure{}) {
				all[row+"."+name] = m
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the program printed no figure")
	}
	return all, nil
}

func measureReference(folder string) (figures, error) {
	if folder == "" {
		return figures{}, nil
	}
	command := exec.Command("go", "test", "-run", "^$", "-bench", ".", "-benchtime", "5s", ".")
	command.Dir = folder
	text, err := output(command)
	if err != nil {
		return nil, err
	}
	return parseReference(text), nil
}

// parseReference reads the lines of go test -bench.
func parseReference(text []byte) figures {
	found := figures{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name, _, _ := strings.Cut(fields[0], "-")
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if figure := figureOf(name + " " + fields[i+1]); err == nil && figure != "" {
				found[figure] = value
			}
		}
	}
	return found
}

// figureOf returns our name of a reference figure, and "" for one that is not
// held: a 99th percentile differs by more than a tenth from run to run.
func figureOf(benchmark string) string {
	return map[string]string{
		"BenchmarkDirected/inflight64 msg/s": "directed.msg_per_s",
		"BenchmarkDirected/inflight1 p50-ms": "latency.p50_ms",
		"BenchmarkFanOut deliveries/s":       "fanout.deliveries_per_s",
		"BenchmarkFanOut wire-bytes":         "fanout.wire_bytes",
		"BenchmarkAttachment MB/s":           "attachment.mb_per_s",
	}[benchmark]
}

// report prints every figure and says whether all floors agree with the two runs of the reference.
func report(out io.Writer, rows map[string]measure, runs [2]figures, within float64) bool {
	agree := true
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "figure\treference\tfloor\tours\tratio\t")
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		m := rows[name]
		first, known := runs[0][name]
		second := runs[1][name]
		reference, verdict := "–", ""
		if known {
			reference = fmt.Sprintf("%.4g, %.4g", first, second)
			low, high := min(first, second)*(1-within), max(first, second)*(1+within)
			if m.Floor < low || m.Floor > high {
				agree, verdict = false, "floor disagrees"
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%.4g\t%.4g\t%.2f\t%s\n", name, reference, m.Floor, m.Ours, m.Ratio, verdict)
	}
	table.Flush()
	return agree
}

// output runs a command, its complaints shown as they come.
func output(command *exec.Cmd) ([]byte, error) {
	var text bytes.Buffer
	command.Stdout, command.Stderr = &text, os.Stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(command.Args, " "), err, text.String())
	}
	return text.Bytes(), nil
}
