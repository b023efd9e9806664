package main

import (
	"testing"

	"pagevault/blobstore"
	"pagevault/server"
)

func TestParseConnections(t *testing.T) {
	f := func(text string, total, per int) {
		t.Helper()
		gotTotal, gotPer, err := parseConnections(text)
		if gotTotal != total || gotPer != per || (err != nil) != (total == 0) {
			t.Errorf("%q: got %d/%d, %v, want %d/%d", text, gotTotal, gotPer, err, total, per)
		}
	}
	f("4096/2048", 4096, 2048)
	f("100", 100, 50)
	f("1", 1, 1)
	f("7/7", 7, 7)
	for _, bad := range []string{"", "0", "-1", "x", "1/", "1/2", "1/0", "10/-1", "1/1/1", "99999999", "1e3", "+"} {
		f(bad, 0, 0)
	}
}

func TestParseRates(t *testing.T) {
	accounts := []blobstore.AccountOptions{{Name: "a"}, {Name: "b"}}
	f := func(account string, want server.Rate, texts ...string) {
		t.Helper()
		got, err := parseRates(texts, accounts)
		if err != nil || got[account] != want {
			t.Errorf("%q: got %v, %v", texts, got, err)
		}
	}
	f("", server.Rate{Requests: 500, Bytes: 100 << 20}, "500/100MiB")
	f("a", server.Rate{Bytes: 1 << 20}, "5/0", "a=0/1MiB")
	f("", server.Rate{Requests: 5}, "5/0", "a=0/1MiB")
	for _, bad := range [][]string{{""}, {"5"}, {"5/"}, {"-5/0"}, {"x/0"}, {"5/5/5"}, {"c=5/0"}, {"a=5/0", "a=6/0"}, {"1/0", "2/0"}, {"5/1 MiB"}, {"9999999999/0"}} {
		if got, err := parseRates(bad, accounts); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}
