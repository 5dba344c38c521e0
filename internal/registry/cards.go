package registry

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const opCard = "keep contact card"

// Cards keeps contact cards, one file each, named by the salted hash that the log holds. A card whose desk no longer
// shows its hash is deleted: it is personal data that nobody needs. PROTOCOL 4.8.
type Cards struct {
	folder string
	mu     sync.Mutex // held while files come or go
}

// OpenCards opens or makes the folder of cards.
func OpenCards(folder string) (*Cards, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "no-cards", opCard, "the folder of contact cards cannot be made")
	}
	return &Cards{folder: folder}, nil
}

// Put stores a card under the hash it has; on stable storage on return.
func (c *Cards) Put(card []byte) (directory.Hash, error) {
	_, hash, err := directory.ParseCard(card)
	if err != nil {
		return hash, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	path := filepath.Join(c.folder, hash.String())
	if _, err := os.Stat(path); err == nil {
		return hash, nil
	}
	if err := writeFile(path, card); err != nil {
		return hash, unkept(err)
	}
	return hash, nil
}

// Get is a card by its hash; NotFound "no-card".
func (c *Cards) Get(hash directory.Hash) ([]byte, error) {
	card, err := os.ReadFile(filepath.Join(c.folder, hash.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noCard()
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "disk", opCard, "a contact card cannot be read")
	}
	if _, has, err := directory.ParseCard(card); err != nil || has != hash {
		return nil, fault.New(fault.Internal, "damaged-card", opCard, "a contact card on disk is damaged")
	}
	return card, nil
}

func noCard() error {
	return fault.New(fault.NotFound, "no-card", opCard, "there is no such contact card, or it was deleted")
}

// Delete forgets a card.
func (c *Cards) Delete(hash directory.Hash) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := os.Remove(filepath.Join(c.folder, hash.String()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(err, fault.Internal, "disk", opCard, "a contact card cannot be deleted")
	}
	return syncFolder(c.folder)
}

// Sweep deletes every card that no desk of an authority shows, retired ones apart, and what a crash left half written.
func (c *Cards) Sweep(v directory.View) error {
	shown := map[string]bool{}
	for _, a := range v.Authorities() {
		if a.Status == directory.Retired {
			continue
		}
		for _, desk := range a.Desks {
			shown[desk.Card.String()] = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	files, err := os.ReadDir(c.folder)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "disk", opCard, "the contact cards cannot be listed")
	}
	for _, f := range files {
		if shown[f.Name()] || !isCard(f.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(c.folder, f.Name())); err != nil {
			return fault.Wrap(err, fault.Internal, "disk", opCard, "a contact card cannot be deleted")
		}
	}
	return nil
}

// replace deletes the cards that a statement, applied after the view, leaves without a desk.
func (c *Cards) replace(before directory.View, st directory.Statement) error {
	_, retired := st.Body().(directory.Retirement)
	_, declared := st.Body().(directory.AuthorityDeclaration)
	old, ok := before.Authority(st.Subject().Name())
	if !ok || (!declared && !retired) {
		return nil
	}
	kept := st.Cards()
	for _, desk := range old.Desks {
		if desk.Card.IsZero() || slices.Contains(kept, desk.Card) {
			continue
		}
		if err := c.Delete(desk.Card); err != nil {
			return err
		}
	}
	return nil
}

func isCard(name string) bool {
	b, err := hex.DecodeString(strings.TrimSuffix(name, unfinished))
	return err == nil && len(b) == len(directory.Hash{})
}

const unfinished = ".new"

// writeFile puts a whole file in place, or none; on stable storage on return.
func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path+unfinished, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path + unfinished) // of a full disk it would take room
		return err
	}
	if err := os.Rename(path+unfinished, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// unkept is why writeFile failed. A full disk holds what it held, so nothing has to stop for it: Retry "disk-full".
func unkept(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fault.Wrap(err, fault.Retry, "disk-full", opLog, "the disk is full").WithHint("free some space, then try again")
	}
	return broke(err)
}
