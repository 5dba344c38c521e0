package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// blocks is how many blocks of 4 KiB the disk claims to have; none of them is free when it is full.
const (
	blocks    = 1 << 22
	blockSize = 4096
)

// mount shows the disk in a folder. The kernel keeps its own copy of what it has read until the folder is unmounted.
func (d *disk) mount(folder string) (*fuse.Server, error) {
	forever := time.Hour
	return fs.Mount(folder, &node{d: d, i: d.root}, &fs.Options{
		EntryTimeout: &forever, AttrTimeout: &forever,
		MountOptions:   fuse.MountOptions{DirectMount: true, FsName: "faultfs", Name: "faultfs", MaxWrite: 1 << 20},
		RootStableAttr: &fs.StableAttr{Mode: syscall.S_IFDIR, Ino: d.root.number},
	})
}

// node is an inode as the kernel has it.
type node struct {
	fs.Inode
	d *disk
	i *inode
}

var (
	_ fs.NodeLookuper  = (*node)(nil)
	_ fs.NodeReaddirer = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeLinker    = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeStatfser  = (*node)(nil)
)

func errno(err error) syscall.Errno {
	var no syscall.Errno
	if err == nil || errors.As(err, &no) {
		return no
	}
	return syscall.EIO
}

func (n *node) child(ctx context.Context, i *inode, out *fuse.EntryOut) *fs.Inode {
	n.d.attributes(i, &out.Attr)
	return n.NewInode(ctx, &node{d: n.d, i: i}, fs.StableAttr{Mode: i.mode & syscall.S_IFMT, Ino: i.number})
}

func (d *disk) attributes(i *inode, out *fuse.Attr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out.Ino, out.Mode, out.Nlink, out.Size = i.number, i.mode, i.links, uint64(len(i.data))
	out.Blocks, out.Blksize = (out.Size+sector-1)/sector, blockSize
	out.SetTimes(nil, &i.changed, &i.changed)
}

// Lookup implements fs.NodeLookuper.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.d.mu.Lock()
	i := n.i.entries[name]
	n.d.mu.Unlock()
	if i == nil {
		return nil, syscall.ENOENT
	}
	return n.child(ctx, i, out), 0
}

// Readdir implements fs.NodeReaddirer.
func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	var list []fuse.DirEntry
	for _, name := range slices.Sorted(maps.Keys(n.i.entries)) {
		i := n.i.entries[name]
		list = append(list, fuse.DirEntry{Name: name, Mode: i.mode, Ino: i.number})
	}
	return fs.NewListDirStream(list), 0
}

// Create implements fs.NodeCreater.
func (n *node) Create(ctx context.Context, name string, _, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	i, err := n.d.create(n.i, name, syscall.S_IFREG|mode&0o7777)
	if err != nil {
		return nil, nil, 0, errno(err)
	}
	return n.child(ctx, i, out), nil, 0, 0
}

// Mkdir implements fs.NodeMkdirer.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	i, err := n.d.create(n.i, name, syscall.S_IFDIR|mode&0o7777)
	if err != nil {
		return nil, errno(err)
	}
	return n.child(ctx, i, out), 0
}

// Unlink implements fs.NodeUnlinker.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	return errno(n.d.remove(n.i, name, false))
}

// Rmdir implements fs.NodeRmdirer.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	return errno(n.d.remove(n.i, name, true))
}

// Rename implements fs.NodeRenamer.
func (n *node) Rename(_ context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	const noReplace = 1
	folder, ours := to.(*node)
	if !ours || flags&^noReplace != 0 {
		return syscall.EINVAL
	}
	return errno(n.d.rename(n.i, name, folder.i, newName, flags&noReplace != 0))
}

// Link implements fs.NodeLinker.
func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	file, ours := target.(*node)
	if !ours {
		return nil, syscall.EXDEV
	}
	if err := n.d.link(file.i, n.i, name); err != nil {
		return nil, errno(err)
	}
	return n.child(ctx, file.i, out), 0
}

// Open implements fs.NodeOpener.
func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read implements fs.NodeReader.
func (n *node) Read(_ context.Context, _ fs.FileHandle, b []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(b[:n.d.read(n.i, b, at)]), 0
}

// Write implements fs.NodeWriter.
func (n *node) Write(_ context.Context, _ fs.FileHandle, b []byte, at int64) (uint32, syscall.Errno) {
	if err := n.d.write(n.i, b, at); err != nil {
		return 0, errno(err)
	}
	return uint32(len(b)), 0
}

// Fsync implements fs.NodeFsyncer, for files and folders.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	n.d.sync(n.i)
	return 0
}

// Getattr implements fs.NodeGetattrer.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.d.attributes(n.i, &out.Attr)
	return 0
}

// Setattr implements fs.NodeSetattrer. Modes are durable at once; owners and times of the caller are not kept.
func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if err := n.d.resize(n.i, int64(size)); err != nil {
			return errno(err)
		}
	}
	if mode, ok := in.GetMode(); ok {
		n.d.mu.Lock()
		n.i.mode = n.i.mode&syscall.S_IFMT | mode&0o7777
		n.d.mu.Unlock()
	}
	n.d.attributes(n.i, &out.Attr)
	return 0
}

// Statfs implements fs.NodeStatfser.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	out.Blocks, out.Bsize, out.Frsize, out.NameLen = blocks, blockSize, blockSize, 255
	if !n.d.full {
		out.Bfree, out.Bavail = blocks, blocks
	}
	return 0
}
