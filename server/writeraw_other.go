//go:build !unix

package server

import (
	"errors"
	"syscall"
)

const canWriteRaw = false

func writeRaw(syscall.RawConn, []byte, func(n int)) error { return errors.ErrUnsupported }
