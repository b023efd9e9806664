//go:build !unix

package pagestore

import "testing"

func reportCPU(*testing.B) func() { return func() {} }

func startCPU(*testing.B) func() float64 { return func() float64 { return 0 } }
