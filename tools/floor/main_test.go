package main

import (
	"maps"
	"strings"
	"testing"
)

func TestParseReference(t *testing.T) {
	got := parseReference([]byte(`goos: linux
BenchmarkDirected/inflight1-2    	    2210	   2713452 ns/op	         2.500 p50-ms	         8.800 p99-ms	       368.5 msg/s
BenchmarkDirected/inflight64-2   	    6000	    970000 ns/op	        60.10 p50-ms	        99.00 p99-ms	      1030 msg/s
BenchmarkAttachment-2            	      20	 268000000 ns/op	 250.40 MB/s
PASS
`))
	want := figures{"latency.p50_ms": 2.5, "directed.msg_per_s": 1030, "attachment.mb_per_s": 250.4}
	if !maps.Equal(got, want) {
		t.Errorf("figures = %v, want %v", got, want)
	}
}

func TestParseBench(t *testing.T) {
	got, err := parseBench([]byte(`{"version":1,"directed":{"msg_per_s":{"floor":1000,"ours":700,"ratio":0.7}},"idle":{"rss_mb":{"ours":31,"goal":40}}}`))
	want := map[string]measure{
		"directed.msg_per_s": {Floor: 1000, Ours: 700, Ratio: 0.7},
		"idle.rss_mb":        {Ours: 31, Goal: 40},
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("parseBench = %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "[]", "{}", `{"directed":{}}`} {
		if _, err := parseBench([]byte(bad)); err == nil {
			t.Errorf("parseBench(%q) = no error", bad)
		}
	}
}

func TestReport(t *testing.T) {
	runs := [2]figures{{"directed.msg_per_s": 1000}, {"directed.msg_per_s": 900}}
	for floor, want := range map[float64]bool{950: true, 811: true, 1099: true, 809: false, 1101: false, 0: false} {
		var out strings.Builder
		rows := map[string]measure{"directed.msg_per_s": {Floor: floor}, "idle.rss_mb": {Ours: 31}}
		if got := report(&out, rows, runs, 0.10); got != want {
			t.Errorf("report with floor %v = %t, want %t\n%s", floor, got, want, out.String())
		}
	}
}
