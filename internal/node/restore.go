package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

const (
	opRestore = "restore node"
	// restoredFile is the mark, in the data folder, that makes the next start begin a new incarnation. PROTOCOL 9.7.
	restoredFile = "restored.json"
)

// RestoreOptions are what a node is restored from. All are required but Progress.
type RestoreOptions struct {
	// Source is the backup.
	Source io.Reader
	Key    *keyring.RecoveryKey
	// Dir is the folder of the node, as [InitOptions].Dir: it is made, or is empty.
	Dir string
	// Unlock says how the key file opens from now on.
	Unlock InitUnlock
	Clock  func() time.Time
	Random io.Reader
	// Progress is told how many bytes are written.
	Progress func(done int64)
}

// RestoreResult is what a person has to know after Restore.
type RestoreResult struct {
	Config string
	Head   BackupHead
	Files  int
	Bytes  int64
	// Missing names files that the configuration points to and that no backup holds.
	Missing []string
}

// Restore makes a node of a backup, on a machine that has nothing of it. Everything is on disk on return. node.yaml comes
// last: a folder without one is of a restore that did not end, and may be deleted. The next start begins a new incarnation
// and asks the peers for what came after the backup. PROTOCOL 9.7. Memory is constant.
//
// Errors: Conflict "not-empty"; those of [CheckBackup], after which nothing is left in the folder; Usage for an unlock that
// does not fit.
func Restore(ctx context.Context, o RestoreOptions) (RestoreResult, error) {
	if err := o.check(); err != nil {
		return RestoreResult{}, err
	}
	r := &restoring{RestoreOptions: o, ctx: ctx, small: map[string][]byte{}}
	if err := r.run(); err != nil {
		r.undo()
		return RestoreResult{}, err
	}
	return r.result, nil
}

// CheckBackup reads a backup to its end and holds every file against its manifest. Invalid "incomplete-backup" where it was
// cut off or changed, Invalid "damaged-backup" where it is something else, Usage "newer-version".
func CheckBackup(key *keyring.RecoveryKey, src io.Reader) (BackupHead, int, error) {
	plain, err := key.Open(src)
	if err != nil {
		return BackupHead{}, 0, err
	}
	var head BackupHead
	files, err := unpack(plain, func(h BackupHead) error { head = h; return nil }, func(string, int64, io.Reader) error { return nil })
	return head, len(files), err
}

func (o RestoreOptions) check() error {
	entries, err := os.ReadDir(o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(err, fault.Usage, "no-folder", opRestore, "the folder cannot be read: "+o.Dir)
	}
	if len(entries) > 0 {
		return fault.New(fault.Conflict, "not-empty", opRestore, "the folder is not empty: "+o.Dir).
			WithHint("name a new folder; nothing is ever restored over a node")
	}
	if o.Unlock.File == "" && o.Unlock.Prompt == nil {
		return fault.New(fault.Usage, "incomplete", opRestore, "nothing says how the key file will be unlocked")
	}
	if o.Unlock.File != "" && !o.Unlock.OnDataDisk {
		return keyring.CheckApart(o.Unlock.File, filepath.Join(o.Dir, dataFolder))
	}
	return nil
}

// restoring is a restore under way.
type restoring struct {
	RestoreOptions
	ctx context.Context
	// small are node.yaml and the keys, which are written changed.
	small  map[string][]byte
	ring   *keyring.Ring
	result RestoreResult
	// unlock is the unlock file that was made.
	unlock string
	// folders are those that were made, to be synced.
	folders map[string]bool
}

// run writes everything, checks that it was whole, and only then writes what makes it a node.
func (r *restoring) run() error {
	r.folders = map[string]bool{}
	if err := r.folder(filepath.Join(r.Dir, dataFolder, "ledger")); err != nil {
		return err
	}
	for _, dir := range []string{keysFolder, filepath.Join(dataFolder, "directory"), filepath.Join(dataFolder, "attachments")} {
		if err := r.folder(filepath.Join(r.Dir, dir)); err != nil {
			return err
		}
	}
	plain, err := r.Key.Open(r.Source)
	if err != nil {
		return err
	}
	files, err := unpack(plain, func(h BackupHead) error { r.result.Head = h; return nil }, r.take)
	if err != nil {
		return err
	}
	r.result.Files = len(files)
	for _, step := range []func() error{r.keys, r.operatorCA, r.mark, r.sync, r.config} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// take writes one file of the backup where it belongs.
func (r *restoring) take(name string, size int64, src io.Reader) error {
	if err := r.ctx.Err(); err != nil {
		return fault.Wrap(err, fault.Retry, "cut", opRestore, "the restore was given up")
	}
	switch name {
	case archivedConfig, archivedKeys, archivedUnlock:
		if size > 8<<20 {
			return damagedBackup("a file is larger than any such file: " + name)
		}
		b, err := io.ReadAll(src)
		r.small[name] = b
		return err
	}
	path, ok := r.place(name)
	if !ok {
		return damagedBackup("the backup holds something that is no file of a node: " + name)
	}
	if err := r.folder(filepath.Dir(path)); err != nil {
		return err
	}
	return r.write(path, src)
}

// place is where a file of a backup goes.
func (r *restoring) place(name string) (string, bool) {
	for _, under := range []struct{ archived, folder string }{
		{archivedAttachments, filepath.Join(dataFolder, "attachments")}, {archivedPolicy, "policy"}, {archivedDirectory, filepath.Join(dataFolder, "directory")},
	} {
		if rest, ok := strings.CutPrefix(name, under.archived); ok && rest != "" {
			return filepath.Join(r.Dir, under.folder, filepath.FromSlash(rest)), true
		}
	}
	known := name == archivedLedger || name == "data/"+genesisFile || name == "data/"+recipientFile || name == "data/"+firstFile
	return filepath.Join(r.Dir, filepath.FromSlash(name)), known
}

func (r *restoring) write(path string, src io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opRestore, "the file cannot be written: "+path)
	}
	_, err = io.Copy(f, &told{src, r})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		var known *fault.Error
		if errors.As(err, &known) {
			return err
		}
		return fault.Wrap(err, fault.Internal, "", opRestore, "the file cannot be written: "+path)
	}
	return nil
}

// told counts what is written.
type told struct {
	src io.Reader
	r   *restoring
}

func (t *told) Read(p []byte) (int, error) {
	n, err := t.src.Read(p)
	t.r.result.Bytes += int64(n)
	if t.r.Progress != nil {
		t.r.Progress(t.r.result.Bytes)
	}
	return n, err
}

// folder makes a folder and remembers it and those above it up to Dir.
func (r *restoring) folder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fault.Wrap(err, fault.Usage, "no-folder", opRestore, "the folder cannot be made: "+path)
	}
	for at := path; len(at) >= len(r.Dir); at = filepath.Dir(at) {
		if r.folders[at] || at == filepath.Dir(at) {
			break
		}
		r.folders[at] = true
	}
	return nil
}

// keys locks the keys anew: how the old machine opened them is not known here, and need not be.
func (r *restoring) keys() error {
	unlock := keyring.UnlockBy(r.Unlock.Prompt)
	if r.Unlock.File != "" {
		var err error
		if unlock, err = keyring.NewUnlockFile(r.Unlock.File); err != nil {
			return err
		}
		r.unlock = r.Unlock.File
	}
	var err error
	r.ring, err = keyring.Adopt(filepath.Join(r.Dir, keysFolder, keysFile), r.small[archivedKeys], r.small[archivedUnlock], unlock)
	return err
}

func (r *restoring) operatorCA() error {
	var text strings.Builder
	for _, der := range r.ring.CACertificates() {
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // to memory: cannot fail
	}
	return writeNew(filepath.Join(r.Dir, operatorCAFile), []byte(text.String()), 0o644)
}

// restoredMark is the file restored.json. It may be made by anyone who can write to the data disk, and does no more than
// have the node begin a new incarnation.
type restoredMark struct {
	// Taken is when the ledger was copied, in Unix milliseconds; 0 where it is the ledger itself that goes on.
	Taken int64 `json:"taken"`
	// Random is that of the new incarnation, 16 hexadecimal digits: a start that was cut short begins no second one.
	Random string `json:"random"`
}

func (r *restoring) mark() error {
	return markRestored(filepath.Join(r.Dir, dataFolder), r.result.Head.Time, r.Random)
}

func markRestored(data string, taken int64, random io.Reader) error {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return fault.Wrap(err, fault.Internal, "", opRestore, "no randomness")
	}
	text, err := json.Marshal(restoredMark{taken, hex.EncodeToString(b[:])})
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(data, restoredFile), append(text, '\n'), 0o600)
}

// readMark is the mark, nil where there is none.
func readMark(data string) (*message.Incarnation, time.Time, error) {
	b, err := os.ReadFile(filepath.Join(data, restoredFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	}
	var m restoredMark
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	i := &message.Incarnation{}
	if err == nil && hex.DecodedLen(len(m.Random)) == len(i.Random) {
		_, err = hex.Decode(i.Random[:], []byte(m.Random))
	} else if err == nil {
		err = errors.New("its random part is not 8 bytes")
	}
	if err != nil {
		return nil, time.Time{}, fault.Wrap(err, fault.Usage, "malformed-mark", opRestore, "the file "+restoredFile+" is not as it was written").
			WithHint("delete it and run: enlace node restore --again --config node.yaml")
	}
	if m.Taken == 0 {
		return i, time.Time{}, nil
	}
	return i, time.UnixMilli(m.Taken).UTC(), nil
}

// BeginAgain has a node begin a new incarnation at its next start with the ledger that it has: the one of two machines that
// is to go on, after both were stopped ("two-incarnations"), or one that was replaced by mistake. The other one stops when it
// hears of it. Conflict "exists" where that was asked for already. PROTOCOL 9.7.
func BeginAgain(cfg Config, random io.Reader) error { return markRestored(cfg.Data, 0, random) }

// sync makes the names of all that was written durable.
func (r *restoring) sync() error {
	for path := range r.folders {
		if err := syncFolder(path); err != nil {
			return err
		}
	}
	return syncFolder(filepath.Dir(filepath.Clean(r.Dir)))
}

// config writes node.yaml as it was, but for where things lie now and how the keys open.
func (r *restoring) config() error {
	text, err := moved(r.small[archivedConfig], r.settings())
	if err != nil {
		return err
	}
	unfinished := filepath.Join(r.Dir, configFile+".new")
	if err := writeNew(unfinished, text, 0o600); err != nil {
		return err
	}
	c, err := LoadConfig(unfinished)
	if err != nil {
		return err
	}
	if c.Node != r.result.Head.Node || c.Network.Fingerprint != r.result.Head.Network {
		return damagedBackup("the configuration is of another node than the backup says")
	}
	r.result.Missing = c.elsewhere()
	r.result.Config = filepath.Join(r.Dir, configFile)
	if err := os.Rename(unfinished, r.result.Config); err != nil { // commit
		return fault.Wrap(err, fault.Internal, "", opRestore, "the configuration cannot be written")
	}
	return syncFolder(r.Dir)
}

// settings are the keys of node.yaml that change with the machine.
func (r *restoring) settings() []configured {
	unlock := r.Unlock.Setting
	if unlock == "" {
		unlock = "prompt"
	}
	if r.Unlock.File != "" {
		path, err := filepath.Abs(r.Unlock.File)
		if err != nil {
			path = r.Unlock.File
		}
		unlock = "file:" + path
	}
	set := []configured{
		{"data", dataFolder}, {"keyring.file.path", keysFolder + "/" + keysFile}, {"keyring.file.unlock", unlock},
		{"keyring.file.unlock_on_data_disk", r.Unlock.OnDataDisk}, {"attachments.dir", dataFolder + "/attachments"},
	}
	if r.folders[filepath.Join(r.Dir, "policy")] {
		set = append(set, configured{"policy.dir", "policy"})
	}
	return set
}

// configured is a key of node.yaml, its parts joined by dots, with its value.
type configured struct {
	key   string
	value any
}

// moved changes keys of a YAML text and leaves the rest, comments too.
func moved(text []byte, settings []configured) ([]byte, error) {
	var all yaml.MapSlice
	comments := yaml.CommentMap{}
	if err := yaml.UnmarshalWithOptions(text, &all, yaml.UseOrderedMap(), yaml.CommentToMap(comments)); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "damaged-backup", opRestore, "the configuration in the backup cannot be read")
	}
	for _, s := range settings {
		all = put(all, strings.Split(s.key, "."), s.value)
	}
	out, err := yaml.MarshalWithOptions(all, yaml.WithComment(comments))
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", opRestore, "the configuration cannot be written")
	}
	return out, nil
}

// put sets a key below a map, making what is above it.
func put(all yaml.MapSlice, path []string, value any) yaml.MapSlice {
	at := slices.IndexFunc(all, func(item yaml.MapItem) bool { return item.Key == path[0] })
	if at < 0 {
		all, at = append(all, yaml.MapItem{Key: path[0]}), len(all)
	}
	if len(path) > 1 {
		below, _ := all[at].Value.(yaml.MapSlice)
		value = put(below, path[1:], value)
	}
	all[at].Value = value
	return all
}

// elsewhere lists files that the configuration names and that are not there: no backup holds them.
func (c Config) elsewhere() []string {
	named := []string{c.Notify.CAFile, c.Notify.SMTP.PasswordFile}
	for _, t := range c.Notify.Targets {
		named = append(named, t.WebhookSecretFile)
	}
	var missing []string
	for _, name := range named {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(c.dir, path)
		}
		if _, err := os.Stat(path); name != "" && err != nil {
			missing = append(missing, name)
		}
	}
	return missing
}

func (r *restoring) undo() {
	if r.unlock != "" {
		_ = os.Remove(r.unlock) // nothing was ever locked by it that anyone relies on
	}
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		return
	}
	for _, e := range entries { // it was empty
		_ = os.RemoveAll(filepath.Join(r.Dir, e.Name()))
	}
}

// begin is the incarnation that the mark asks for, if there is one.
func (d *daemon) begin() (*ledger.Begin, error) {
	i, taken, err := readMark(d.cfg.Data)
	if err != nil || i == nil {
		return nil, err
	}
	return &ledger.Begin{Random: i.Random, Taken: taken}, nil
}

// begun removes the mark once the incarnation is there. If the machine stops before, the next start finds both, and that
// they are the same.
func (d *daemon) begun() error {
	err := os.Remove(filepath.Join(d.cfg.Data, restoredFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opRestore, "the file cannot be removed: "+restoredFile)
	}
	return syncFolder(d.cfg.Data)
}

// OpenKeys opens a node's key file as its configuration says.
func OpenKeys(cfg Config, prompt keyring.Prompt) (*keyring.Ring, error) {
	file := cfg.Keyring.File
	ring, _, err := keyring.OpenConfigured(keyring.Setting{Path: file.Path, Unlock: file.Unlock, OnDataDisk: file.UnlockOnDataDisk, Data: cfg.Data}, prompt)
	return ring, err
}
