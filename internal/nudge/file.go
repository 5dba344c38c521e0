package nudge

import (
	"io"
	"os"
	"strings"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	opFile  = "read file"
	maxFile = 4 << 10 // bytes of a secret
	maxCA   = 1 << 20 // bytes of certificates
)

// readSecret reads the one line of a file that none but its owner may read.
func readSecret(path string) (string, error) {
	b, err := readFile(path, maxFile, true)
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(b), "\r\n")
	if line == "" || strings.ContainsAny(line, "\x00\r\n") {
		return "", fault.New(fault.Usage, "not-a-secret", opFile, "a secret file holds one line")
	}
	return line, nil
}

// readFile reads a bounded file. It looks at the file it has opened, not at what the path may name by then.
func readFile(path string, limit int64, secret bool) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, fault.Wrap(err, fault.Usage, "not-a-file", opFile, "there is no such regular file: "+path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "", opFile, "the file cannot be opened: "+path)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "", opFile, "the file cannot be read: "+path)
	}
	if secret && exposed(info) {
		return nil, fault.New(fault.Usage, "exposed-file", opFile, "others than its owner may read or change the file "+path).
			WithHint("set its mode to 0600, and think who may have read it")
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil || int64(len(b)) > limit {
		return nil, fault.Wrap(err, fault.Usage, "", opFile, "the file cannot be read or is too large: "+path)
	}
	return b, nil
}
