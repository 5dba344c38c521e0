package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	// Reserve is the room, in bytes, that a node needs to go on: to write down what arrives, and to answer it with receipts.
	Reserve = 256 << 20
	// roomy is the most, in bytes, that is asked to be free where a twentieth of the disk is more.
	roomy = 10 << 30
	// fewNames is how many new files a disk must have names for.
	fewNames = 1000
	// slowSync is how long a sync of a small file may take.
	slowSync = time.Second

	disk = "disk"
)

// Folder is a place where a node keeps something.
type Folder struct {
	// Name says what for: "data", "attachments".
	Name, Path string
}

// Space is what is free on a disk.
type Space struct {
	// Free and Total are in bytes, Free for this account.
	Free, Total uint64
	// Names is how many more files there may be; NamesKnown where the file system says so.
	Names      uint64
	NamesKnown bool
}

// CheckDisk looks at folders: whether nobody else may read them, what is free on their disk, and whether a file that is written and
// synced there comes to stable storage.
func CheckDisk(folders []Folder) Check {
	return Check{Component: disk, Look: func(_ context.Context, tell func(Finding)) {
		for _, f := range folders {
			look(f, tell)
		}
	}}
}

func look(f Folder, tell func(Finding)) {
	info, err := os.Stat(f.Path)
	if err != nil || !info.IsDir() {
		tell(Finding{disk, f.Name, Failing, "no-folder", "the folder cannot be looked at, or is none: " + f.Path,
			"see whether its disk is mounted and whether the account of the node owns it; the paths are in node.yaml", nil})
		return
	}
	if info.Mode().Perm()&0o077 != 0 {
		tell(Finding{disk, f.Name, Warning, "open-folder", fmt.Sprintf("other accounts of this machine may enter it (mode %04o): %s", info.Mode().Perm(), f.Path),
			"close it: chmod 700 " + f.Path, nil})
	}
	space, err := spaceOf(f.Path)
	if err != nil {
		tell(Finding{disk, f.Name, Unknown, "space-unknown", "the system does not tell how much is free", "look at the disk by hand: df", nil})
	} else {
		tell(space.finding(f))
	}
	tell(written(f))
}

// finding judges what is free on the disk of a folder.
func (s Space) finding(f Folder) Finding {
	const do = "free space on this disk, or give the node a larger one; what it has is kept, and senders are told to come back later"
	free := fmt.Sprintf("%s of %s are free", bytes(s.Free), bytes(s.Total))
	switch {
	case s.Free < Reserve:
		return Finding{disk, f.Name, Failing, "disk-full", free + ", less than the " + bytes(Reserve) + " that the node needs to receive and to answer", do, nil}
	case s.NamesKnown && s.Names < fewNames:
		return Finding{disk, f.Name, Failing, "no-names", fmt.Sprintf("there is room for %d more files and no more", s.Names),
			"remove what lies beside the node's folders: the disk has no names (inodes) left", nil}
	case s.Free < min(s.Total/20, roomy):
		return Finding{disk, f.Name, Warning, "disk-low", free, do, nil}
	}
	return Finding{disk, f.Name, OK, "disk-free", free, "", nil}
}

// written writes a small file, syncs it and its name, and takes it away again.
func written(f Folder) Finding {
	begun := time.Now()
	err := write(f.Path)
	took := time.Since(begun)
	switch {
	case err != nil:
		return Finding{disk, f.Name, Failing, "not-writable", "a small file could not be written and synced: " + fault.As(err).Error(),
			"look at the health of the disk (dmesg), and whether it was mounted read-only; nothing is acknowledged that was not synced", nil}
	case took > slowSync:
		return Finding{disk, f.Name, Warning, "slow-sync", fmt.Sprintf("a small file took %s to come to stable storage", took.Round(time.Millisecond)),
			"see what else writes to this disk, and whether it is failing: each message waits that long", nil}
	}
	return Finding{disk, f.Name, OK, "synced", fmt.Sprintf("a file was written and synced in %s", took.Round(time.Millisecond)), "", nil}
}

func write(dir string) (err error) {
	file, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	defer func() {
		// If the machine stops before, an empty or small file with this name is left; nobody reads it.
		if gone := os.Remove(file.Name()); err == nil {
			err = gone
		}
	}()
	defer file.Close()
	if _, err := file.Write(make([]byte, 4096)); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// bytes says a size as people do.
func bytes(n uint64) string {
	const unit = 1 << 10
	size, names := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for i, name := range names {
		if size < unit || i == len(names)-1 {
			return fmt.Sprintf("%.4g %s", size, name)
		}
		size /= unit
	}
	return ""
}
