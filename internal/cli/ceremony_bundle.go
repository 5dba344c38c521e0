package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

// readBundle reads a statement file.
func readBundle(path string) (directory.Bundle, error) {
	text, err := readSmall(path, directory.MaxBundle)
	if err != nil {
		return directory.Bundle{}, err
	}
	b, err := directory.ParseBundle(text)
	if err != nil {
		f := fault.As(err)
		return b, fault.Wrap(err, f.Kind, f.Code, "read "+path, f.Say).WithHint(f.Hint)
	}
	return b, nil
}

// readBundles reads several files as one, in the order given.
func readBundles(paths []string) (directory.Bundle, error) {
	var all directory.Bundle
	for _, p := range paths {
		b, err := readBundle(p)
		if err != nil {
			return all, err
		}
		all.Statements = append(all.Statements, b.Statements...)
		all.Cards = append(all.Cards, b.Cards...)
	}
	return all, nil
}

// oneNetwork refuses files of several networks: a person compares one fingerprint.
func oneNetwork(b directory.Bundle) error {
	for _, st := range b.Statements {
		if networkOf(st) != networkOf(b.Statements[0]) {
			return fault.New(fault.Usage, "several-networks", "read statement files", "the statements are of several networks").
				WithHint("take them one by one")
		}
	}
	return nil
}

// networkOf is the network ID a statement is for; a genesis founds its own.
func networkOf(st directory.Statement) string {
	if st.Kind() == directory.KindGenesis {
		return st.Hash().String()
	}
	return st.Network()
}

// writeBundle makes a new statement file. It replaces none: the old one may carry somebody's signature.
func writeBundle(path string, b directory.Bundle) error {
	if fileExists(path) {
		return fault.New(fault.Conflict, "exists", "write "+path, "there is a file of that name already").WithHint("choose another with --out")
	}
	return rewriteBundle(path, b)
}

// rewriteBundle puts a bundle in the place of the file it was read from.
func rewriteBundle(path string, b directory.Bundle) error {
	if err := replace(path, bytes.NewReader(b.Marshal())); err != nil {
		return fault.Wrap(err, fault.Internal, "", "write "+path, "the file cannot be written")
	}
	if err := os.Chmod(path, 0o644); err != nil { // it goes to others, and holds no secret but contact cards meant for them
		return fault.Wrap(err, fault.Internal, "", "write "+path, "the file's mode cannot be set")
	}
	return nil
}

// fileName is a name for the file of a statement: "retire-mx-fgr.statements".
func fileName(st directory.Statement) string {
	return fmt.Sprintf("%s-%s.statements", st.Kind(), strings.ReplaceAll(st.Subject().String(), "/", "-"))
}
