package cli

import (
	"bytes"
	"os"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

const (
	// maxLogFile bounds a log on file: 100,000 statements of two kilobytes, with room.
	maxLogFile = 512 << 20
	opVerify   = "verify log"
	blockEnd   = "-----END ENLACE STATEMENT-----"
)

// logFile reads the statements of a file with a whole log, which may hold more than a bundle does, and gives them to each.
func logFile(path string, each func(directory.Statement) error) error {
	text, err := readSmall(path, maxLogFile)
	if err != nil {
		return err
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	for len(text) > 0 {
		part := text
		if i := bytes.Index(text, []byte(blockEnd)); i >= 0 {
			end := min(i+len(blockEnd)+1, len(text))
			part = text[:end]
		}
		b, err := directory.ParseBundle(part)
		if err != nil {
			f := fault.As(err)
			return fault.Wrap(err, f.Kind, f.Code, "read "+path, f.Say).WithHint(f.Hint)
		}
		for _, st := range b.Statements {
			if err := each(st); err != nil {
				return err
			}
		}
		text = bytes.TrimLeft(text[len(part):], "\n")
	}
	return nil
}

// folded is a log as it was verified, from the genesis on.
type folded struct {
	snapshot *directory.Snapshot
	tree     merkle.Frontier
	// skipped are the positions of entries that do not hold. PROTOCOL 4.15.
	skipped []uint64
	// at are the snapshots at the sizes that were asked for, and the roots there.
	at map[int64]state
}

// state is a log at a size.
type state struct {
	snapshot *directory.Snapshot
	root     string
}

// fold verifies a log entry by entry, and keeps how it was at some sizes.
func fold(path string, sizes ...int64) (folded, error) {
	f := folded{at: map[int64]state{}}
	err := logFile(path, func(st directory.Statement) error {
		next, err := directory.Apply(f.snapshot, st)
		switch {
		case err != nil && f.snapshot == nil:
			return err
		case err != nil:
			next = f.snapshot.Skip() // as everyone skips it, PROTOCOL 4.15
			f.skipped = append(f.skipped, next.Position())
		}
		f.snapshot = next
		f.tree.Append(directory.LeafHash(st.Signed()))
		for _, size := range sizes {
			if size == f.tree.Size() {
				f.at[size] = state{next, f.tree.Root().String()}
			}
		}
		return nil
	})
	if err == nil && f.snapshot == nil {
		err = fault.New(fault.Invalid, "no-genesis", "read "+path, "the file has no statement")
	}
	return f, err
}

// writeLog makes a file of a log, entry after entry.
func writeLog(path string, entries [][]byte) error {
	if fileExists(path) {
		return fault.New(fault.Conflict, "exists", "write "+path, "there is a file of that name already").WithHint("choose another with --out")
	}
	var out bytes.Buffer
	for _, signed := range entries {
		st, err := directory.ParseStatement(signed)
		if err != nil {
			return err
		}
		out.Write(directory.Bundle{Statements: []directory.Statement{st}}.Marshal())
	}
	if err := replace(path, &out); err != nil {
		return fault.Wrap(err, fault.Internal, "", "write "+path, "the file cannot be written")
	}
	return os.Chmod(path, 0o644) // it holds no secret
}
