package exchange

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
)

const (
	spoolSuffix = ".age"
	spoolRandom = 16 // bytes
)

// spoolName makes the name of a spool file: random, so that nothing from outside ever becomes a path.
func (e *Exchange) spoolName() (string, error) {
	b := make([]byte, spoolRandom)
	if _, err := io.ReadFull(e.Random, b); err != nil {
		return "", fault.Wrap(err, fault.Internal, "", "name spool file", "no randomness")
	}
	return hex.EncodeToString(b) + spoolSuffix, nil
}

func (e *Exchange) createSpool() (*os.File, error) {
	name, err := e.spoolName()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(e.Spool, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return f, spoolFault(err)
}

// closeSpool makes the file and its name durable, or removes it when the writing failed.
func closeSpool(f *os.File, failed error) error {
	err := failed
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = syncDir(filepath.Dir(f.Name()))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // nothing names it
		if fault.Is(err, fault.TooLarge) {
			return err
		}
		return spoolFault(err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// openSpool opens a spool file by the name in the ledger.
func (e *Exchange) openSpool(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(e.Spool, filepath.Base(name)), flag, 0o600)
	return f, spoolFault(err)
}

// Sweep removes spool files that no row names: what was being sealed when the machine stopped. Call it before the doors
// open, while nothing is being sealed.
func (e *Exchange) Sweep(ctx context.Context) error {
	entries, err := os.ReadDir(e.Spool)
	if err != nil {
		return spoolFault(err)
	}
	return e.Ledger.View(ctx, func(r ledger.Reader) error {
		for _, entry := range entries {
			if !isSpoolName(entry.Name()) {
				continue
			}
			if named, err := r.NamesFile(entry.Name()); err != nil {
				return err
			} else if !named {
				e.removeSpool(entry.Name())
			}
		}
		return nil
	})
}

// isSpoolName recognises the names this room gives and no other: the folder may hold what is not ours.
func isSpoolName(name string) bool {
	digits, ok := strings.CutSuffix(name, spoolSuffix)
	_, err := hex.DecodeString(digits)
	return ok && err == nil && len(digits) == 2*spoolRandom
}

func (e *Exchange) removeSpool(name string) {
	_ = os.Remove(filepath.Join(e.Spool, filepath.Base(name))) // if it stays, Sweep removes it at the next start
}

func baseName(f *os.File) string { return filepath.Base(f.Name()) }

// spoolFault tells a full disk, which passes, from the rest.
func spoolFault(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Wrap(err, fault.Retry, "disk-full", "store attachment", "the disk is full").WithHint("free space on the disk of the attachments")
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.Wrap(err, fault.Internal, "", "store attachment", "the attachment could not be stored")
}
