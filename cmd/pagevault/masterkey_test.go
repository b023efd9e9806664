package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pagevault/pagestore"
)

func TestParseMasterKey(t *testing.T) {
	digits := strings.Repeat("0123456789abcdef", 4)
	whole := "pagevault-master-key-1 " + digits + "\n"
	for _, text := range []string{whole, strings.TrimSuffix(whole, "\n")} {
		key, err := parseMasterKey(text)
		if err != nil || key[0] != 0x01 || key[31] != 0xef {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, bad := range []string{"", "\n", digits, whole[:len(whole)-2], whole + "\n", whole + whole, " " + whole,
		strings.Replace(whole, "-1 ", "-2 ", 1), strings.Replace(whole, "ab", "xy", 1), strings.Replace(whole, " ", "  ", 1),
		"pagevault-master-key-1 " + strings.Repeat("0", 64) + "\n", strings.Replace(whole, "\n", "\r\n", 1)} {
		if key, err := parseMasterKey(bad); err == nil || !key.IsZero() || strings.Contains(err.Error(), "0123456789") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestMasterKeyOfMany: of many that make the key of one directory at once, one does, and none takes the place of
// another's.
func TestMasterKeyOfMany(t *testing.T) {
	data := t.TempDir()
	file := filepath.Join(data, masterKeyName)
	var mu sync.Mutex
	var made []pagestore.MasterKey
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var key pagestore.MasterKey
			if err := newMasterKey(&key); err != nil {
				t.Error(err)
			}
			err := writeMasterKey(file, data, &key)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made = append(made, key)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := readMasterKey(file)
	if err != nil || len(made) != 1 || got != made[0] {
		t.Fatalf("%d were made, %v", len(made), err)
	}
	entries, err := os.ReadDir(data)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
