package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/node"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

const opBackup = "back up node"

func (a *app) keyRecoveryCommand() *cobra.Command {
	var out, recipient, config string
	var lock newLock
	var unlock unlockNow
	c := &cobra.Command{
		Use: "recovery", Short: "Make the key that a state's backups are sealed to, and tell a node of it",
		Long: "With --out, make the state's recovery key, locked by a passphrase: best on a machine that is no node. Whoever has\n" +
			"the file, its passphrase and a backup has everything a node has, so keep it like the state's key, and a copy.\n" +
			"With --recipient, or together with --out, have the node of --config seal its backups to it from now on: it needs\n" +
			"only the public half, FILE.pub. The daemon may run.",
		Example: "  enlace key recovery --out mx.recovery-key\n  enlace key recovery --recipient mx.recovery-key.pub --config mx/node.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (out == "") == (recipient == "") {
				return misused(c, "name a key to make with --out, or one that was made with --recipient")
			}
			if recipient != "" && config == "" {
				return misused(c, "name the node's configuration with --config")
			}
			return a.keyRecovery(c.Context(), out, recipient, config, lock, unlock)
		},
	}
	c.Flags().StringVar(&out, "out", "", "make a new key in this file, and its public half in FILE.pub")
	c.Flags().StringVar(&recipient, "recipient", "", "the FILE.pub of a key that was made before")
	c.Flags().StringVar(&config, "config", "", "node.yaml of the node whose backups it is for")
	c.Flags().StringVar(&lock.file, "passphrase-file", "", "file whose first line is the new key's passphrase (default: ask)")
	lock.registerEffort(c.Flags())
	unlock.register(c)
	return c
}

func (a *app) keyRecovery(ctx context.Context, out, recipient, config string, lock newLock, unlock unlockNow) error {
	var text string
	if out != "" {
		passphrase, err := lock.ask(ctx, a, out)
		if err != nil {
			return err
		}
		k, err := keyring.CreateRecovery(out, passphrase)
		if err != nil {
			return err
		}
		text = k.Recipient()
		a.note("The recovery key is in %s, locked; its public half is in %s.pub.", out, out)
		a.note("Keep the file and a copy away from every node. Without it and its passphrase no backup opens.")
	} else {
		b, err := readSmall(recipient, maxRecipient)
		if err != nil {
			return err
		}
		text = strings.TrimSpace(string(b))
	}
	if config != "" {
		cfg, err := node.LoadConfig(config)
		if err != nil {
			return err
		}
		ring, err := node.OpenKeys(cfg, unlock.prompt(ctx, a))
		if err != nil {
			return err
		}
		if err := node.SetRecovery(cfg, ring, text); err != nil {
			return err
		}
	}
	result := map[string]any{"key": out, "recipient": text, "config": config}
	return a.print(result, func(w io.Writer) {
		fmt.Fprintln(w, text)
		if config != "" {
			fmt.Fprintf(w, "the backups of the node of %s are sealed to it from now on\n", config)
		}
	})
}

// maxRecipient bounds the file of a recovery key's public half.
const maxRecipient = 8 << 10

// unlockNow is the passphrase of a node's key file where one is asked for.
type unlockNow struct{ file string }

func (u *unlockNow) register(c *cobra.Command) {
	c.Flags().StringVar(&u.file, "unlock-passphrase-file", "", "file whose first line is the passphrase of the node's key file, where it has one (default: ask)")
}

func (u unlockNow) prompt(ctx context.Context, a *app) keyring.Prompt {
	return func() (keyring.Passphrase, error) {
		text, err := a.secret(ctx, "Passphrase of the node's key file", u.file)
		return keyring.NewPassphrase(text), err
	}
}

type backupFlags struct {
	to, attachments, config, check, key, passphraseFile string
	unlock                                              unlockNow
}

func (a *app) nodeBackupCommand() *cobra.Command {
	var f backupFlags
	c := &cobra.Command{
		Use: "backup", Short: "Write a backup of the node to one file, sealed to the state's recovery key",
		Long: "Ask the node for a backup while it works, as an administrator: ledger, keys, directory, configuration, rules and\n" +
			"attachments, in one file that only the recovery key opens. With --config instead, write it of a node that is\n" +
			"stopped. With --attachments needed, leave out files over 256 KiB that somebody else has too: of those, the ones\n" +
			"received can be got back from their senders for at least 14 days, the ones sent are at their receivers.\n" +
			"With --check, read a backup to its end and hold every file in it against its digest.",
		Example: "  enlace node backup --to mx.backup\n  enlace node backup --config mx/node.yaml --to mx.backup\n  enlace node backup --check mx.backup --key mx.recovery-key",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case f.check != "":
				return a.checkBackup(c.Context(), f)
			case f.config != "":
				return a.backupStopped(c.Context(), f)
			}
			return a.with(c, func(ctx context.Context, n *operator.Client) error { return a.backupRunning(ctx, n, f) })
		},
	}
	c.Flags().StringVar(&f.to, "to", "", "file to write (default: enlace-TIME.backup)")
	c.Flags().StringVar(&f.attachments, "attachments", "all", "all or needed")
	c.Flags().StringVar(&f.config, "config", "", "node.yaml of a node that is stopped")
	c.Flags().StringVar(&f.check, "check", "", "check this backup; write none")
	c.Flags().StringVar(&f.key, "key", "", "with --check: file of the recovery key")
	c.Flags().StringVar(&f.passphraseFile, "passphrase-file", "", "with --check: file whose first line is the key's passphrase (default: ask)")
	f.unlock.register(c)
	c.MarkFlagsMutuallyExclusive("check", "to")
	c.MarkFlagsMutuallyExclusive("check", "config")
	return c
}

// backupRunning takes the backup that a node streams. The file has its name only when all of it is there.
func (a *app) backupRunning(ctx context.Context, n *operator.Client, f backupFlags) error {
	return a.writeBackup(f, func(dst io.Writer, progress func(done, about int64)) (*operatorv1.BackupSummary, error) {
		stream, err := n.Node.Backup(ctx, &operatorv1.BackupRequest{Attachments: f.attachments})
		if err != nil {
			return nil, err
		}
		got := digesting{dst: dst, hash: sha256.New()}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil, fault.New(fault.Retry, "cut", opBackup, "the node ended before the backup was whole")
			}
			if err != nil {
				return nil, err
			}
			if _, err := got.Write(m.GetData()); err != nil {
				return nil, err
			}
			progress(m.GetDone(), m.GetAbout())
			if end := m.GetEnd(); end != nil {
				return end, got.is(end)
			}
		}
	})
}

// digesting counts and hashes what is written.
type digesting struct {
	dst  io.Writer
	hash hash.Hash
	size int64
}

func (d *digesting) Write(p []byte) (int, error) {
	n, err := d.dst.Write(p)
	d.hash.Write(p[:n])
	d.size += int64(n)
	return n, err
}

func (d *digesting) is(end *operatorv1.BackupSummary) error {
	if d.size != end.GetSize() || hex.EncodeToString(d.hash.Sum(nil)) != end.GetSha256() {
		return fault.New(fault.Retry, "cut", opBackup, "what came is not what the node sent").WithHint("try again")
	}
	return nil
}

// backupStopped writes the backup of a node whose daemon does not run.
func (a *app) backupStopped(ctx context.Context, f backupFlags) error {
	cfg, err := node.LoadConfig(f.config)
	if err != nil {
		return err
	}
	return a.writeBackup(f, func(dst io.Writer, progress func(done, about int64)) (*operatorv1.BackupSummary, error) {
		got := digesting{dst: dst, hash: sha256.New()}
		o := node.Options{Prompt: f.unlock.prompt(ctx, a), Clock: a.clock, Random: a.random}
		r, err := node.Backup(ctx, cfg, o, node.BackupOptions{Attachments: f.attachments, Progress: progress}, &got)
		if err != nil {
			return nil, err
		}
		return &operatorv1.BackupSummary{Time: r.Time.UnixMilli(), Files: uint32(r.Files), Bytes: r.Bytes, Digest: r.Digest.String(),
			Size: got.size, Sha256: hex.EncodeToString(got.hash.Sum(nil))}, nil
	})
}

// writeBackup gives the file its name when it is whole and on stable storage.
func (a *app) writeBackup(f backupFlags, write func(io.Writer, func(done, about int64)) (*operatorv1.BackupSummary, error)) error {
	path := or(f.to, "enlace-"+a.clock().UTC().Format("20060102-150405")+".backup")
	if fileExists(path) {
		return fault.New(fault.Conflict, "exists", "write "+path, "there is such a file already").WithHint("name another with --to")
	}
	tmp, err := beside(path)
	if err != nil {
		return fault.Wrap(err, fault.Usage, "unwritable", "write "+path, "no file can be made there")
	}
	bar := a.bar("backup", 0)
	end, err := write(tmp, bar.at)
	bar.end()
	if err != nil {
		discard(tmp)
		return written(path, err)
	}
	// The node has said that it is whole; from here the file is either there whole or not there.
	if err := settleAs(tmp, path); err != nil {
		return written(path, err)
	}
	out := map[string]any{"file": path, "time": end.GetTime(), "files": end.GetFiles(), "bytes": end.GetBytes(), "size": end.GetSize(),
		"sha256": end.GetSha256(), "manifest": end.GetDigest()}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d files, %d bytes sealed, as of %s\nSHA-256 %s\n", path, end.GetFiles(), end.GetSize(), when(end.GetTime()), end.GetSha256())
	})
}

// recoveryKey opens a recovery key.
func (a *app) recoveryKey(ctx context.Context, path, passphraseFile string) (*keyring.RecoveryKey, error) {
	if path == "" {
		return nil, fault.New(fault.Usage, "no-key", "open recovery key", "this needs the state's recovery key").WithHint("add --key FILE")
	}
	text, err := a.secret(ctx, "Passphrase of "+path, passphraseFile)
	if err != nil {
		return nil, err
	}
	return keyring.OpenRecovery(path, keyring.NewPassphrase(text))
}

func (a *app) checkBackup(ctx context.Context, f backupFlags) error {
	src, size, err := openBackup(f.check)
	if err != nil {
		return err
	}
	defer src.Close()
	key, err := a.recoveryKey(ctx, f.key, f.passphraseFile)
	if err != nil {
		return err
	}
	bar := a.bar("check", size)
	head, files, err := node.CheckBackup(key, io.TeeReader(src, bar))
	bar.end()
	if err != nil {
		return err
	}
	return a.print(map[string]any{"file": f.check, "whole": true, "files": files, "head": head}, func(w io.Writer) {
		fmt.Fprintf(w, "%s is whole: %d files of %s, incarnation %s, as of %s\n", f.check, files, head.Node, head.Incarnation, when(head.Time))
	})
}

func openBackup(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, unreadable(path, err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, unreadable(path, err)
	}
	return f, info.Size(), nil
}

type restoreFlags struct {
	key, passphraseFile, dir, config, systemd string
	again                                     bool
	unlock                                    unlockFlags
}

func (a *app) nodeRestoreCommand() *cobra.Command {
	var f restoreFlags
	c := &cobra.Command{
		Use: "restore {FILE | --again}", Short: "Make a node of a backup, on a machine that has nothing of it",
		Long: "Open a backup with the state's recovery key and write the node into a new folder, its key file locked anew. At\n" +
			"its first start the node begins a new incarnation and asks the other nodes for what was exchanged after the\n" +
			"backup; until they have given it back it sends nothing and takes nothing new (enlace node status). The old\n" +
			"machine, should it come back, is told that it was replaced, and stops.\n" +
			"With --again, nothing is read: the node of --config goes on with the ledger it has, in a new incarnation. It is\n" +
			"the answer where two machines were restored from one backup and both were stopped: on the one that is to go on.",
		Example: "  enlace node restore mx.backup --key mx.recovery-key --data mx\n  enlace node restore --again --config mx/node.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case f.again && len(args) == 0 && f.config != "":
				return a.beginAgain(c.Context(), f)
			case f.again || len(args) != 1 || f.dir == "":
				return misused(c, "name a backup and a folder with --data; or --again and the node with --config")
			}
			return a.restore(c.Context(), args[0], f)
		},
	}
	c.Flags().StringVar(&f.key, "key", "", "file of the state's recovery key")
	c.Flags().StringVar(&f.passphraseFile, "passphrase-file", "", "file whose first line is its passphrase (default: ask)")
	c.Flags().StringVar(&f.dir, "data", "", "folder of the node to make; it must not exist, or be empty")
	c.Flags().StringVar(&f.systemd, "unlock-credential", "", "name of the systemd credential that will hold the passphrase of the key file")
	c.Flags().BoolVar(&f.again, "again", false, "begin a new incarnation with the ledger that is there")
	c.Flags().StringVar(&f.config, "config", "", "with --again: node.yaml of the node that is to go on")
	f.unlock.register(c.Flags())
	return c
}

func (a *app) beginAgain(ctx context.Context, f restoreFlags) error {
	cfg, err := node.LoadConfig(f.config)
	if err != nil {
		return err
	}
	if err := a.sure(ctx, "The node of "+f.config+" goes on here, and every other machine that runs as it is stopped for good?"); err != nil {
		return err
	}
	if err := node.BeginAgain(cfg, a.random); err != nil {
		return err
	}
	return a.print(map[string]any{"config": f.config, "again": true}, func(w io.Writer) {
		fmt.Fprintln(w, "at its next start the node begins a new incarnation")
	})
}

func (a *app) restore(ctx context.Context, path string, f restoreFlags) error {
	src, size, err := openBackup(path)
	if err != nil {
		return err
	}
	defer src.Close()
	key, err := a.recoveryKey(ctx, f.key, f.passphraseFile)
	if err != nil {
		return err
	}
	o := node.RestoreOptions{Key: key, Dir: f.dir, Unlock: node.InitUnlock{File: f.unlock.file, OnDataDisk: f.unlock.onDataDisk}, Clock: a.clock, Random: a.random}
	if f.systemd != "" {
		o.Unlock.Setting = "systemd:" + f.systemd
	}
	if f.unlock.file == "" {
		o.Unlock.Prompt = func() (keyring.Passphrase, error) { return f.unlock.lock.ask(ctx, a, "the node's key file") }
	}
	bar := a.bar("restore", size)
	o.Source = io.TeeReader(src, bar)
	start := a.clock()
	r, err := node.Restore(ctx, o)
	bar.end()
	if err != nil {
		return err
	}
	out := map[string]any{"config": r.Config, "head": r.Head, "files": r.Files, "bytes": r.Bytes, "missing": r.Missing}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d files, %d bytes, as of %s, in %s\n", r.Config, r.Files, r.Bytes, when(r.Head.Time), a.clock().Sub(start).Round(time.Second/10))
		for _, name := range r.Missing {
			fmt.Fprintf(w, "put back by hand, no backup holds it: %s\n", clean(name))
		}
		fmt.Fprintf(w, "start it: enlace-node --config %s\n", r.Config)
	})
}
