package node

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

const (
	opBackup = "back up node"
	// smallAttachment goes into every backup: it costs less than what it takes to ask a peer for it.
	smallAttachment = 256 << 10
	// snapshotName is the copy of the ledger while a backup runs; what a stop left behind is removed by the next.
	snapshotName = "backup.db"
)

// The names of things in a backup.
const (
	archivedConfig      = "node.yaml"
	archivedKeys        = "keys/keyring.age"
	archivedUnlock      = "keys/unlock"
	archivedLedger      = "data/ledger/ledger.db"
	archivedDirectory   = "data/directory/"
	archivedAttachments = "attachments/"
	archivedPolicy      = "policy/"
)

// BackupOptions say what goes into a backup.
type BackupOptions struct {
	// Attachments is "all", which is the default, or "needed": drafts' files, those that some addressee has not confirmed
	// whole, and what is small. Of the others a peer can give back what it sent, for as long as it keeps it; what was sent
	// is at its receivers.
	Attachments string
	// Progress is told now and then how many bytes are written of about how many; may be nil.
	Progress func(done, about int64)
}

// BackupResult is what is in a backup that was written whole.
type BackupResult struct {
	Time   time.Time
	Files  int
	Bytes  int64
	Digest message.Digest
}

// Backup writes a backup of a node whose daemon does not run; Conflict "in-use" where it does. See [Restore]. Memory is
// constant. What was written is a backup only if Backup returned nil, and only the caller makes it durable. It needs room
// for a second copy of the ledger beside the first, for as long as it runs.
func Backup(ctx context.Context, cfg Config, o Options, b BackupOptions, dst io.Writer) (BackupResult, error) {
	p, err := cfg.parse()
	if err != nil {
		return BackupResult{}, err
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if cfg.Ledger.Backend == onServer {
		return BackupResult{}, backedUpElsewhere()
	}
	d := &daemon{Options: o, cfg: cfg, parsed: p}
	for _, open := range []func(context.Context) error{d.openKeys, d.openLedger} {
		if err := open(ctx); err != nil {
			return BackupResult{}, errors.Join(err, d.close())
		}
	}
	r, err := d.backup(ctx, nodeActor, b, dst)
	return r, errors.Join(err, d.close())
}

// nodeActor is the actor of what no account did.
const nodeActor = "node"

// backup writes a backup while the node works. One at a time: Retry "busy".
func (d *daemon) backup(ctx context.Context, actor string, o BackupOptions, dst io.Writer) (BackupResult, error) {
	if !d.backing.TryLock() {
		return BackupResult{}, fault.New(fault.Retry, "busy", opBackup, "a backup is being written already")
	}
	defer d.backing.Unlock()
	if o.Attachments == "" {
		o.Attachments = "all"
	}
	if o.Attachments != "all" && o.Attachments != "needed" {
		return BackupResult{}, fault.New(fault.Usage, "malformed-attachments", opBackup, "attachments are all or needed")
	}
	recipient, err := recipientOf(d.cfg.Data, d.ring)
	if err != nil {
		return BackupResult{}, err
	}
	sealed, err := keyring.SealToRecovery(recipient, dst)
	if err != nil {
		return BackupResult{}, err
	}
	w := &backing{d: d, o: o, to: &archive{tar: tar.NewWriter(sealed)}}
	r, err := w.write(ctx)
	if err != nil {
		return BackupResult{}, err // what is sealed so far has no end, and does not open to one
	}
	if err := sealed.Close(); err != nil {
		return BackupResult{}, archiveFault(err)
	}
	// If the machine stops here there may be a backup that no event tells of.
	return r, d.ledger.Update(ctx, func(tx ledger.Tx) error {
		_, err := tx.Append(ledger.Event{Time: d.Clock(), Kind: "backup", Actor: actor, Digest: r.Digest,
			Detail: fmt.Appendf(nil, "%d files, %d bytes, as of %s", r.Files, r.Bytes, r.Time.UTC().Format(time.RFC3339))})
		return err
	})
}

// backing is a backup on its way.
type backing struct {
	d  *daemon
	o  BackupOptions
	to *archive
	// about is how many bytes there will be, as far as is known; done is how many were read.
	about, done int64
}

// write goes from what changes by renaming to what grows, so that nothing says more than what follows it holds.
func (w *backing) write(ctx context.Context) (BackupResult, error) {
	// Before the copy is begun: who is asked for what came after gives rather too much than too little.
	at := w.d.Clock()
	snapshot, err := w.snapshot(ctx)
	if err != nil {
		return BackupResult{}, err
	}
	defer func() { _ = os.Remove(snapshot) }()
	i := w.d.ledger.Identity().Incarnation
	_, err = w.to.addJSON(headName, BackupHead{Version: backupVersion, Node: w.d.parsed.node.String(), Network: w.d.cfg.Network.Fingerprint,
		Incarnation: fmt.Sprintf("%d-%x", i.Counter, i.Random), Time: at.UnixMilli(), Program: Version(), Attachments: w.o.Attachments})
	if err != nil {
		return BackupResult{}, err
	}
	for _, step := range []func(context.Context) error{
		w.keys, w.config, func(context.Context) error { return w.file(archivedLedger, snapshot) }, w.directory, w.policy, w.attachments,
	} {
		if err := step(ctx); err != nil {
			return BackupResult{}, err
		}
		if err := ctx.Err(); err != nil {
			return BackupResult{}, fault.Wrap(err, fault.Retry, "cut", opBackup, "the backup was given up")
		}
	}
	digest, err := w.to.end()
	return BackupResult{Time: at, Files: len(w.to.files), Bytes: w.to.bytes, Digest: message.Digest(digest)}, err
}

// snapshot copies the ledger as of one moment; the copy is encrypted as the ledger is.
func (w *backing) snapshot(ctx context.Context) (string, error) {
	path := filepath.Join(w.d.cfg.Data, "ledger", snapshotName)
	for _, left := range []string{path, path + "-journal", path + "-wal"} {
		if err := os.Remove(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", archiveFault(err)
		}
	}
	if err := w.d.ledger.Snapshot(ctx, path); err != nil {
		_ = os.Remove(path)
		return "", err
	}
	if info, err := os.Stat(path); err == nil {
		w.about = info.Size()
	}
	return path, nil
}

func (w *backing) keys(context.Context) error {
	file, unlock, err := w.d.ring.Copy()
	if err != nil {
		return err
	}
	if err := w.to.add(archivedKeys, int64(len(file)), readerOf(file)); err != nil {
		return err
	}
	return w.to.add(archivedUnlock, int64(len(unlock)), readerOf(unlock))
}

// config is node.yaml, and the small files beside the ledger.
func (w *backing) config(context.Context) error {
	if err := w.file(archivedConfig, filepath.Join(w.d.cfg.dir, configFile)); err != nil {
		return err
	}
	for _, name := range []string{genesisFile, recipientFile, firstFile} {
		if err := w.file("data/"+name, filepath.Join(w.d.cfg.Data, name)); err != nil {
			return err
		}
	}
	return nil
}

// directory copies the node's own copy of the directory: what points into the log before the log, which only grows.
func (w *backing) directory(context.Context) error {
	const grows = ".log"
	folder := filepath.Join(w.d.cfg.Data, "directory")
	var first, last []string
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it is gone meanwhile, or there is none yet
			}
			return err
		}
		name := e.Name()
		if !e.Type().IsRegular() || strings.HasSuffix(name, ".lock") || strings.HasSuffix(name, ".new") || name == "mend.log" {
			return nil
		}
		if strings.HasSuffix(name, grows) {
			last = append(last, path)
		} else {
			first = append(first, path)
		}
		return nil
	})
	if err != nil {
		return archiveFault(err)
	}
	for _, path := range slices.Concat(first, last) {
		rel, err := filepath.Rel(folder, path)
		if err != nil {
			return archiveFault(err)
		}
		if err := w.file(archivedDirectory+filepath.ToSlash(rel), path); err != nil {
			return err
		}
	}
	return nil
}

// policy copies the state's own rules, where it has some.
func (w *backing) policy(context.Context) error {
	if w.d.cfg.Policy.Dir == "" {
		return nil
	}
	entries, err := os.ReadDir(w.d.cfg.Policy.Dir)
	if err != nil {
		return archiveFault(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if err := w.file(archivedPolicy+e.Name(), filepath.Join(w.d.cfg.Policy.Dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// attachments copies sealed files, by what the ledger says of them now.
func (w *backing) attachments(ctx context.Context) error {
	for after := ""; ; {
		var page []ledger.Attachment
		err := w.d.ledger.View(ctx, func(r ledger.Reader) error {
			var err error
			page, err = r.AttachmentFiles(after, ledger.MaxPage)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, row := range page {
			if err := w.attachment(ctx, row); err != nil {
				return err
			}
		}
		after = page[len(page)-1].File
	}
}

func (w *backing) attachment(ctx context.Context, row ledger.Attachment) error {
	// What is on its way begins again after a restore: the sender has it.
	if row.State == ledger.AttachmentReceiving || row.File == "" {
		return nil
	}
	if w.o.Attachments == "needed" && row.SealedSize > smallAttachment {
		if needed, err := w.needed(ctx, row); err != nil || !needed {
			return err
		}
	}
	return w.file(archivedAttachments+row.File, filepath.Join(w.d.cfg.Attachments.Dir, filepath.Base(row.File)))
}

// needed reports whether nobody else has an attachment whole.
func (w *backing) needed(ctx context.Context, row ledger.Attachment) (bool, error) {
	if row.Direction == ledger.In {
		return false, nil
	}
	if row.State == ledger.AttachmentDraft {
		return true, nil
	}
	var all []ledger.Delivery
	err := w.d.ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		all, err = r.DeliveriesOf(row.Owner.Message)
		return err
	})
	return len(all) == 0 || slices.ContainsFunc(all, func(d ledger.Delivery) bool { return d.State != ledger.Complete }), err
}

// file copies one file as long as it is now; one that is not there any more is left out.
func (w *backing) file(name, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return archiveFault(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return archiveFault(err)
	}
	return w.to.add(name, info.Size(), &counted{f, w})
}

// counted tells of progress.
type counted struct {
	src io.Reader
	w   *backing
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.w.done += int64(n)
	if c.w.o.Progress != nil {
		c.w.o.Progress(c.w.done, max(c.w.about, c.w.done))
	}
	return n, err
}

func readerOf(b []byte) io.Reader { return bytes.NewReader(b) }

// backups lets the operator door make backups: it implements operator.Backups.
type backups struct{ d *daemon }

func (b backups) Backup(ctx context.Context, who people.Principal, attachments string, dst io.Writer, progress func(done, about int64)) (*operatorv1.BackupSummary, error) {
	r, err := b.d.backup(ctx, actorOf(who).Account, BackupOptions{Attachments: attachments, Progress: progress}, dst)
	if err != nil {
		return nil, err
	}
	return &operatorv1.BackupSummary{Time: r.Time.UnixMilli(), Files: uint32(r.Files), Bytes: r.Bytes, Digest: r.Digest.String()}, nil
}

var _ operator.Backups = backups{}
