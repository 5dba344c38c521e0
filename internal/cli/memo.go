package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/enlace-network/enlace/internal/fault"
)

// maxMemo bounds the file that --resume names.
const maxMemo = 64 << 20

// memo is what earlier runs of an import did: one JSON object a line, the last of an entry counts. The nil memo remembers
// nothing.
type memo struct {
	path string
	file *os.File
	lock sync.Mutex
	all  map[string]remembered
}

// remembered is one entry of a list, the alert that was made of it, and where that stood.
type remembered struct {
	Entry string `json:"entry"`
	ID    string `json:"id"`
	State string `json:"state"`
}

// openMemo opens the file at path, or makes it. Empty path: nil. A last line that was cut off is taken away; any other
// that cannot be read is an error, for what it says might be submitted twice.
func openMemo(path string) (*memo, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "unwritable", "open "+path, "the file cannot be opened or made")
	}
	m := &memo{path: path, file: f, all: map[string]remembered{}}
	if err := m.read(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return m, nil
}

func (m *memo) read() error {
	b, err := readBounded("read "+m.path, m.file, maxMemo)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(b, '\n') + 1
	lines := bufio.NewScanner(bytes.NewReader(b[:whole]))
	for lines.Scan() {
		var r remembered
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil || r.Entry == "" || r.ID == "" {
			return fault.New(fault.Usage, "malformed-file", "read "+m.path, "this is not a file that an import left").WithHint("name another file with --resume")
		}
		m.all[r.Entry] = r
	}
	if err := errors.Join(lines.Err(), m.file.Truncate(int64(whole))); err != nil {
		return unreadable(m.path, err)
	}
	_, err = m.file.Seek(int64(whole), io.SeekStart)
	return err
}

func (m *memo) of(entry string) remembered {
	if m == nil {
		return remembered{}
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.all[entry]
}

// put remembers; with sync it is durable on return.
func (m *memo) put(r remembered, sync bool) error {
	if m == nil {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	m.all[r.Entry] = r
	if _, err = m.file.Write(append(line, '\n')); err == nil && sync {
		err = m.file.Sync()
	}
	if err != nil {
		return fault.Wrap(err, fault.Internal, "unwritable", "write "+m.path, "what was submitted cannot be remembered")
	}
	return nil
}

func (m *memo) close() {
	if m != nil {
		_ = m.file.Close() // all that counts was synced
	}
}
