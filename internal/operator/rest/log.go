package rest

import (
	"bytes"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// quiet is where Go's HTTP server writes what happens on its connections. Its lines name the caller's address, and a
// panic's line its value, which may be content: neither is kept. Whoever knocks often fills no log.
type quiet struct {
	log    *zap.Logger
	calm   *rate.Limiter // of connections that failed
	panics *rate.Limiter
}

func newQuiet(log *zap.Logger) *quiet {
	limit := func() *rate.Limiter { return rate.NewLimiter(rate.Every(time.Second), 20) }
	return &quiet{log: log, calm: limit(), panics: limit()}
}

// Write takes one line, or a panic with its stack.
func (q *quiet) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	if strings.Contains(text, "panic serving") {
		if q.panics.Allow() {
			_, stack, _ := strings.Cut(text, "\n")
			q.log.Error("panic in an HTTP request", zap.String("stack", stack))
		}
		return len(line), nil
	}
	if q.calm.Allow() {
		what := "other"
		if strings.Contains(text, "TLS handshake error") {
			what = "tls-handshake"
		}
		q.log.Info("HTTP connection failed", zap.String("what", what))
	}
	return len(line), nil
}
