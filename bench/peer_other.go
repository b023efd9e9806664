//go:build !linux

package bench

import "syscall"

func peerAttributes() *syscall.SysProcAttr { return nil }
