package bench

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is what a run was made on.
type Machine struct {
	CPU         string `json:"cpu"`
	Cores       int    `json:"cores"` // that this process may use
	MemoryBytes int64  `json:"memoryBytes"`
	OS          string `json:"os"`
	Kernel      string `json:"kernel"`
	Go          string `json:"go"`
}

// ThisMachine describes the machine this process runs on, as far as its /proc tells.
func ThisMachine() Machine {
	m := Machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), OS: runtime.GOOS, Go: runtime.Version()}
	if model := procField("/proc/cpuinfo", "model name"); model != "" {
		m.CPU = model
	}
	if kib, _, _ := strings.Cut(procField("/proc/meminfo", "MemTotal"), " "); kib != "" {
		n, _ := strconv.ParseInt(kib, 10, 64)
		m.MemoryBytes = n << 10
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	return m
}

// String returns the description on one line, leaving out what is not known.
func (m Machine) String() string {
	parts := []string{m.CPU, plural(m.Cores, "core")}
	if m.MemoryBytes > 0 {
		parts = append(parts, strconv.FormatInt((m.MemoryBytes+1<<29)>>30, 10)+" GiB")
	}
	return strings.Join(append(parts, strings.TrimSpace(m.OS+" "+m.Kernel)), ", ")
}

// procField returns the value of the first "name: value" line of a file, empty if there is none.
func procField(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
