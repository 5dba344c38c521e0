//go:build !linux

package tiles

import (
	"errors"
	"syscall"
)

func namespace() *syscall.SysProcAttr { return nil }

func mount(string) error { return errors.ErrUnsupported }
