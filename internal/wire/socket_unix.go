//go:build unix

package wire

import "syscall"

// narrow bounds the buffers of a socket before it is connected, so that the first window told is small already.
func narrow(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		for _, buffer := range []int{syscall.SO_SNDBUF, syscall.SO_RCVBUF} {
			if err := syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, buffer, thinBuffer); err != nil {
				failed = err
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}
